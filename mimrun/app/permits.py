"""Permits: the rules of this installation as they are now, put together for one run's gates.

People, policy, calendars, the incident's priority and change records are looked up anew at every question; what is
read from a file is read again when the file has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Final

from mimrun.app.calendars import frozen_reader
from mimrun.app.change.facts import changes_of
from mimrun.app.home import Home
from mimrun.app.policies import asks_at_launch, policy_reader
from mimrun.app.priority import priority_reader
from mimrun.app.rules import note_rules
from mimrun.app.signed.votes import VotesNow, votes_reader
from mimrun.gate import policy as rules
from mimrun.gate.approval import ChangeStanding, Request, Verdict, check_gate
from mimrun.gate.people import People
from mimrun.gate.policy import Policy, Priority, Situation
from mimrun.gate.terms import Terms
from mimrun.log.entry import Actor
from mimrun.run.cell.permit import NO_CHANGES, ChangeAsking, ChangeFacts, Known, request_of
from mimrun.run.record.state import RunState
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.runbook.launch import RiskRow, is_by_rules, launch_gate, row_of
from mimrun.runbook.node import PlannedGate, PlannedInclude
from mimrun.runbook.plan import Plan

GONE: Final = "the policy that asked for somebody's word here is gone; put it back, or plan the run anew"
"""Why a gate that the policy asked for stays closed when the policy is not there any more."""


def _nothing(at: datetime) -> str:  # noqa: ARG001 - there is no calendar, whenever one asks
    return ""


def _undeclared() -> Priority | None:
    return None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the rules come from. Each function raises `RefusedError` where nobody can know.

    Arguments:
        people: everybody who is known, in the roles that count now.
        policy: the policy in force; None where there is none.
        asks: there is a policy or a calendar, so that a gate may mean that nothing is asked for.
        frozen: which calendars are closed for the plan at a moment, in words; "" where none is.
        priority: of the incident.
        changes: what is known of change records.
        votes: leaves out approvals that were signed with a key which is not their person's any more.
        note: puts on record what the rules say, where that is not there yet.
        triggered: alerts launched the run, and no person did.
    """

    people: Callable[[], People]
    policy: Callable[[], Policy | None]
    asks: Callable[[], bool]
    frozen: Callable[[datetime], str] = _nothing
    priority: Callable[[], Priority | None] = _undeclared
    changes: ChangeFacts = NO_CHANGES
    votes: VotesNow = lambda votes, _: votes
    note: Callable[[], object] = lambda: None
    triggered: bool = False


@dataclass(frozen=True, slots=True)
class _Now:
    """The rules at one moment."""

    at: datetime
    people: People
    policy: Policy | None
    situation: Situation
    frozen: str


