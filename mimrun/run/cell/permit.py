"""Permits: what a gate asks for, and whether it is open, as the run asks before every effect.

The run knows the plan and what people said; the rules (people, policy, calendars, change records) are known
to whoever started the worker, and are looked up anew each time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from mimrun.gate.approval import ChangeStanding, Question, Request, Verdict
from mimrun.gate.people import People
from mimrun.gate.terms import ChangeKind, Terms, a_change
from mimrun.run.record.state import RunState
from mimrun.runbook.node import PlannedGate
from mimrun.runbook.plan import Plan


class Permit(Protocol):
    """What a run asks of the rules."""

    def terms(self, gate: PlannedGate) -> Terms:
        """Give what a gate asks for at this moment.

        Raises:
            RefusedError: a rules file cannot be read, so that nobody knows.
        """

    def verdict(self, gate: PlannedGate, state: RunState) -> Verdict:
        """Say how a gate that was asked stands at this moment, with the votes on record.

        Raises:
            RefusedError: a rules file cannot be read, so that nobody knows.
        """

    def asked(self, gate: PlannedGate, state: RunState) -> None:
        """Take note that a gate was asked just now, and see that there is a change record where one is needed."""

    def ungated(self) -> str:
        """Say what the rules ask for at this moment in front of a change that no gate stands in front of; "" for nothing.

        A plan has such a change where it was made before there were rules.

        Raises:
            RefusedError: a rules file cannot be read, so that nobody knows.
        """


@dataclass(frozen=True, slots=True)
class ChangeAsking:
    """What a change record is asked about.

    Arguments:
        kind: which kind is needed.
        run, incident: whose gate it is.
        gate: the path of the gate, and `digest` that of the segment behind it.
        plan: the whole plan, with its targets and its runbook.
        excluded: names (`mimrun.gate.people.acted`) of those who asked for the run or launched it.
        asked_at: when the gate was asked.
    """

    kind: ChangeKind
    run: str
    incident: str
    gate: str
    digest: str
    plan: Plan
    excluded: frozenset[str]
    asked_at: datetime


class ChangeFacts(Protocol):
    """What is known of change records. Whoever gives it keeps readings for as long as they are fresh."""

    def standard_for(self, plan: Plan, at: datetime) -> str:
        """Give the valid standard change for the runbook digest and all targets of a plan; "" where there is none."""

    def standing(self, asking: ChangeAsking, people: People, at: datetime) -> ChangeStanding:
        """Say how the change record for a gate stands. Where nobody can know it, that is the reason against it."""

    def asked(self, asking: ChangeAsking, terms: Terms) -> None:
        """A gate was asked that needs a change record: see that there is one. What fails is said by `standing`."""


class NoChanges:
    """The change records of an installation that knows none: what needs one is not allowed."""

    def standard_for(self, plan: Plan, at: datetime) -> str:
        """Give no standard change."""
        return ""

    def standing(self, asking: ChangeAsking, people: People, at: datetime) -> ChangeStanding:
        """Say that there is no record."""
        return ChangeStanding(reasons=(f"{a_change(asking.kind)} is needed, and none is linked",))

    def asked(self, asking: ChangeAsking, terms: Terms) -> None:
        """Make none."""


NO_CHANGES: Final[ChangeFacts] = NoChanges()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the rules at a moment, besides what stands in the run's own entries.

    Arguments:
        terms: of the gate.
        by_policy: there are rules, so that terms which ask nothing mean that.
        change: how the change record stands; None where no rule asks for one.
        frozen: which calendars are closed, in words; "" where none is.
        authors: names of those who wrote the runbook, where the policy excludes them.
    """

    terms: Terms
    by_policy: bool = False
    change: ChangeStanding | None = None
    frozen: str = ""
    authors: Collection[str] = ()


def request_of(gate: PlannedGate, known: Known, state: RunState) -> Request:
    """Make the question that votes are counted against: what the log says was asked, and the rules as they are now."""
    asked = state.gates[gate.path]
    assert asked.asked_at is not None
    return Request(
        digest=asked.digest,
        terms=known.terms,
        asked_at=asked.asked_at,
        excluded=frozenset(state.launchers) | frozenset(known.authors),
        asked=_held_against(asked.question, gate, known.terms),
        since=asked.since,
        rounds=asked.rounds,
        by_policy=known.by_policy,
        change=known.change,
        frozen=known.frozen,
        broken=bool(state.broken) and state.broken == state.plan,
    )


def shown_change(gate: PlannedGate, terms: Terms) -> str:
    """Give the kind of change that people are told: where no record is needed, the word of the runbook's author."""
    return gate.change if terms.change == "none" else terms.change


def _held_against(asked: Question | None, gate: PlannedGate, terms: Terms) -> Question | None:
    """Give what was asked in the words of the terms: the author's word for a change asks for no record by itself."""
    if asked is not None and terms.change == "none" and asked.change == gate.change:
        return replace(asked, change="none")
    return asked
