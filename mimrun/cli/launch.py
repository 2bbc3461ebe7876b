"""Launching a plan as somebody wants it: shown with what it brings besides, asked for, and linked to its change."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import typer
from rich.text import Text

from mimrun.app.besides import Besides
from mimrun.app.explaining import explain_plan
from mimrun.app.home import Home
from mimrun.app.incident.view import declared_incidents, find_state
from mimrun.app.policies import asks_at_launch
from mimrun.app.runs import create_run
from mimrun.cli.broken_glass import break_the_glass, warn_of_broken_glass
from mimrun.cli.patience import when_free
from mimrun.cli.plan_view import print_plan
from mimrun.cli.policy import print_outlook
from mimrun.cli.revert_warning import warn_of_nobody
from mimrun.cli.terminal import console, safe_line
from mimrun.runbook.plan import Plan

IncidentOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--incident",
        metavar="INC",
        show_default=False,
        help="The incident it belongs to, or the beginning of its name, or `latest`; else it opens one.",
    ),
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

_NAMED: Final = 3
"""So many open incidents are named to whoever launches a run without one."""


def show_launch(home: Home, plan: Plan, more: Besides, *, as_json: bool) -> None:
    """Print the plan, how its first gate would stand, and what is out of the ordinary."""
    if not as_json:
        print_plan(console(), plan)
        if asks_at_launch(home.settings):
            print_outlook(console(), explain_plan(home, plan, more.wanted))
        _tell_incident(home, more.wanted.incident)
    warn_of_nobody(home.settings, plan)
    if more.glass is not None:
        warn_of_broken_glass(plan)


def _tell_incident(home: Home, incident: str) -> None:
    """Say which incident a run belongs to; and which are open, where it would open another one."""
    if incident:
        console().print(
            Text(f"  belongs to {incident}: {safe_line(find_state(home, incident).title)}\n", "bold")
        )
        return
    for one in declared_incidents(home)[:_NAMED]:
        told = (
            f"  {one.name} is open ({safe_line(one.title, 80)}): does it belong there? --incident {one.name}"
        )
        console().print(Text(told, "yellow"))


def ask_for_run(
    home: Home, plan: Plan, more: Besides, patience_ms: int, *, direct: bool, as_json: bool
) -> str:
    """Ask for the run, as soon as its locks are free; gives its name."""
    asks, incident = more.wanted.identity, more.wanted.incident or None
    return when_free(
        lambda: create_run(home, plan, asks, incident=incident, direct=direct, more=more.more),
        patience_ms,
        console(stderr=as_json),
    )


def follow_up(home: Home, run: str, more: Besides, *, as_json: bool) -> bool:
    """Do what follows the creation of the run; says whether it may begin."""
    more.link(home, run)
    return more.glass is None or break_the_glass(home, run, more.wanted.identity, as_json=as_json)
