"""`mimrun oncall`: who is on call, and the plans that say so."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.oncall import OnCall, import_plan, who_is_on_call
from mimrun.canonical import Json
from mimrun.cli.options import AsOption, HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import InputError
from mimrun.gate.people_file import load_people
from mimrun.log.moment import utc_now, write_moment

AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        show_default=False,
        help="At this moment, such as 2026-12-31T03:00Z; else now.",
    ),
]


def show(
    team: Annotated[str | None, typer.Argument(metavar="TEAM", help="Only this team.")] = None,
    *,
    at: AtOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who is on call for each team, and until when."""
    found = who_is_on_call(load_people(settings_of(home).people), moment_of(at), team)
    if as_json:
        print_json([_as_json(one) for one in found])
        return
    if not found:
        typer.echo("there is no team; people.yaml names them under `teams`")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("TEAM", "ON CALL", "CHANGES (UTC)", "PLAN UNTIL"):
        table.add_column(head, overflow="fold")
    for one in found:
        names = ", ".join(f"{person.id} ({person.name})" for person in one.persons)
        table.add_row(
            Text(safe_line(one.team), "bold"),
            Text(safe_line(names) if names else "nobody", "" if names else "red"),
            f"{one.next_change:%Y-%m-%d %H:%M}" if one.next_change else "-",
            f"{one.until:%Y-%m-%d}" if one.until else "never imported",
        )
    console().print(table)


def import_(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="iCalendar, or CSV with person, from, until. Default: what people.yaml names for the team.",
        ),
    ] = None,
    *,
    team: Annotated[str, typer.Option("--team", metavar="TEAM", help="Whose plan it is.")],
    zone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="Of times that have none: Europe/Berlin.")
    ] = "UTC",
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="NAME=ID",
            show_default=False,
            help="Whom the plan means by a name. May be given several times.",
        ),
    ] = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a team's on-call plan, with its repetitions, and put it in force.

    Whoever is on call has the role oncall_TEAM for as long. The plan is recorded in the log.
    """
    wrong = [pair for pair in names or () if "=" not in pair]
    if wrong:
        raise InputError(f"--name {wrong[0]!r}: write NAME=ID")
    pairs = {name: id_ for name, _, id_ in (pair.rpartition("=") for pair in names or ())}
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        rota = import_plan(opened, identity, team, file, zone=zone, names=pairs)
    if as_json:
        print_json({"team": team, "shifts": len(rota.shifts), "until": write_moment(rota.until)})
    else:
        typer.echo(f"{safe_line(team)}: {len(rota.shifts)} shifts, until {rota.until:%Y-%m-%d %H:%MZ}")


def moment_of(text: str | None) -> datetime:
    """Give the moment that an option names; now where it names none.

    Raises:
        InputError: it is no time, or has no zone.
    """
    if text is None:
        return utc_now()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise InputError(f"--at {text!r} is no time; write 2026-12-31T03:00Z") from exc
    if moment.tzinfo is None:
        raise InputError(f"--at {text!r} has no time zone; write {text}Z, or with +01:00")
    return moment


def _as_json(one: OnCall) -> Json:
    return {
        "team": one.team,
        "on_call": [person.id for person in one.persons],
        "next_change": write_moment(one.next_change) if one.next_change else None,
        "plan_until": write_moment(one.until) if one.until else None,
    }


COMMANDS = {
    "oncall": group(
        "oncall",
        "Show who is on call, and import the plans that say so.",
        {
            "show": (show, "mimrun oncall show --at 2026-12-31T03:00Z"),
            "import": (import_, "mimrun oncall import database.ics --team database-oncall"),
        },
    )
}
