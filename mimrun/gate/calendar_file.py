"""The folder of the calendars: YAML files as people write them, and ICS files as other programs do.

A file that cannot be read is a calendar all the same, and closed: nobody can say that nothing stood in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from mimrun.canonical import Json
from mimrun.errors import InventoryError, Problem, SettingsError
from mimrun.gate.calendar import Calendar, Calendars, Scope
from mimrun.gate.calendar_time import DAY, Once, Ruled, Span, Weekly
from mimrun.runbook.document import Document, ValuePath, load_document
from mimrun.runbook.duration import parse_duration
from mimrun.runbook.model import Risk, Stage
from mimrun.runbook.pattern import Names, select_hosts
from mimrun.runbook.suggestion import suggest

SUFFIXES: Final = (".yaml", ".yml", ".ics")
"""How the names of the files end that are read; others are left alone."""
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TOP: Final = ("name", "timezone", "scope", "closed", "open")
_SCOPE: Final = ("stages", "risks", "hosts", "runbooks")
_KINDS: Final = ("once", "weekly", "rule")
_MOMENT: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?)?")
_TIME: Final = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)")
_MOST: Final = 2_000
_LONGEST: Final = timedelta(days=366)


def load_calendars(folder: Path) -> Calendars:
    """Read every calendar of a folder; none where there is no folder. One that cannot be read is closed."""
    try:
        files = calendar_files(folder)
    except OSError as exc:
        return Calendars((Calendar(folder.name, str(folder), wrong=(f"{folder}: {exc.strerror}",)),))
    return Calendars(tuple(_loaded(file) for file in files))


def calendar_files(folder: Path) -> list[Path]:
    """Give the files of a folder that are calendars, sorted; a name that begins with a dot is left alone.

    Raises:
        OSError: the folder is there and cannot be read, or is a link to where nothing is.
    """
    try:
        found = sorted(folder.iterdir())
    except FileNotFoundError:
        if folder.is_symlink():  # the share that it is on may be away, with every freeze that stands there
            raise
        return []
    return [file for file in found if file.suffix in SUFFIXES and not file.name.startswith(".")]


def _loaded(file: Path) -> Calendar:
    try:
        return load_calendar(file)
    except SettingsError as exc:
        return Calendar(file.stem, str(file), wrong=tuple(str(exc).splitlines()))


def load_calendar(file: Path) -> Calendar:
    """Read one calendar.

    Raises:
        SettingsError: it is none; every problem is named with its place. Of an ICS file only that it is none: what
            cannot be understood of one is in `Calendar.wrong`.
    """
    if file.suffix == ".ics":
        from mimrun.gate.calendar_ics import load_ics  # noqa: PLC0415 - the parser is slow to load, and seldom needed

        return load_ics(file)
    return parse_calendar(load_document(file, error=SettingsError))


def parse_calendar(document: Document) -> Calendar:
    """Make the calendar of a YAML document.

    Raises:
        SettingsError: as for `load_calendar`.
    """
    return _Reader(document).calendar()


def zone_of(name: str) -> ZoneInfo | None:
    """Give a time zone of the IANA database by its name; None where there is none of this name."""
    return ZoneInfo(name) if name in available_timezones() else None


def ruled(rule: str, first: datetime) -> Ruled:
    """Make the recurrence of a rule of RFC 5545.

    Arguments:
        rule: such as `FREQ=MONTHLY;BYDAY=-1FR`; an UNTIL is local time.
        first: the local time at which it begins first.

    Raises:
        ValueError: it is no rule, or one that recurs more often than hourly.
    """
    from dateutil.rrule import rrulestr  # noqa: PLC0415 - as above

    if re.search(r"FREQ=(SECONDLY|MINUTELY)", rule, re.IGNORECASE):
        raise ValueError("a calendar that changes by the minute is not read; write FREQ=HOURLY or longer")
    if re.search(r"[\r\n]", rule) or not rule.strip():
        raise ValueError("is not one rule")
    found = rrulestr(rule, dtstart=first, forceset=True, cache=True)
    return Ruled(found)


class _Reader:
    """Reads a calendar, and collects everything that is wrong with it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.zone = ZoneInfo("UTC")

    def calendar(self) -> Calendar:
        top = self.document.value
        if not isinstance(top, dict):
            hint = f"allowed here: {', '.join(_TOP)}"
            raise SettingsError(problems=[self.document.problem((), "is not a calendar", hint)])
        for key in top:
            if key not in _TOP:
                self._wrong((key,), f"unknown key {key!r}", suggest(key, _TOP), at_key=True)
        name = top.get("name")
        if not isinstance(name, str) or not name.strip():
            self._wrong(("name",), "the key 'name' is missing", "people read it where something is closed")
        self._zone(top.get("timezone"))
        scope = self._scope(top.get("scope"))
        if ("closed" in top) == ("open" in top):
            hint = "`closed:` lists freezes; `open:` lists maintenance windows, outside of which it is closed"
            self._wrong((), "one of `closed` and `open` is needed, and not both", hint)
        kind = "open" if "open" in top else "closed"
        spans = self._spans(kind, top.get(kind)) if kind in top else ()
        if self.problems:
            raise SettingsError(problems=set(self.problems))
        return Calendar(str(name), self.document.file, spans, kind == "closed", scope)

    def _zone(self, value: Json) -> None:
        if not isinstance(value, str):
            hint = "write a name such as Europe/Berlin, or UTC"
            self._wrong(("timezone",), "the key 'timezone' is missing", hint)
            return
        zone = zone_of(value)
        if zone is None:
            self._wrong(("timezone",), f"no time zone {value!r}", suggest(value, available_timezones()))
        self.zone = zone or self.zone

    def _scope(self, value: Json) -> Scope:
        if value is None:
            return Scope()
        if not isinstance(value, dict) or not value:
            self._wrong(("scope",), "a scope is a mapping", f"allowed here: {', '.join(_SCOPE)}")
            return Scope()
        for key in value:
            if key not in _SCOPE:
                self._wrong(("scope", key), f"unknown key {key!r}", suggest(key, _SCOPE), at_key=True)
        return Scope(
            self._words("stages", value, [stage.value for stage in Stage]),
            self._words("risks", value, [risk.value for risk in Risk]),
            self._pattern(value.get("hosts")),
            tuple(sorted(self._words("runbooks", value, []))),
        )

    def _words(self, key: str, scope: Mapping[str, Json], known: list[str]) -> frozenset[str]:
        value = scope.get(key, [])
        words = [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
        if not isinstance(value, list) or len(words) < len(value) or (key in scope and not value):
            self._wrong(("scope", key), f"{key} is a list of words, and not empty")
        for number, word in enumerate(words):
            if known and word not in known:
                self._wrong(("scope", key, number), f"there is no {word!r}", suggest(word, known))
        return frozenset(words)

    def _pattern(self, value: Json) -> str:
        if value is None:
            return ""
        if not isinstance(value, str) or "[" in value:
            hint = (
                "write names, groups, `web*`, `a:&b` or `a:!b`; a place in a group differs from plan to plan"
            )
            self._wrong(("scope", "hosts"), "is no host pattern for a calendar", hint)
            return ""
        try:
            select_hosts(Names((), {}), value)
        except InventoryError as exc:
            self._wrong(("scope", "hosts"), str(exc))
        return value

    def _spans(self, kind: str, value: Json) -> tuple[Span, ...]:
        if not isinstance(value, list) or not value or len(value) > _MOST:
            self._wrong((kind,), f"{kind} is a list of times, of 1 to {_MOST}")
            return ()
        spans = (self._span((kind, number), one) for number, one in enumerate(value))
        return tuple(span for span in spans if span is not None)

    def _span(self, where: ValuePath, value: Json) -> Span | None:
        given = [key for key in _KINDS if isinstance(value, dict) and key in value]
        if not isinstance(value, dict) or len(given) != 1:
            self._wrong(where, "a time is a mapping with one of once, weekly, rule")
            return None
        for key in value:
            if key not in (*_KINDS, "reason"):
                self._wrong(
                    (*where, key), f"unknown key {key!r}", suggest(key, (*_KINDS, "reason")), at_key=True
                )
        reason = value.get("reason", "")
        if not isinstance(reason, str):
            self._wrong((*where, "reason"), "must be a text")
        place, fields = (*where, given[0]), value[given[0]]
        if not isinstance(fields, dict):
            self._wrong(place, "must be a mapping", "such as {from: fri 18:00, to: mon 06:00}")
            return None
        made = {"once": self._once, "weekly": self._weekly, "rule": self._rule}[given[0]](place, fields)
        return None if made is None else Span(str(reason), self.zone, *made)

    def _once(self, where: ValuePath, fields: Mapping[str, Json]) -> tuple[Once, timedelta] | None:
        self._keys(where, fields, ("from", "to"))
        first, last = self._moment((*where, "from"), fields), self._moment((*where, "to"), fields)
        if first is None or last is None:
            return None
        if last <= first:
            self._wrong((*where, "to"), "is not behind `from`")
        elif last - first > _LONGEST:
            self._wrong((*where, "to"), "is more than a year behind `from`")
        return Once((first,)), last - first

    def _weekly(self, where: ValuePath, fields: Mapping[str, Json]) -> tuple[Weekly, timedelta] | None:
        self._keys(where, fields, ("days", "from", "to"))
        first = self._clock((*where, "from"), fields, with_day="days" not in fields)
        last = self._clock((*where, "to"), fields, with_day="days" not in fields)
        days = self._days((*where, "days"), fields["days"]) if "days" in fields else None
        if first is None or last is None or (days is not None and not days):
            return None
        (day, begins), (end_day, ends) = first, last
        if days is None:
            length = timedelta(days=(end_day - day) % 7) + ends - begins
            length += timedelta(days=7) if length <= timedelta(0) else timedelta(0)
            days = frozenset({day})
        else:
            length = ends - begins + (DAY if ends <= begins else timedelta(0))
        if begins >= DAY:
            days, begins = frozenset((d + 1) % 7 for d in days), timedelta(0)
        return Weekly(days, time(begins.seconds // 3600, begins.seconds // 60 % 60)), length

    def _rule(
        self, where: ValuePath, fields: Mapping[str, Json]
    ) -> tuple[Ruled, timedelta, timedelta] | None:
        self._keys(where, fields, ("rrule", "from", "for"))
        first, rule = self._moment((*where, "from"), fields), fields.get("rrule")
        length = self._duration((*where, "for"), fields.get("for"))
        if first is None or length is None:
            return None
        try:
            return ruled(str(rule or ""), first), length, length
        except ValueError as exc:
            self._wrong((*where, "rrule"), f"is no recurrence rule: {exc}", "such as FREQ=MONTHLY;BYDAY=-1FR")
            return None

    def _duration(self, where: ValuePath, value: Json) -> timedelta | None:
        try:
            length = timedelta(milliseconds=parse_duration(value))
        except ValueError as exc:
            self._wrong(where, str(exc))
            return None
        if not length:
            self._wrong(where, "is nothing")
        return length

    def _moment(self, where: ValuePath, fields: Mapping[str, Json]) -> datetime | None:
        text = fields.get(str(where[-1]))
        found = _MOMENT.fullmatch(text) if isinstance(text, str) else None
        try:
            if found is not None:
                year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
                return datetime.combine(date(year, month, day), time(hour, minute, second))
        except ValueError:
            pass
        self._wrong(where, f"{text!r} is no local time", "write 2026-12-18 18:00")
        return None

    def _clock(
        self, where: ValuePath, fields: Mapping[str, Json], *, with_day: bool
    ) -> tuple[int, timedelta] | None:
        text = fields.get(str(where[-1]))
        day, _, clock = text.rpartition(" ") if isinstance(text, str) else ("", "", "")
        found = _TIME.fullmatch(clock)
        wanted = "fri 18:00" if with_day else "18:00"
        if found is None or bool(day) != with_day or (day and day.strip().lower()[:3] not in DAYS):
            self._wrong(where, f"{text!r} is no time of the week", f"write {wanted}")
            return None
        at = timedelta(hours=int(found[1]), minutes=int(found[2]))
        if at > DAY:
            self._wrong(where, f"{text!r} is no time of the day", "the last is 24:00")
            return None
        return (DAYS.index(day.strip().lower()[:3]) if day else 0), at

    def _days(self, where: ValuePath, value: Json) -> frozenset[int]:
        found = set()
        for number, day in enumerate(value if isinstance(value, list) else []):
            if isinstance(day, str) and day.lower()[:3] in DAYS:
                found.add(DAYS.index(day.lower()[:3]))
            else:
                self._wrong((*where, number), f"{day!r} is no day of the week", suggest(str(day), DAYS))
        if not isinstance(value, list) or not value:
            self._wrong(where, "days is a list such as [sat, sun]")
        return frozenset(found)

    def _keys(self, where: ValuePath, fields: Mapping[str, Json], known: tuple[str, ...]) -> None:
        for key in fields:
            if key not in known:
                self._wrong((*where, key), f"unknown key {key!r}", suggest(key, known), at_key=True)

    def _wrong(self, where: ValuePath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.problems.append(self.document.problem(where, message, hint, at_key=at_key))
