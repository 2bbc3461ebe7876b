"""Calendars as other programs write them: iCalendar, RFC 5545.

Every event is a freeze, whatever it says about being busy: calendars mark whole days as free. Where the file says
`X-CALENDAR-TYPE:DEFAULT_CLOSED`, as change calendars of AWS Systems Manager do, its events are maintenance windows.
An event that cannot be understood closes, by name: nobody can say that it is not now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final

from dateutil.rrule import rruleset
from icalendar import Calendar as Ics
from icalendar.cal.event import Event

from mimrun.errors import Problem, SettingsError
from mimrun.gate.calendar import Calendar
from mimrun.gate.calendar_file import ruled, zone_of
from mimrun.gate.calendar_time import DAY, Once, Ruled, Span
from mimrun.runbook.document import read_bytes

_UNDERSTOOD: Final = frozenset({"DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID"})
"""The properties that say when an event is."""
_CLOSED: Final = "DEFAULT_CLOSED"
_MOST: Final = 5_000


class _Unclear(ValueError):
    """An event that cannot be understood."""


def load_ics(file: Path) -> Calendar:
    """Read an ICS file.

    Raises:
        SettingsError: it is none.
    """
    data = read_bytes(file, error=SettingsError)
    return parse_ics(data.decode("utf-8", "replace"), str(file))


def parse_ics(text: str, file: str) -> Calendar:
    """Make the calendar of the text of an ICS file.

    Arguments:
        file: the path as the person gave it, for messages; its name is the calendar's where the text has none.

    Raises:
        SettingsError: it is no calendar.
    """
    try:
        whole = Ics.from_ical(text)
    except (ValueError, IndexError, KeyError, AttributeError, TypeError) as exc:
        first = str(exc).splitlines()[0][:200] if str(exc) else type(exc).__name__
        raise SettingsError(problems=[Problem(file, 0, 0, f"is not an iCalendar file: {first}")]) from exc
    if whole.name != "VCALENDAR":
        raise SettingsError(problems=[Problem(file, 0, 0, "is not an iCalendar file: it has no VCALENDAR")])
    zone, wrong = _own_zone(whole)
    spans: list[Span] = []
    for group in _by_uid(whole):
        try:
            spans += _spans_of(group, zone)
        except _Unclear as exc:
            wrong.append(f"{file}: event {_called(group[0])}: {exc}")
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as exc:
            wrong.append(f"{file}: event {_called(group[0])} cannot be understood: {exc}")
    if len(spans) > _MOST:
        wrong.append(f"{file}: more than {_MOST} events; split it, or leave out those that are over")
    name = str(whole.get("X-WR-CALNAME") or "").strip() or Path(file).stem
    windows = str(whole.get("X-CALENDAR-TYPE") or "").strip().upper() == _CLOSED
    return Calendar(name, file, tuple(spans), not windows, wrong=tuple(wrong))


def _own_zone(whole: Ics) -> tuple[tzinfo | None, list[str]]:
    """Give the zone of times that name none, and what is wrong with it."""
    named = str(whole.get("X-WR-TIMEZONE") or "").strip()
    zone = zone_of(named) if named else None
    return zone, [f"there is no time zone {named!r} (X-WR-TIMEZONE)"] if named and zone is None else []


def _by_uid(whole: Ics) -> list[list[Event]]:
    """Give the events, those that change single occurrences together with the one that they change."""
    groups: dict[str, list[Event]] = {}
    for number, event in enumerate(whole.events):
        groups.setdefault(str(event.get("UID") or f"#{number}"), []).append(event)
    return list(groups.values())


def _called(event: Event) -> str:
    summary = " ".join(str(event.get("SUMMARY") or "").split())
    return repr(summary or str(event.get("UID") or "without a name"))[:120]


@dataclass(frozen=True, slots=True)
class _When:
    """A local time and its zone."""

    wall: datetime
    zone: tzinfo

    @property
    def moment(self) -> datetime:
        return self.wall.replace(tzinfo=self.zone).astimezone(UTC)


def _spans_of(events: list[Event], zone: tzinfo | None) -> Iterator[Span]:
    """Give the times of an event and of its changed occurrences.

    Raises:
        _Unclear: it cannot be understood.
    """
    for event in events:
        _check(event)
    changed = [_changed(event, zone) for event in events if "RECURRENCE-ID" in event]
    for event in events:
        if str(event.get("STATUS") or "").upper() == "CANCELLED":
            continue
        start = _when(_one(event, "DTSTART"), zone)
        wall, exact = _length(event, start, zone)
        if wall <= timedelta(0) and exact <= timedelta(0):
            continue  # it lasts no time at all
        starts = Once((start.wall,)) if "RECURRENCE-ID" in event else _starts(event, start, zone, changed)
        yield Span(" ".join(str(event.get("SUMMARY") or "").split()), start.zone, starts, wall, exact)


def _check(event: Event) -> None:
    broken = [f"{name} cannot be read: {why}" for name, why in event.errors if name in _UNDERSTOOD]
    if broken:
        raise _Unclear(broken[0])
    if "DTSTART" not in event:
        raise _Unclear("it has no DTSTART")
    if "EXRULE" in event:
        raise _Unclear("EXRULE is not read")
    if "DTEND" in event and "DURATION" in event:
        raise _Unclear("it has DTEND and DURATION")


def _one(event: Event, name: str) -> Any:
    """Give a property that is there once."""
    found = event[name]
    if isinstance(found, list):
        raise _Unclear(f"it has {name} more than once")
    return found


def _when(given: Any, zone: tzinfo | None) -> _When:
    """Read a date or date-time as local time in its zone."""
    return _local(given.dt, str(given.params.get("TZID") or ""), zone)


def _local(value: object, named: str, zone: tzinfo | None) -> _When:
    if not isinstance(value, date):
        raise _Unclear(f"{value} is neither a date nor a date-time")
    if isinstance(value, datetime) and value.tzinfo is not None:
        return _When(value.replace(tzinfo=None, fold=0), value.tzinfo)
    if named:
        raise _Unclear(f"nobody knows the time zone {named!r}")
    if zone is None:
        raise _Unclear(
            "its times name no time zone, and the file has no X-WR-TIMEZONE; give it one with"
            " `mimrun calendar import FILE --timezone`"
        )
    wall = value if isinstance(value, datetime) else datetime.combine(value, time())
    return _When(wall, zone)


def _length(event: Event, start: _When, zone: tzinfo | None) -> tuple[timedelta, timedelta]:
    """Give how long it lasts by the local clock, and in time that passes."""
    whole_day = not isinstance(_one(event, "DTSTART").dt, datetime)
    if "DTEND" in event:
        end = _when(_one(event, "DTEND"), zone if zone is not None else start.zone)
        local = end.moment.astimezone(start.zone).replace(tzinfo=None, fold=0)
        wall, exact = local - start.wall, end.moment - start.moment
    elif "DURATION" in event:
        wall = exact = _one(event, "DURATION").dt
    else:
        wall = exact = DAY if whole_day else timedelta(0)
    if exact < timedelta(0):
        raise _Unclear("it ends before it begins")
    return wall, wall if whole_day else exact


def _changed(event: Event, zone: tzinfo | None) -> _When:
    given = _one(event, "RECURRENCE-ID")
    if given.params.get("RANGE"):
        raise _Unclear("it changes this and all later occurrences at once (RANGE), which is not read")
    return _when(given, zone)


def _starts(event: Event, start: _When, zone: tzinfo | None, changed: Iterable[_When]) -> Once | Ruled:
    """Give when it begins: once, or as its rules and dates say, without those that are left out or changed."""
    without = [*_listed(event, "EXDATE", zone), *changed]
    if "RRULE" not in event and "RDATE" not in event and not without:
        return Once((start.wall,))
    rules = rruleset(cache=True)
    rules.rdate(start.wall)
    if "RRULE" in event:
        rule = _rule(_one(event, "RRULE"), start)
        rules.rrule(rule)
    for more in _listed(event, "RDATE", zone):
        rules.rdate(_in(more, start.zone))
    for out in without:
        rules.exdate(_in(out, start.zone))
    return Ruled(rules)


def _rule(given: Any, start: _When) -> Any:
    """Make the rule for local time: an UNTIL is written in UTC, and holds as the local time of that moment."""
    until = (given.get("UNTIL") or [None])[0]
    fields = [part for part in given.to_ical().decode().split(";") if not part.upper().startswith("UNTIL=")]
    if isinstance(until, datetime):
        local = until.astimezone(start.zone).replace(tzinfo=None) if until.tzinfo else until
        fields.append(f"UNTIL={local:%Y%m%dT%H%M%S}")
    elif until is not None:
        fields.append(f"UNTIL={until:%Y%m%d}T235959")
    return ruled(";".join(fields), start.wall).rules


def _listed(event: Event, name: str, zone: tzinfo | None) -> Iterator[_When]:
    """Give the times of a property that lists some, and may be there several times."""
    found = event.get(name) or []
    for several in found if isinstance(found, list) else [found]:
        for one in several.dts:
            value = one.dt[0] if isinstance(one.dt, tuple) else one.dt
            if isinstance(one.dt, tuple):
                raise _Unclear(f"{name} with a length of its own is not read")
            start = _one(event, "DTSTART").dt
            if isinstance(start, datetime) and not isinstance(value, datetime):
                raise _Unclear(f"{name} names a day, and the event has times")
            yield _local(value, str(several.params.get("TZID") or ""), zone)


def _in(when: _When, zone: tzinfo) -> datetime:
    """Give a time as the local time of a zone."""
    return when.wall if when.zone == zone else when.moment.astimezone(zone).replace(tzinfo=None, fold=0)
