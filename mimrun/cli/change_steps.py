"""`mimrun change submit | approve | ...`: what is decided about a change, and how it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mimrun.app.change.form import Form, fill_form, parse_when
from mimrun.app.change.records import find_change
from mimrun.app.change.register import (
    close_change,
    decide_change,
    move_change,
    schedule_change,
    submit_change,
    withdraw_approval,
)
from mimrun.app.change.standard import Template, add_standard, revoke_standard
from mimrun.app.home import open_home
from mimrun.app.identity import Identity, identify
from mimrun.app.persons import require_known
from mimrun.change_system import ChangeState
from mimrun.cli.change_options import (
    FromOption,
    ReasonOption,
    RefArgument,
    UntilOption,
)
from mimrun.cli.change_tell import tell
from mimrun.cli.options import (
    AsOption,
    HomeOption,
    JsonOption,
    RunbookArgument,
    settings_of,
)
from mimrun.errors import InputError


def submit(
    ref: RefArgument, *, claimed: AsOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Ask for a change: a normal draft to be assessed; what was assessed, and all else, to be allowed."""
    with open_home(settings_of(home)) as opened:
        submit_change(opened, ref, identify(opened.people(), claimed))
        tell(opened, ref, "submitted", as_json=as_json)


def approve(
    ref: RefArgument,
    *,
    reason: ReasonOption = "",
    despite: Annotated[
        bool,
        typer.Option("--despite-conflicts", help="Know of the conflicts there are, and answer for them."),
    ] = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Allow exactly what a change says now. Who asked for it or wrote at it cannot."""
    with open_home(settings_of(home)) as opened:
        who = identify(opened.people(), claimed)
        decide_change(opened, ref, who, "approved", reason=reason, despite=despite)
        tell(opened, ref, f"approved by {who.person.id}", as_json=as_json)


def reject(
    ref: RefArgument,
    *,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse what a change says; it is a draft again. A reason is required."""
    with open_home(settings_of(home)) as opened:
        who = identify(opened.people(), claimed)
        decide_change(opened, ref, who, "rejected", reason=reason)
        tell(opened, ref, f"rejected by {who.person.id}", as_json=as_json)


def withdraw(
    ref: RefArgument,
    *,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take your approval of a change back, before the work has begun."""
    with open_home(settings_of(home)) as opened:
        withdraw_approval(opened, ref, identify(opened.people(), claimed), reason)
        tell(opened, ref, "approval taken back", as_json=as_json)


def schedule(
    ref: RefArgument,
    *,
    start: FromOption = None,
    end: UntilOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan when a change is done. Another time than was approved is to be approved anew."""
    with open_home(settings_of(home)) as opened:
        content = fill_form(find_change(opened, ref).text(), Form(start=start, end=end), opened.clock())
        schedule_change(opened, ref, identify(opened.people(), claimed), content)
        tell(opened, ref, "planned", as_json=as_json)


def start_(
    ref: RefArgument, *, claimed: AsOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Say that the work of a change has begun, where no run of mimrun does it."""
    _step(home, ref, claimed, ChangeState.IMPLEMENT, as_json=as_json)


def review(
    ref: RefArgument, *, claimed: AsOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Say that the work of a change is done, and is to be looked at."""
    _step(home, ref, claimed, ChangeState.REVIEW, as_json=as_json)


def close(
    ref: RefArgument,
    *,
    result: Annotated[
        Literal["successful", "with_problems", "failed"], typer.Option("--result", help="What came of it.")
    ],
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a change with what came of it. What it lacks is listed, and must be there first."""
    with open_home(settings_of(home)) as opened:
        who = identify(opened.people(), claimed)
        require_known(opened, who, "close a change")
        close_change(opened, ref, who.actor(), result, reason)
        tell(opened, ref, f"closed, {result.replace('_', ' ')}", as_json=as_json)


def cancel(
    ref: RefArgument,
    *,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Call a change off. A reason is required."""
    if not reason.strip():
        raise InputError("say why it is called off, with --reason")
    _step(home, ref, claimed, ChangeState.CANCELED, reason, as_json=as_json)


def add_template(
    runbook: RunbookArgument,
    *,
    hosts: Annotated[
        str, typer.Option("--hosts", metavar="PATTERN", help="The hosts within which it counts.")
    ],
    until: Annotated[
        str, typer.Option("--until", metavar="MOMENT", help="When it runs out: ISO 8601, or +90d.")
    ],
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose a standard change: this version of a runbook may be run on these hosts without asking each time.

    A change manager who did not propose it and does not own the runbook allows it. Any edit of the runbook voids it.
    """
    with open_home(settings_of(home)) as opened:
        who = identify(opened.people(), claimed)
        template = Template(runbook, hosts, parse_when(until, opened.clock()), reason)
        tell(opened, add_standard(opened, who, template), "proposed", as_json=as_json)


def revoke_template(
    ref: RefArgument,
    *,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a standard change back: nothing is allowed by it any more, also not what waits or runs now."""
    with open_home(settings_of(home)) as opened:
        revoke_standard(opened, ref, identify(opened.people(), claimed), reason)
        tell(opened, ref, "revoked", as_json=as_json)


def _step(
    home: Path | None,
    ref: str,
    claimed: str | None,
    state: ChangeState,
    reason: str = "",
    *,
    as_json: bool,
) -> None:
    with open_home(settings_of(home)) as opened:
        who: Identity = identify(opened.people(), claimed)
        require_known(opened, who, "move a change")
        move_change(opened, ref, who.actor(), state, reason=reason)
        tell(opened, ref, f"is in {state.value}", as_json=as_json)
