"""On-call plans as other programs write them: iCalendar (RFC 5545) and CSV, turned into shifts. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from mimrun.errors import InputError
from mimrun.gate.oncall import Rota, Shift, make_rota
from mimrun.gate.people import People

HORIZON: Final = timedelta(days=400)
"""So far a rule that never ends is followed."""
MOST: Final = 20_000
"""Occurrences of one event that are looked at; a plan has far fewer."""
_DAILY: Final = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
_PREFIX: Final = re.compile(r"^on[- ]?call\s*[:-]\s*|\s*\(?on[- ]?call\)?$", re.IGNORECASE)
_COLUMNS: Final = {"person": "person", "from": "start", "start": "start", "until": "end", "end": "end"}

Event: TypeAlias = Any
"""What stands in a calendar, as the library gives it: each property may be of any type, or a list."""

Names: TypeAlias = Mapping[str, str]
"""What a plan calls somebody → their id; beside what the people file says."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is read from a plan.

    Arguments:
        start, end: UTC.
        zone: in which times are meant that have no zone of their own.
    """

    start: datetime
    end: datetime
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class _Named:
    """A shift of somebody whom the plan calls by these words."""

    start: datetime
    end: datetime
    words: tuple[str, ...]


def read_plan(data: bytes, file: str, people: People, span: Span, *, team: str, names: Names) -> Rota:
    """Give the on-call plan that a file describes.

    Arguments:
        file: its name; `.csv` is read as CSV, anything else as iCalendar.

    Raises:
        InputError: it cannot be read, or names somebody whom nobody knows; all of them are named.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InputError(f"{file}: is not UTF-8 text; export the plan again") from exc
    named = list(_of_csv(text, file, span) if file.endswith(".csv") else _of_ics(text, file, span))
    known = {key.casefold(): id_ for key, id_ in names.items()}
    shifts, strangers = [], set[str]()
    for one in named:
        found = _person(one.words, people, known)
        if found:
            shifts.append(Shift(max(one.start, span.start), min(one.end, span.end), found))
        else:
            strangers.add(next(iter(one.words), "an event that names nobody"))
    if strangers:
        listed = ", ".join(repr(word) for word in sorted(strangers)[:10])
        raise InputError(
            f"{file}: nobody is known as {listed}; give an e-mail address in people.yaml, or --name '{sorted(strangers)[0]}=ID'"
        )
    if not shifts:
        raise InputError(f"{file}: has no shift between {span.start:%Y-%m-%d} and {span.end:%Y-%m-%d}")
    return make_rota(team, shifts, max(shift.end for shift in shifts), file)


def _person(words: Sequence[str], people: People, names: Names) -> str:
    """Give the id of whoever is meant; "" where nobody, or more than one, is."""
    for word in words:
        folded = word.casefold().strip()
        if folded in names:
            return names[folded]
        if people.knows(word.strip()):
            return people.person(word.strip()).id
        same = [
            person.id
            for person in people.by_id.values()
            if folded in (person.email.casefold(), person.name.casefold())
        ]
        if len(same) == 1:
            return same[0]
    return ""


def _of_csv(text: str, file: str, span: Span) -> Iterator[_Named]:
    rows = csv.reader(io.StringIO(text), strict=True)
    try:
        head = [_COLUMNS.get(cell.strip().lower(), "") for cell in next(rows, [])]
        if sorted(filter(None, head)) != ["end", "person", "start"]:
            raise InputError(f"{file}:1: the first line names the columns person, from, until")
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            cells = dict(zip(head, row, strict=False))
            start, end = (_time(cells.get(key, ""), span.zone) for key in ("start", "end"))
            if end <= start:
                raise ValueError("the shift ends before it begins")
            if end > span.start and start < span.end:
                yield _Named(start, end, (cells["person"],))
    except (ValueError, csv.Error) as exc:
        raise InputError(f"{file}:{rows.line_num}: {exc}") from exc


