"""Calendars of other programs: what is understood of them, and that the rest is closed by name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mimrun.errors import SettingsError
from mimrun.gate.calendar import Calendar
from mimrun.gate.calendar_file import load_calendar
from mimrun.gate.calendar_ics import parse_ics


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def calendar(*events: str, head: str = "") -> Calendar:
    body = "".join(f"BEGIN:VEVENT\n{event}\nEND:VEVENT\n" for event in events)
    text = f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//test//EN\n{head}{body}END:VCALENDAR\n"
    return parse_ics(text.replace("\n", "\r\n"), "team.ics")


def until(one: Calendar, at: str) -> str:
    found = one.closed(utc(at))
    if found is None:
        return "open"
    return found.until.isoformat()[:16] if found.until else f"ever: {found.reason}"


BERLIN = "X-WR-TIMEZONE:Europe/Berlin\nX-WR-CALNAME:Team\n"


def test_an_event_in_utc_closes_from_start_to_end() -> None:
    one = calendar("UID:1\nSUMMARY:Year end\nDTSTART:20261218T170000Z\nDTEND:20270104T050000Z")
    found = one.closed(utc("2026-12-18T17:00"))
    assert found is not None
    assert (one.name, found.reason, found.until) == ("team", "Year end", utc("2027-01-04T05:00"))
    assert (until(one, "2026-12-18T16:59"), until(one, "2027-01-04T05:00")) == ("open", "open")


def test_an_event_in_a_zone_follows_its_clock() -> None:
    one = calendar("UID:1\nDTSTART;TZID=Europe/Berlin:20260601T180000\nDURATION:PT2H")
    assert until(one, "2026-06-01T16:00") == "2026-06-01T18:00"


def test_whole_days_are_those_of_the_files_zone() -> None:
    one = calendar("UID:1\nDTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227", head=BERLIN)
    assert one.name == "Team"
    assert until(one, "2026-12-23T22:59") == "open"
    assert until(one, "2026-12-23T23:00") == "2026-12-26T23:00"
    alone = calendar("UID:1\nDTSTART;VALUE=DATE:20261224", head=BERLIN)
    assert until(alone, "2026-12-24T12:00") == "2026-12-24T23:00"


def test_an_event_that_is_marked_as_free_closes_all_the_same() -> None:
    one = calendar("UID:1\nTRANSP:TRANSPARENT\nDTSTART:20260601T100000Z\nDTEND:20260601T110000Z")
    assert until(one, "2026-06-01T10:30") == "2026-06-01T11:00"


def test_a_recurring_event_keeps_its_local_time_over_a_change_of_the_clock() -> None:
    event = "UID:1\nDTSTART;TZID=Europe/Berlin:20260301T100000\nDTEND;TZID=Europe/Berlin:20260301T110000\n"
    one = calendar(event + "RRULE:FREQ=WEEKLY")
    assert until(one, "2026-03-22T09:30") == "2026-03-22T10:00"
    assert until(one, "2026-04-05T08:30") == "2026-04-05T09:00"
    assert until(one, "2026-04-05T09:30") == "open"


def test_until_in_utc_ends_the_recurrence_at_that_moment() -> None:
    event = "UID:1\nDTSTART;TZID=Europe/Berlin:20260601T100000\nDURATION:PT1H\n"
    one = calendar(event + "RRULE:FREQ=DAILY;UNTIL=20260603T080000Z")
    assert until(one, "2026-06-03T08:30") == "2026-06-03T09:00"
    assert until(one, "2026-06-04T08:30") == "open"


def test_what_is_left_out_is_open_and_dates_that_are_added_are_closed() -> None:
    event = "UID:1\nDTSTART:20260601T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3\n"
    one = calendar(event + "EXDATE:20260602T100000Z\nRDATE:20260610T100000Z,20260611T100000Z")
    days = {day: until(one, f"2026-06-{day}T10:30") != "open" for day in ("01", "02", "03", "04", "10", "11")}
    assert days == {"01": True, "02": False, "03": True, "04": False, "10": True, "11": True}


def test_an_occurrence_that_was_moved_closes_at_its_new_time_only() -> None:
    event = "UID:1\nDTSTART:20260601T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3"
    moved = "UID:1\nRECURRENCE-ID:20260602T100000Z\nDTSTART:20260602T150000Z\nDURATION:PT1H"
    one = calendar(event, moved)
    assert until(one, "2026-06-02T10:30") == "open"
    assert until(one, "2026-06-02T15:30") == "2026-06-02T16:00"


def test_an_occurrence_that_was_cancelled_is_open() -> None:
    event = "UID:1\nDTSTART:20260601T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3"
    gone = "UID:1\nRECURRENCE-ID:20260602T100000Z\nDTSTART:20260602T100000Z\nDURATION:PT1H\nSTATUS:CANCELLED"
    assert until(calendar(event, gone), "2026-06-02T10:30") == "open"
    assert until(calendar(f"{event}\nSTATUS:CANCELLED"), "2026-06-01T10:30") == "open"


def test_a_zone_that_the_file_describes_itself_is_understood() -> None:
    zone = (
        "BEGIN:VTIMEZONE\nTZID:Our Zone\n"
        "BEGIN:STANDARD\nDTSTART:19701025T030000\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\n"
        "TZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD\n"
        "BEGIN:DAYLIGHT\nDTSTART:19700329T020000\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\n"
        "TZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nEND:DAYLIGHT\nEND:VTIMEZONE\n"
    )
    event = "UID:1\nDTSTART;TZID=Our Zone:20260301T100000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY"
    one = calendar(event, head=zone)
    assert until(one, "2026-03-22T09:30") == "2026-03-22T10:00"
    assert until(one, "2026-04-05T08:30") == "2026-04-05T09:00"
    night = calendar("UID:1\nDTSTART;TZID=Our Zone:20260329T013000\nDURATION:PT1H", head=zone)
    assert until(night, "2026-03-29T00:45") == "2026-03-29T01:30"


def test_a_calendar_that_is_closed_by_default_has_windows() -> None:
    one = calendar(
        "UID:1\nDTSTART:20260601T100000Z\nDTEND:20260601T110000Z", head="X-CALENDAR-TYPE:DEFAULT_CLOSED\n"
    )
    assert until(one, "2026-06-01T09:00") == "2026-06-01T10:00"
    assert until(one, "2026-06-01T10:30") == "open"


def test_an_event_without_length_closes_nothing() -> None:
    assert until(calendar("UID:1\nDTSTART:20260601T100000Z"), "2026-06-01T10:00") == "open"


UNCLEAR = {
    "no start": ("DTEND:20260601T110000Z", "it has no DTSTART"),
    "a start that is none": ("DTSTART:20260601T10", "DTSTART cannot be read"),
    "an unknown zone": ("DTSTART;TZID=Funny/Zone:20260601T100000\nDURATION:PT1H", "time zone 'Funny/Zone'"),
    "a floating time": ("DTSTART:20260601T100000\nDURATION:PT1H", "--timezone"),
    "a floating day": ("DTSTART;VALUE=DATE:20260601", "--timezone"),
    "an end before its start": ("DTSTART:20260601T100000Z\nDTEND:20260601T090000Z", "ends before it begins"),
    "an end and a length": (
        "DTSTART:20260601T100000Z\nDTEND:20260601T110000Z\nDURATION:PT1H",
        "DTEND and DURATION",
    ),
    "a rule that is none": (
        "DTSTART:20260601T100000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;BYDAY=XX",
        "RRULE cannot be read",
    ),
    "a rule by the minute": ("DTSTART:20260601T100000Z\nDURATION:PT1H\nRRULE:FREQ=MINUTELY", "by the minute"),
    "two rules": (
        "DTSTART:20260601T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY",
        "more than once",
    ),
    "a rule of what is left out": ("DTSTART:20260601T100000Z\nDURATION:PT1H\nEXRULE:FREQ=DAILY", "EXRULE"),
    "added times with a length": (
        "DTSTART:20260601T100000Z\nDURATION:PT1H\nRDATE;VALUE=PERIOD:20260610T100000Z/PT1H",
        "a length of its own",
    ),
    "days left out of times": (
        "DTSTART:20260601T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY\nEXDATE;VALUE=DATE:20260602",
        "names a day",
    ),
    "all later ones changed": (
        "DTSTART:20260601T100000Z\nDURATION:PT1H\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260602T100000Z",
        "RANGE",
    ),
}


@pytest.mark.parametrize("what", UNCLEAR)
def test_an_event_that_cannot_be_understood_closes_by_name(what: str) -> None:
    event, why = UNCLEAR[what]
    good = "UID:2\nDTSTART:20260101T100000Z\nDURATION:PT1H"
    one = calendar(f"UID:weekend-1\nSUMMARY:Weekend\n{event}", good)
    said = until(one, "2030-01-01T00:00")
    assert said.startswith("ever: cannot be understood, so it is closed: team.ics: event 'Weekend'"), said
    assert why in said


@pytest.mark.parametrize("text", ["", "hello", "BEGIN:VCALENDAR\r\n", "BEGIN:VEVENT\r\nEND:VEVENT\r\n", "\0"])
def test_a_file_that_is_no_calendar_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "x.ics"
    file.write_text(text)
    with pytest.raises(SettingsError, match="is not an iCalendar file"):
        load_calendar(file)


def test_a_zone_of_the_file_that_nobody_knows_closes_it() -> None:
    one = calendar("UID:1\nDTSTART:20260601T100000Z\nDURATION:PT1H", head="X-WR-TIMEZONE:Middle/Earth\n")
    assert "Middle/Earth" in until(one, "2030-01-01T00:00")