class Permits:
    """Says what the gates of one run ask for, and how they stand.

    Arguments:
        plan: the frozen plan.
        run, incident: their names.
        sources: where the rules come from.
        clock: the present moment, UTC.
    """

    def __init__(
        self, plan: Plan, run: str, incident: str, sources: Sources, clock: Callable[[], datetime]
    ) -> None:
        self._plan, self._run, self._incident = plan, run, incident
        self._sources, self._clock = sources, clock

    def terms(self, gate: PlannedGate) -> Terms:
        """Give what a gate asks for at this moment, and see that the rules that say so are on record.

        Raises:
            RefusedError: a rules file cannot be read, so that nobody knows.
            StoreError: the log cannot be written.
        """
        now = self._now()
        self._sources.note()
        return rules.terms(now.policy, now.situation, gate)

    def situation(self) -> Situation:
        """Give what the terms depend on besides the rules, as it is at this moment.

        Raises:
            RefusedError: nobody can know.
        """
        return self._now().situation

    def request(self, gate: PlannedGate, state: RunState) -> Request:
        """Give the question that votes at a gate are counted against at this moment.

        Raises:
            RefusedError: a rules file cannot be read, so that nobody knows.
        """
        return self._request(gate, state, self._now())

    def verdict(self, gate: PlannedGate, state: RunState) -> Verdict:
        """Say how a gate that was asked stands at this moment.

        Raises:
            RefusedError: a rules file cannot be read, so that nobody knows.
        """
        now = self._now()
        request = self._request(gate, state, now)
        votes = self._sources.votes(state.gates[gate.path].votes, now.at)
        return check_gate(request, votes, now.people, now=now.at)

    def asked(self, gate: PlannedGate, state: RunState) -> None:
        """See that there is a change record for a gate that was asked, where one is needed."""
        now = self._now()
        terms = rules.terms(now.policy, now.situation, gate)
        if now.policy is not None and terms.change not in ("none", "standard"):
            self._sources.changes.asked(self._asking(gate, state, terms), terms)

    def ungated(self) -> str:
        """Say what the rules ask for at this moment in front of a change that no gate stands in front of; "" for nothing.

        The way back has gates of its own, or is covered by those of the run that it takes back.

        Raises:
            RefusedError: a rules file cannot be read, so that nobody knows.
        """
        if self._plan.undo_of:
            return ""
        policy, situation, _ = self._rules_at(self._clock())
        terms = rules.terms(policy, situation, launch_gate())
        return "" if terms.asks_nobody else terms.because

    def _now(self) -> _Now:
        at = self._clock()
        policy, situation, frozen = self._rules_at(at)
        return _Now(at, self._sources.people(), policy, situation, frozen)

    def _rules_at(self, at: datetime) -> tuple[Policy | None, Situation, str]:
        """Give the policy, the situation that it is asked about, and the calendars that are closed, in words."""
        sources = self._sources
        policy, frozen = sources.policy(), ""
        if self._row != "read_only":
            frozen = sources.frozen(at)
        situation = Situation(self._row, frozen=bool(frozen), triggered=sources.triggered)
        if policy is not None and self._row != "read_only":
            situation = replace(situation, priority=sources.priority())
            if self._may_be_standard(policy, situation):
                situation = replace(situation, standard=bool(sources.changes.standard_for(self._plan, at)))
        return policy, situation, frozen

    @staticmethod
    def _may_be_standard(policy: Policy, situation: Situation) -> bool:
        """Say whether a standard change would make a difference; else nobody need look for one."""
        without = rules.rule_of(policy, situation)[1]
        return without.pre_authorised or without.change == "standard" or situation.triggered

    def _request(self, gate: PlannedGate, state: RunState, now: _Now) -> Request:
        terms = rules.terms(now.policy, now.situation, gate)
        if now.policy is None and is_by_rules(gate) and state.gates[gate.path].governed:
            # Removing the rules is no way to be allowed something.
            terms = terms.model_copy(update={"refused": GONE})
        change: ChangeStanding | None = None
        if now.policy is not None and terms.change != "none":
            asking = self._asking(gate, state, terms)
            change = self._sources.changes.standing(asking, now.people, now.at)
        known = Known(
            terms,
            by_policy=now.policy is not None or is_by_rules(gate) or self._sources.asks(),
            change=change,
            frozen=now.frozen,
            authors=self._authors(now),
        )
        return request_of(gate, known, state)

    def _authors(self, now: _Now) -> Collection[str]:
        """Give whoever answers for the runbooks of the plan, where that is a person and the policy leaves them out."""
        if now.policy is None or "author" not in now.policy.excluded:
            return ()
        return [owner for owner in self._owners if now.people.knows(owner)]

    def _asking(self, gate: PlannedGate, state: RunState, terms: Terms) -> ChangeAsking:
        asked = state.gates[gate.path]
        assert asked.asked_at is not None
        return ChangeAsking(
            kind=terms.change,
            run=self._run,
            incident=self._incident,
            gate=gate.path,
            digest=asked.digest,
            plan=self._plan,
            excluded=frozenset(state.launchers),
            asked_at=asked.asked_at,
        )

    @cached_property
    def _row(self) -> RiskRow:
        return row_of(self._plan)

    @cached_property
    def _owners(self) -> tuple[str, ...]:
        included = (node.runbook.owner for node in self._plan.walk() if isinstance(node, PlannedInclude))
        return (self._plan.runbook.owner, *included)


def permits_of(
    home: Home,
    plan: Plan,
    run: str,
    incident: str,
    *,
    people: Callable[[], People] | None = None,
    actor: Actor | None = None,
) -> Permits:
    """Give the permits of a run.

    Arguments:
        people: gives everybody who is known; without it the people file is read at each question.
        actor: who asks gates by these rules, and puts them on record; None where somebody only looks.
    """
    settings = home.settings
    policy = policy_reader(settings.policy)
    sources = Sources(
        people=people or (lambda: home.people(plan.runbook.owner)),
        policy=policy,
        asks=lambda: asks_at_launch(settings),
        frozen=frozen_reader(settings, plan),
        priority=priority_reader(home, incident, policy),
        changes=changes_of(home),
        votes=votes_reader(settings.allowed_signers),
        note=(lambda: note_rules(home, actor)) if actor else lambda: None,
        triggered=RunSummary.decode(home.store.projection(RunSummaries.name, run)).by_rule,
    )
    return Permits(plan, run, incident, sources, home.clock)
