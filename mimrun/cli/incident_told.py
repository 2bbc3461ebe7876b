"""`mimrun incident time | link | note`: what the log cannot see by itself."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from mimrun.app.home import Home, open_home
from mimrun.app.identity import identify
from mimrun.app.incident import working
from mimrun.app.incident.view import find_incident
from mimrun.app.past import parse_past, say_moment
from mimrun.cli import note as note_page
from mimrun.cli.incident_options import IncidentArgument, ReasonOption
from mimrun.cli.options import AsOption, HomeOption, InventoryOption, JsonOption, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import InputError
from mimrun.runbook.suggestion import suggest


def time(
    incident: IncidentArgument,
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help=f"One of {', '.join(working.TIMED)}: when it was so.")
    ],
    moment: Annotated[
        str,
        typer.Argument(metavar="MOMENT", help="10:42 (on your clock), ISO 8601, or `15m ago`."),
    ],
    *,
    estimate: Annotated[bool, typer.Option("--estimate", help="It is a guess, and is shown as one.")] = False,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say when something happened that the log could not see: when it began, was noticed, taken up, or back."""
    clock = next((one for one in working.TIMED if one == what.lower()), None)
    if clock is None:
        raise InputError(f"{what!r} is no moment that can be told; {suggest(what, working.TIMED)}")
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        at = moment_of(opened, moment)
        state = working.set_time(
            opened, identity, incident, clock, at, source="estimate" if estimate else "seen", reason=reason
        )
        if as_json:
            print_json(find_incident(opened, state.name).as_json())
            return
    guess = ", an estimate" if estimate else ""
    console().print(Text(f"{state.name}: {clock} {say_moment(at)}{guess}", "bold"))


def link(
    incident: IncidentArgument,
    relation: Annotated[
        str, typer.Argument(metavar="RELATION", help=f"One of {', '.join(working.RELATIONS)}.")
    ],
    to: Annotated[
        str,
        typer.Argument(metavar="TO", help="The other incident; of a record its number or address."),
    ],
    *,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what an incident belongs together with: another one, or a record in another system.

    With `parent` it is part of the other incident, with `child` the other one is part of it. The link stands in
    the logs of both.
    """
    kind = next((one for one in working.RELATIONS if one == relation.lower()), None)
    if kind is None:
        raise InputError(f"{relation!r} is no way to belong together; {suggest(relation, working.RELATIONS)}")
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        state = working.link(opened, identity, incident, kind, to)
        if as_json:
            print_json(find_incident(opened, state.name).as_json())
            return
    last = state.links[-1]
    console().print(Text(f"{state.name}: {last.relation} {safe_line(last.to)}", "bold"))


def note(
    incident: IncidentArgument,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            show_default=False,
            help="What you saw or think; `-` reads it from standard input; none opens $EDITOR.",
        ),
    ] = None,
    *,
    attach: note_page.AttachOption = None,
    force: note_page.ForceOption = False,
    inventories: InventoryOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write something down in the log of an incident: the same as `mimrun note TEXT --incident INC`."""
    files: list[Path] | None = attach
    note_page.note(
        words,
        incident=incident,
        run=None,
        attach=files,
        force=force,
        inventories=inventories,
        claimed=claimed,
        home=home,
        as_json=as_json,
    )


def moment_of(home: Home, text: str) -> datetime:
    """Give the moment that a person means.

    Raises:
        InputError: it is none, or not in the past.
    """
    try:
        return parse_past(text, home.clock())
    except InputError as exc:
        raise InputError(str(exc).removeprefix("--at ")) from exc
