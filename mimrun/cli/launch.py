"""What a launch brings besides its plan: a priority, a change record, the glass; and how its gate would stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from mimrun.app.breakglass.glass import ask_for
from mimrun.app.change.linking import Found, find_record, link_change
from mimrun.app.explaining import Wanted, explain_plan
from mimrun.app.home import Home
from mimrun.app.identity import identify
from mimrun.app.policies import asks_at_launch
from mimrun.app.priority import priority_drafts, read_priority
from mimrun.app.runs import create_run, require_incident
from mimrun.app.sign_in import require_scope
from mimrun.cli.broken_glass import break_the_glass, warn_of_broken_glass
from mimrun.cli.patience import when_free
from mimrun.cli.plan_view import print_plan
from mimrun.cli.policy import print_outlook
from mimrun.cli.revert_warning import warn_of_nobody
from mimrun.cli.terminal import console
from mimrun.errors import InputError
from mimrun.gate.scope import VERBS
from mimrun.log.entry import Draft
from mimrun.runbook.plan import Plan

IncidentOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--incident", metavar="INC", help="The incident it belongs to; else it opens one."),
]
BreakGlassOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--break-glass",
        metavar="REASON",
        show_default=False,
        help="Go past the gates. Another person must want it too, or others are told; a change must tell why.",
    ),
]
PriorityOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--priority",
        metavar="P1..P5",
        show_default=False,
        help="How urgent the incident is that the run opens; the policy says who may declare it.",
    ),
]
More: TypeAlias = Callable[[str, str], Sequence[Draft]]


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

    def show(self, home: Home, plan: Plan, *, as_json: bool) -> None:
        """Print the plan, how its first gate would stand, and what is out of the ordinary."""
        if not as_json:
            print_plan(console(), plan)
            if asks_at_launch(home.settings):
                print_outlook(console(), explain_plan(home, plan, self.wanted))
        warn_of_nobody(home.settings, plan)
        if self.glass is not None:
            warn_of_broken_glass(plan)

    def create(self, home: Home, plan: Plan, patience_ms: int, *, direct: bool, as_json: bool) -> str:
        """Ask for the run, as soon as its locks are free; gives its name."""
        asks, incident = self.wanted.identity, self.wanted.incident or None
        return when_free(
            lambda: create_run(home, plan, asks, incident=incident, direct=direct, more=self.more),
            patience_ms,
            console(stderr=as_json),
        )

    def follow(self, home: Home, run: str, *, as_json: bool) -> bool:
        """Do what follows the creation of the run; says whether it may begin."""
        if self.record is not None:
            link_change(home, run, self.record, self.wanted.identity)
        return self.glass is None or break_the_glass(home, run, self.wanted.identity, as_json=as_json)


def as_wanted(home: Home, claimed: str | None, incident: str | None, priority: str | None) -> Wanted:
    """Say who launches something, for which incident, and how urgent they say it is.

    Raises:
        InputError: there is no such incident, or that is no priority.
        SettingsError: `--as` names nobody.
    """
    if incident is not None:
        require_incident(home, incident)
    urgency = None if priority is None else read_priority(priority)
    return Wanted(identify(home.people(), claimed), incident or "", urgency)


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