def _time(text: str, zone: ZoneInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as exc:
        raise ValueError(f"{text!r} is no time; write 2026-12-31T08:00") from exc
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _of_ics(text: str, file: str, span: Span) -> Iterator[_Named]:
    from icalendar import Calendar  # noqa: PLC0415 - 100 ms that only an import of a plan pays

    try:
        calendars: list[Event] = [*Calendar.from_ical(text, multiple=True)]
        found: list[tuple[Event, ZoneInfo]] = [
            (event, _zone_of(one, span.zone)) for one in calendars for event in one.walk("VEVENT")
        ]
        moved = {
            (str(event.get("UID", "")), _moment(event["RECURRENCE-ID"].dt, zone))
            for event, zone in found
            if "RECURRENCE-ID" in event
        }
        for event, zone in found:
            if str(event.get("STATUS", "")).upper() == "CANCELLED":
                continue
            for start, end in _occurrences(event, zone, span):
                # A single occurrence that was moved stands in the file as an event of its own.
                if "RECURRENCE-ID" in event or (str(event.get("UID", "")), start) not in moved:
                    yield _Named(start, end, _words(event))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as exc:
        raise InputError(f"{file}: is no calendar that can be read: {exc}") from exc


def _zone_of(calendar: Event, usual: ZoneInfo) -> ZoneInfo:
    name = str(calendar.get("X-WR-TIMEZONE", ""))
    return ZoneInfo(name) if name else usual


def _words(event: Event) -> tuple[str, ...]:
    """Give what an event calls the person: its attendees, then its title."""
    attendees = event.get("ATTENDEE", [])
    mails = [str(one) for one in (attendees if isinstance(attendees, list) else [attendees])]
    title = str(event.get("SUMMARY", ""))
    words = [re.sub("(?i)^mailto:", "", mail) for mail in mails]
    return tuple(word for word in (*words, title, _PREFIX.sub("", title)) if word.strip())


def _occurrences(event: Event, zone: ZoneInfo, span: Span) -> Iterator[tuple[datetime, datetime]]:
    """Give the times of an event within the span, by the clock on the wall: a handover at eight stays at eight."""
    start = event["DTSTART"].dt
    length = _length(event, start)
    if length <= timedelta(0):
        raise ValueError(f"an event ends before it begins: {event.get('SUMMARY', '')}")
    own = start.tzinfo if isinstance(start, datetime) and start.tzinfo else zone
    for wall in _walls(event, _naive(start, own), own, span):
        begins, ends = (moment.replace(tzinfo=own).astimezone(UTC) for moment in (wall, wall + length))
        if ends > span.start and begins < span.end:
            yield begins, ends


def _length(event: Event, start: date) -> timedelta:
    if "DTEND" in event:
        end = event["DTEND"].dt
        own = start.tzinfo if isinstance(start, datetime) else None
        return _naive(end, own) - _naive(start, own)
    if "DURATION" in event:
        said: timedelta = event["DURATION"].dt
        return said
    return timedelta(0) if isinstance(start, datetime) else timedelta(days=1)


def _walls(event: Event, first: datetime, own: tzinfo | None, span: Span) -> Iterator[datetime]:
    """Give when an event begins, on the wall's clock, up to the end of the span."""
    from dateutil.rrule import rrule, rruleset, rrulestr  # noqa: PLC0415 - likewise

    dates, last = rruleset(), _naive(span.end, own) + timedelta(days=1)
    rules = event.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        if not _DAILY.issuperset(rule.get("FREQ", [])):
            raise ValueError(f"a plan repeats by days, weeks, months or years, not {rule.to_ical().decode()}")
        plain = type(rule)(rule)
        if "UNTIL" in plain:
            until = plain["UNTIL"][0]
            whole = isinstance(until, datetime)
            plain["UNTIL"] = [_naive(until, own) if whole else datetime.combine(until, time.max)]
        repeated = rrulestr(plain.to_ical().decode(), dtstart=first)
        assert isinstance(repeated, rrule)
        dates.rrule(repeated)
    dates.rdate(first)
    for extra in _listed(event, "RDATE"):
        dates.rdate(_naive(extra, own))
    for without in _listed(event, "EXDATE"):
        dates.exdate(_naive(without, own))
    for number, wall in enumerate(dates):
        if wall > last:
            return
        if number >= MOST:
            raise ValueError(f"an event repeats more than {MOST} times: {event.get('SUMMARY', '')}")
        yield wall


def _listed(event: Event, name: str) -> Iterator[date]:
    given = event.get(name, [])
    for several in given if isinstance(given, list) else [given]:
        for one in several.dts:
            if not isinstance(one.dt, date):
                raise ValueError(f"{name} with a period is not read")
            yield one.dt


def _naive(moment: date, own: tzinfo | None) -> datetime:
    """Give what the clock on the wall shows in a zone."""
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time())
    if moment.tzinfo is None or own is None:
        return moment.replace(tzinfo=None)
    return moment.astimezone(own).replace(tzinfo=None)


def _moment(moment: date, zone: ZoneInfo) -> datetime:
    own = moment.tzinfo if isinstance(moment, datetime) and moment.tzinfo else zone
    return _naive(moment, own).replace(tzinfo=own).astimezone(UTC)
