"""Calendars: read anew when a file has changed, asked about a plan, listed, and taken in from other programs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from mimrun.errors import InputError, RefusedError, SettingsError
from mimrun.gate.calendar import Calendar, Calendars, Closure, Touched
from mimrun.gate.calendar_file import calendar_files, load_calendars, zone_of
from mimrun.runbook.document import read_bytes
from mimrun.runbook.launch import row_of
from mimrun.runbook.node import PlannedInclude
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

_STEADY = timedelta(hours=1)
"""So far ahead it is looked whether something closes or opens, so as not to look each time."""
_SHOWN = 3
"""So many closures are named in one sentence."""

_BEGIN = re.compile(r"^BEGIN:VCALENDAR[ \t]*\r?\n", re.MULTILINE | re.IGNORECASE)
_ZONE = re.compile(r"^X-WR-TIMEZONE[:;][^\n]*\n", re.MULTILINE | re.IGNORECASE)

Marks: TypeAlias = Mapping[str, tuple[int, int, int]]


def calendars_reader(folder: Path) -> Callable[[], Calendars]:
    """Give a function that reads the calendars again whenever a file of the folder has changed, come or gone."""
    known: tuple[Marks | None, Calendars] = (None, Calendars())

    def read() -> Calendars:
        nonlocal known
        marks = _marks(folder)
        if marks != known[0]:
            known = (marks, load_calendars(folder))
        return known[1]

    return read


def _marks(folder: Path) -> Marks:
    marks = {}
    try:
        files = calendar_files(folder)
    except OSError:
        return {".": (0, 0, 0)}
    for file in files:
        try:
            stat = file.stat()
            marks[file.name] = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        except OSError:
            marks[file.name] = (0, 0, 0)
    return marks


def touched_by(plan: Plan) -> Touched:
    """Say what a plan touches, as the scope of calendars asks for it."""
    inner = (node.runbook.name for node in plan.walk() if isinstance(node, PlannedInclude))
    return Touched(
        stage=plan.runbook.stage.value,
        risk=row_of(plan),
        runbooks=(plan.runbook.name, *inner),
        hosts=tuple(target.name for target in plan.targets),
        groups=plan.groups,
    )


def frozen_reader(settings: Settings, plan: Plan) -> Callable[[datetime], str]:
    """Give a function that says at a moment which calendars are closed for a plan; "" where none is.

    It looks at the files each time, and goes through the calendars again where one has changed or its time has come.
    """
    read, touched = calendars_reader(settings.calendars), touched_by(plan)
    seen: tuple[Calendars | None, datetime | None, datetime | None, str] = (None, None, None, "")

    def frozen(at: datetime) -> str:
        nonlocal seen
        calendars = read()
        whose, since, until, said = seen
        if whose is calendars and since is not None and until is not None and since <= at < until:
            return said
        said = frozen_words(calendars.closed(at, touched))
        seen = (calendars, at, calendars.next_change(at, _STEADY), said)
        return said

    return frozen


def frozen_words(closures: Sequence[Closure]) -> str:
    """Say which calendars are closed and until when; "" where none is."""
    said = [closure_words(closure) for closure in closures]
    more = len(said) - _SHOWN
    # The one that lasts longest is the last.
    return "; ".join(said[-_SHOWN:]) + (f"; and {more} more" if more > 0 else "")


def closure_words(closure: Closure) -> str:
    """Say in a sentence that a calendar is closed, why, and until when."""
    why = f" ({closure.reason})" if closure.reason else ""
    until = f"{closure.until:%Y-%m-%d %H:%M} UTC" if closure.until else "somebody changes it"
    return f"'{closure.name}' is closed until {until}{why}"


@dataclass(frozen=True, slots=True)
class Outlook:
    """How the calendars stand for a plan, or for everything.

    Arguments:
        closures: those that are closed now, the one that lasts longest last.
        opens: from when on all are open; None where nobody can tell.
    """

    at: datetime
    closures: tuple[Closure, ...]
    opens: datetime | None

    @property
    def words(self) -> str:
        """Say until when it is frozen, and why; "" where it is not."""
        if not self.closures:
            return ""
        until = (
            f"frozen until {self.opens:%Y-%m-%d %H:%M} UTC" if self.opens else "frozen, with no end in sight"
        )
        return f"{until}: {frozen_words(self.closures)}"


def outlook(settings: Settings, at: datetime, touched: Touched | None = None) -> Outlook:
    """Look how the calendars stand at a moment, UTC.

    Arguments:
        touched: what a plan touches; without it all calendars are asked.
    """
    calendars = load_calendars(settings.calendars)
    return Outlook(at, calendars.closed(at, touched), calendars.opens(at, touched))


def import_calendar(settings: Settings, file: Path, *, timezone: str = "", replace: bool = False) -> Calendar:
    """Take an ICS file in: it is looked at first, and kept as it is.

    Arguments:
        timezone: the zone of times that name none; it is written into the copy as `X-WR-TIMEZONE`.
        replace: also where there is a calendar of this name.

    Raises:
        InputError: it is no calendar, or something in it cannot be understood; all of it is named.
        RefusedError: there is one of this name.
    """
    if file.suffix != ".ics":
        raise InputError(
            f"{file} is not called *.ics; calendars in YAML are written into {settings.calendars}"
        )
    text = read_bytes(file, error=SettingsError).decode("utf-8", "replace")
    if timezone:
        text = _with_zone(text, timezone)
    from mimrun.gate.calendar_ics import parse_ics  # noqa: PLC0415 - the parser is slow to load, and seldom needed

    found = parse_ics(text, str(file))
    if found.wrong:
        raise InputError("\n".join(found.wrong))
    target = settings.calendars / file.name
    if target.exists() and not replace:
        raise RefusedError(f"{target} is there already; give --replace to put the new one in its place")
    settings.calendars.mkdir(mode=0o700, exist_ok=True)
    # Nobody ever reads half of it: a name that begins with a dot is left alone.
    draft = settings.calendars / f".{file.name}.{os.getpid()}"
    draft.write_text(text, "utf-8", newline="")
    draft.replace(target)
    return found


def _with_zone(text: str, timezone: str) -> str:
    if zone_of(timezone) is None:
        raise InputError(f"no time zone {timezone!r}; write a name such as Europe/Berlin")
    bare = _ZONE.sub("", text)
    return _BEGIN.sub(lambda found: f"{found[0]}X-WR-TIMEZONE:{timezone}\r\n", bare, count=1)
