"""`mimrun incident timeline`: everything that happened in an incident, in time order, and live."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final, TypeAlias, get_args

import typer
from rich.console import Console
from rich.text import Text

from mimrun.app.home import Home, open_home
from mimrun.app.incident.pages import timeline_page
from mimrun.app.incident.timeline import Line, Source, timeline
from mimrun.app.incident.view import find_state
from mimrun.cli.incident_options import IncidentArgument
from mimrun.cli.options import HomeOption, JsonOption, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import InputError
from mimrun.runbook.suggestion import suggest

SOURCES: Final[tuple[str, ...]] = get_args(Source)
STYLE: Final = {
    "alert": "bold red",
    "rule": "magenta",
    "run": "cyan",
    "step": "",
    "decision": "bold green",
    "manual": "yellow",
    "note": "bold",
    "message": "blue",
    "incident": "bold yellow",
    "change": "blue",
    "other": "dim",
}
SourceOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="WORD",
        show_default=False,
        help=f"Only these: {', '.join(SOURCES)}. May be given several times, or with commas.",
    ),
]
AfterOption: TypeAlias = Annotated[
    int, typer.Option("--after", metavar="ENTRY", help="Only what was recorded behind this entry.")
]
LastOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--last", metavar="N", min=1, show_default=False, help="Only the last so many lines."),
]
_LOOK_S: Final = 1.0
"""How long one waits for something new before looking whether somebody has pressed Ctrl-C."""
_IN_RUNS: Final = frozenset({"step", "run", "decision", "manual"})
"""What is told with its run."""
_HEAD: Final = 20
"""Columns in front of a sentence."""


def show(
    incident: IncidentArgument = "latest",
    *,
    source: SourceOption = None,
    after: AfterOption = 0,
    last: LastOption = None,
    follow: Annotated[bool, typer.Option("--follow", help="Stay, and show what happens.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what happened in an incident: alerts, runs, steps, decisions, work by hand, notes and messages.

    Work by hand stands where it was done, and says how much later it was entered. `mimrun log show --incident INC` shows
    the entries themselves.
    """
    wanted = _sources(source or [])
    if follow and as_json:
        raise InputError("--follow is for people; ask again with --after for what is new")
    with open_home(settings_of(home)) as opened:
        upto = opened.store.head().size
        shown = _lines(opened, incident, wanted, after, last, upto=upto)
        if as_json:
            print_json([line.as_json() for line in shown])
            return
        sheet = _Sheet(console())
        for line in shown:
            sheet.print(line)
        if not shown and not follow:
            typer.echo("nothing of that is in the log of this incident yet")
        if follow:
            for line in _new(opened, incident, max([upto, *(line.seq for line in shown)])):
                if line.source in wanted:
                    sheet.print(line)


def _lines(
    home: Home, incident: str, wanted: frozenset[str], after: int, last: int | None, *, upto: int
) -> list[Line]:
    """Give the lines that are asked for; of the last ones of a long timeline no more is read than they need."""
    if last is None or after:
        lines = [line for line in timeline(home, incident, after=after) if line.source in wanted]
        return lines if last is None else lines[-last:]
    page = timeline_page(home, incident, lambda _, source: source in wanted, upto=upto, size=last)
    return [*reversed(page.lines)]


def _sources(words: list[str]) -> frozenset[str]:
    wanted = [word.strip() for part in words for word in part.split(",") if word.strip()]
    for word in wanted:
        if word not in SOURCES:
            raise InputError(f"the timeline has no source {word!r}; {suggest(word, SOURCES)}")
    return frozenset(wanted or SOURCES)


def _new(home: Home, incident: str, after: int) -> Iterator[Line]:
    """Give the lines of what is recorded from now on, until somebody presses Ctrl-C or it is closed."""
    name = find_state(home, incident).name
    while True:
        if home.store.follow(after, _LOOK_S, inc=name):
            lines = timeline(home, name, after=after)
            after = max((line.seq for line in lines if line.inc), default=after)
            yield from lines
        if find_state(home, name).status == "closed":
            return


class _Sheet:
    """Prints lines under the day that they are of, folded to the width of the terminal."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._day: datetime | None = None

    def print(self, line: Line) -> None:
        if self._day is None or self._day.date() != line.at.date():
            self._day = line.at
            self._out.print(Text(f"{line.at:%A %Y-%m-%d} (UTC)", "bold underline"))
        head = Text(f"{line.at:%H:%M:%S} ", "dim").append(f"{line.source:<10} ", STYLE[line.source])
        late = ""
        if line.entered_later is not None:
            late = f" (entered at {line.entered_later:%H:%M:%S})"
        text = Text(safe_line(line.text, 1200), STYLE[line.source] if line.kind == "unreadable" else "")
        text.append(late, "yellow")
        if line.run and line.run not in line.text and line.source in _IN_RUNS:
            text.append(f"  {line.run}", "dim")
        width = self._out.width if self._out.is_terminal or os.environ.get("COLUMNS") else 120
        for part in text.wrap(self._out, max(width - _HEAD, 30)):
            part.rstrip()
            self._out.print(head.append_text(part))
            head = Text(" " * _HEAD)
