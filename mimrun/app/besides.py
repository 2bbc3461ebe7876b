"""What a launch brings besides its plan: who wants it, how urgent it is, a change record, the glass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mimrun.app.breakglass.glass import ask_for
from mimrun.app.change.linking import Found, find_record, link_change
from mimrun.app.explaining import Wanted
from mimrun.app.home import Home
from mimrun.app.identity import identify
from mimrun.app.incident.view import find_state
from mimrun.app.priority import priority_drafts, read_priority
from mimrun.app.runs import check_open
from mimrun.app.sign_in import require_scope
from mimrun.errors import InputError
from mimrun.gate.scope import VERBS
from mimrun.log.entry import Draft
from mimrun.runbook.plan import Plan

More: TypeAlias = Callable[[str, str], Sequence[Draft]]
"""Gives entries, from the names of an incident and a run."""


@dataclass(frozen=True, slots=True)
class Besides:
    """What is recorded together with a run.

    Arguments:
        wanted: who launches it, and how.
        record: the change record that it is done under.
        declared: what declares how urgent its incident is.
        glass: what asks for its gates to be skipped.
    """

    wanted: Wanted
    record: Found | None = None
    declared: More | None = None
    glass: More | None = None

    def more(self, incident: str, run: str) -> list[Draft]:
        """Give the entries."""
        both = (self.declared, self.glass)
        return [draft for part in both if part is not None for draft in part(incident, run)]

    def link(self, home: Home, run: str) -> None:
        """Link the run to its change record, where it has one.

        Raises:
            StoreError: the log cannot be written.
        """
        if self.record is not None:
            link_change(home, run, self.record, self.wanted.identity)


def as_wanted(home: Home, claimed: str | None, incident: str | None, priority: str | None) -> Wanted:
    """Say who launches something, for which incident, and how urgent they say it is.

    Arguments:
        incident: its name, the beginning of it, or `latest`; None opens one.

    Raises:
        InputError: there is no such incident, or that is no priority.
        RefusedError: the incident is closed.
        SettingsError: `--as` names nobody.
    """
    name = ""
    if incident is not None:
        name = find_state(home, incident).name
        check_open(home.store, name)
    urgency = None if priority is None else read_priority(priority)
    return Wanted(identify(home.people(), claimed), name, urgency)


def besides(
    home: Home, plan: Plan, wanted: Wanted, *, change: str | None, break_glass: str | None
) -> Besides:
    """See whether somebody may launch a plan as they want it, before anybody reads it.

    Raises:
        InputError: there is no such change record, or the incident is open already whose priority is given.
        GateError: the person may not declare the priority, or break the glass.
        SignInError: the token that was given launches, and is not for what is wanted besides.
    """
    if change:
        require_scope(home.signed_in, VERBS["change link"], "link a run to a change")
    return Besides(
        wanted,
        find_record(home, change) if change else None,
        _declared(home, plan, wanted),
        None if break_glass is None else ask_for(home, plan, wanted.identity, break_glass),
    )


def _declared(home: Home, plan: Plan, wanted: Wanted) -> More | None:
    if wanted.priority is None:
        return None
    if wanted.incident:
        cure = f"`mimrun incident priority {wanted.incident} {wanted.priority} --reason …` declares it"
        raise InputError(f"{wanted.incident} is open already: {cure}")
    reason = f"at the launch of {plan.runbook.name}@{plan.runbook.version}"
    return priority_drafts(home, wanted.identity, wanted.priority, reason)
