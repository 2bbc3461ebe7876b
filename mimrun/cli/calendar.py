"""`mimrun calendar`: when nothing may be changed, why, and until when."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.calendars import closure_words, import_calendar, outlook
from mimrun.canonical import Json
from mimrun.cli.options import HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json, safe, safe_line
from mimrun.errors import InputError
from mimrun.gate.calendar import Calendar, Calendars, Closure
from mimrun.gate.calendar_file import load_calendars, zone_of
from mimrun.log.moment import utc_now, write_moment

AtOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        show_default=False,
        help="A moment in UTC, such as 2026-12-24T18:00; now without it.",
    ),
]
_YEAR = 366


def list_calendars(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the calendars: whether each is open now, until when, and what it is about."""
    settings, now = settings_of(home), utc_now()
    calendars = load_calendars(settings.calendars)
    if as_json:
        print_json([_as_json(one, now) for one in calendars.all])
        return
    if not calendars.all:
        typer.echo(f"there are no calendars; they are files in {settings.calendars}")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("CALENDAR", "KIND", "NOW", "ABOUT", "FILE"):
        table.add_column(head, overflow="fold")
    for one in calendars.all:
        closure = one.closed(now)
        stands = Text("open", "green") if closure is None else Text(_until(closure), "bold red")
        kind = "freezes" if one.closed_inside else "windows"
        about = one.scope.words or "everything"
        table.add_row(Text(safe_line(one.name), "bold"), kind, stands, safe_line(about), safe_line(one.file))
    console().print(table)


def show(
    name: Annotated[str, typer.Argument(metavar="CALENDAR", help="Its name, or that of its file.")],
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=_YEAR, help="So many days ahead.")] = 60,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what one calendar closes in the time to come, and what of it cannot be understood."""
    now = utc_now()
    one = _find(load_calendars(settings_of(home).calendars), name)
    ahead = list(one.closures(now, now + timedelta(days=days)))
    if as_json:
        print_json({**_as_json(one, now), "closures": [_closure_json(closure) for closure in ahead]})
        return
    out = console()
    out.print(Text(safe_line(one.name), "bold").append(f"  {safe_line(one.file)}", "dim"))
    kind = "closed inside of its times" if one.closed_inside else "open only inside of its windows"
    out.print(Text(f"  {kind}; about {one.scope.words or 'everything'}"))
    for why in one.wrong:
        out.print(Text(f"  cannot be understood, so it is closed: {safe(why)}", "bold red"))
    if not ahead:
        out.print(Text(f"  open for the next {days} days", "green"))
    for closure in ahead if not one.wrong else ():
        out.print(Text(f"  {_span(closure)}  {safe_line(closure.reason)}"))


def check(at: AtOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say whether something may be changed at a moment, by all calendars. It ends with 1 where it is frozen."""
    settings, when = settings_of(home), _moment(at)
    found = outlook(settings, when)
    if as_json:
        print_json(
            {
                "at": write_moment(when),
                "frozen": bool(found.closures),
                "opens": write_moment(found.opens) if found.opens else None,
                "closures": [_closure_json(closure) for closure in found.closures],
            }
        )
    elif found.closures:
        out = console()
        end = f"until {found.opens:%Y-%m-%d %H:%M} UTC" if found.opens else "with no end in sight"
        out.print(Text(f"frozen {end}", "bold red"))
        for closure in found.closures:
            out.print(Text(f"  {safe(closure_words(closure))}"))
    else:
        typer.echo(f"open at {when:%Y-%m-%d %H:%M} UTC")
    if found.closures:
        raise typer.Exit(1)


def upcoming(
    days: Annotated[int, typer.Option("--days", min=1, max=_YEAR, help="So many days ahead.")] = 60,
    at: AtOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is closed next, over all calendars."""
    settings, now = settings_of(home), _moment(at)
    calendars = load_calendars(settings.calendars)
    ahead = [c for one in calendars.all for c in one.closures(now, now + timedelta(days=days))]
    ahead.sort(key=lambda closure: (closure.since or now, closure.name))
    if as_json:
        print_json([_closure_json(closure) for closure in ahead])
        return
    if not ahead:
        typer.echo(f"nothing is closed in the next {days} days")
    out = console()
    for closure in ahead:
        out.print(
            Text(f"{_span(closure)}  ")
            .append(safe_line(closure.name), "bold")
            .append(f"  {safe_line(closure.reason)}")
        )


def import_ics(
    file: Annotated[Path, typer.Argument(metavar="FILE.ics", help="What another program exported.")],
    *,
    timezone: Annotated[
        str,
        typer.Option(
            "--timezone", metavar="ZONE", help="For times that name no zone, such as Europe/Berlin."
        ),
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of one of this name.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Take in an ICS file as a calendar. It is refused where something in it cannot be understood."""
    settings = settings_of(home)
    found = import_calendar(settings, file, timezone=timezone, replace=replace)
    typer.echo(f"{settings.calendars / file.name}: '{safe_line(found.name)}', {len(found.spans)} events")
    found_now = found.closed(utc_now())
    typer.echo("it is open now" if found_now is None else f"it is {_until(found_now)}")


def _moment(text: str | None) -> datetime:
    if text is None:
        return utc_now()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"--at {text}: is no moment; write 2026-12-24T18:00, which is UTC") from None
    return found.replace(tzinfo=zone_of("UTC")) if found.tzinfo is None else found.astimezone(zone_of("UTC"))


def _find(calendars: Calendars, name: str) -> Calendar:
    found = [one for one in calendars.all if name in (one.name, Path(one.file).name, Path(one.file).stem)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(Path(one.file).name for one in calendars.all) or "none"
    what = "several calendars are called" if found else "there is no calendar"
    raise InputError(f"{what} {name!r}; the files are: {known}")


def _until(closure: Closure) -> str:
    return (
        f"closed until {closure.until:%Y-%m-%d %H:%M} UTC"
        if closure.until
        else "closed, with no end in sight"
    )


def _span(closure: Closure) -> str:
    since = f"{closure.since:%Y-%m-%d %H:%M}" if closure.since else "already"
    until = f"{closure.until:%Y-%m-%d %H:%M}" if closure.until else "no end in sight"
    return f"{since:<16} to {until:<16} UTC"


def _closure_json(closure: Closure) -> dict[str, Json]:
    return {
        "calendar": closure.name,
        "reason": closure.reason,
        "since": write_moment(closure.since) if closure.since else None,
        "until": write_moment(closure.until) if closure.until else None,
    }


def _as_json(one: Calendar, now: datetime) -> dict[str, Json]:
    closure = one.closed(now)
    return {
        "name": one.name,
        "file": one.file,
        "kind": "freezes" if one.closed_inside else "windows",
        "about": one.scope.words,
        "wrong": [*one.wrong],
        "closed": _closure_json(closure) if closure else None,
    }


COMMANDS = {
    "calendar": group(
        "calendar",
        "Show when nothing may be changed, by freezes and maintenance windows, and take calendars in.",
        {
            "list": (list_calendars, "mimrun calendar list"),
            "show": (show, "mimrun calendar show year-end --days 90"),
            "check": (check, "mimrun calendar check --at 2026-12-24T18:00"),
            "next": (upcoming, "mimrun calendar next --days 30"),
            "import": (import_ics, "mimrun calendar import freezes.ics --timezone Europe/Berlin"),
        },
    )
}
