"""Local times on the days when the clock is put forward or back, against a scan of every minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrun.gate.calendar import Calendar
from mimrun.gate.calendar_time import DAY, Once, Span, Weekly, complement, merged, readings


def local(text: str) -> datetime:
    return datetime.fromisoformat(text)


BERLIN = ZoneInfo("Europe/Berlin")
MINUTE = timedelta(minutes=1)
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "America/Sao_Paulo",
    "UTC",
)
DAYS = (
    local("2026-03-29"),
    local("2026-10-25"),
    local("2026-04-05"),
    local("2026-11-01"),
    local("2026-06-10"),
)
"""Clocks are put forward or back on these days in one of the zones, or in none."""


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def test_a_plain_time_has_one_reading() -> None:
    assert readings(local("2026-06-10T12:00"), BERLIN) == (utc("2026-06-10T10:00"),) * 2


def test_a_time_that_occurs_twice_has_both_readings() -> None:
    found = readings(local("2026-10-25T02:30"), BERLIN)
    assert found == (utc("2026-10-25T00:30"), utc("2026-10-25T01:30"))


def test_a_time_that_the_clock_jumps_over_begins_with_the_jump_and_ends_as_late_as_it_would_have_been() -> (
    None
):
    found = readings(local("2026-03-29T02:30"), BERLIN)
    assert found == (utc("2026-03-29T01:00"), utc("2026-03-29T01:30"))


def test_a_day_that_never_was_is_read_as_the_jump_over_it() -> None:
    # Samoa went from 29 to 31 December 2011.
    early, late = readings(local("2011-12-30T12:00"), ZoneInfo("Pacific/Apia"))
    assert early == utc("2011-12-30T10:00")
    assert late >= early


@given(st.sampled_from(ZONES), st.sampled_from(DAYS), st.integers(-1440, 1440))
def test_a_reading_shows_its_time_or_is_the_first_moment_behind_it(
    zone: str, day: datetime, minutes: int
) -> None:
    at, tz = day + minutes * MINUTE, ZoneInfo(zone)
    early, late = readings(at, tz)
    assert early <= late
    assert wall(early, tz) >= at
    assert wall(early - timedelta(seconds=1), tz) < at


def scan(span: Span, low: datetime, high: datetime) -> set[datetime]:
    """Give every minute whose local clock shows a time that the span lasts, found without any reckoning."""
    assert isinstance(span.starts, Weekly | Once)
    tz, found, at = span.zone, set(), low
    assert isinstance(tz, ZoneInfo)
    while at < high:
        local = wall(at, tz)
        for back in range(-1, 3):
            day = (local - back * DAY).date()
            for start in starts_on(span, day):
                if start <= local < start + span.wall:
                    found.add(at)
        at += MINUTE
    return found


def starts_on(span: Span, day: date) -> list[datetime]:
    starts = span.starts
    if isinstance(starts, Once):
        return [at for at in starts.at if at.date() == day]
    assert isinstance(starts, Weekly)
    return [datetime.combine(day, starts.time)] if day.weekday() in starts.days else []


clocks = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
spans = st.builds(
    lambda zone, starts, minutes: Span("", ZoneInfo(zone), starts, minutes * MINUTE),
    st.sampled_from(ZONES),
    st.builds(Weekly, st.frozensets(st.integers(0, 6), min_size=1), clocks)
    | st.builds(
        lambda day, clock: Once((datetime.combine(day.date(), clock),)), st.sampled_from(DAYS), clocks
    ),
    st.integers(1, 1_600),
)


def shifts(zone: ZoneInfo, low: datetime, high: datetime) -> bool:
    """Say whether the clock is put forward or back in this time or near it."""
    offsets = {(low + n * timedelta(hours=1)).astimezone(zone).utcoffset() for n in range(-48, 120)}
    return len(offsets) > 1


@settings(max_examples=40)
@given(spans, st.sampled_from(DAYS))
def test_a_freeze_is_closed_in_every_minute_whose_clock_says_so(span: Span, day: datetime) -> None:
    low = day.replace(tzinfo=UTC) - timedelta(hours=14)
    high = low + timedelta(hours=40)
    calendar = Calendar("c", "c.yaml", (span,))
    wanted = scan(span, low, high)
    assert isinstance(span.zone, ZoneInfo)
    found, at = set(), low
    for closure in calendar.closures(low, high):
        assert closure.since is not None
        assert closure.until is not None
        at = max(low, closure.since)
        while at < min(closure.until, high):
            found.add(at)
            at += MINUTE
    assert wanted <= found
    # More than the clock says is closed only where the clock is put forward or back, and then for an hour at most.
    assert len(found - wanted) <= (60 if shifts(span.zone, low, high) else 0)


@settings(max_examples=40)
@given(spans, st.sampled_from(DAYS))
def test_a_window_is_never_open_in_a_minute_whose_clock_does_not_say_so(span: Span, day: datetime) -> None:
    low = day.replace(tzinfo=UTC) - timedelta(hours=14)
    high = low + timedelta(hours=40)
    calendar = Calendar("c", "c.yaml", (span,), closed_inside=False)
    wanted, opened, at = scan(span, low, high), set(), low
    while at < high:
        if calendar.closed(at) is None:
            opened.add(at)
        at += 7 * MINUTE
    assert opened <= wanted
    assert isinstance(span.zone, ZoneInfo)
    if not shifts(span.zone, low, high):
        assert opened == {minute for minute in wanted if (minute - low) % (7 * MINUTE) == timedelta(0)}


@given(spans, st.sampled_from(DAYS), st.integers(0, 2_000))
def test_closed_says_until_when_and_is_open_from_then_on(span: Span, day: datetime, minutes: int) -> None:
    at = day.replace(tzinfo=UTC) + minutes * MINUTE
    for inside in (True, False):
        calendar = Calendar("c", "c.yaml", (span,), closed_inside=inside)
        closure = calendar.closed(at)
        if closure is not None and closure.until is not None:
            assert calendar.closed(closure.until) is None
            assert calendar.closed(closure.until - timedelta(seconds=1)) is not None
        until = calendar.next_change(at, timedelta(hours=30))
        assert at < until <= at + timedelta(hours=30)
        assert (calendar.closed(until - timedelta(seconds=1)) is None) == (closure is None)


times = st.lists(
    st.tuples(st.integers(0, 100), st.integers(1, 20)).map(
        lambda t: (utc("2026-01-01") + t[0] * MINUTE, utc("2026-01-01") + (t[0] + t[1]) * MINUTE, "")
    )
)


@given(times)
def test_merging_and_its_complement_cover_each_minute_once(
    given: list[tuple[datetime, datetime, str]],
) -> None:
    low, high = utc("2026-01-01"), utc("2026-01-01") + 130 * MINUTE
    joined = merged(given)
    rest = complement(joined, low, high)
    for minute in range(130):
        at = low + minute * MINUTE
        inside = any(start <= at < end for start, end, _ in given)
        assert sum(start <= at < end for start, end, _ in joined) == inside
        assert sum(start <= at < end for start, end in rest) == (not inside)


@pytest.mark.parametrize("hours", [1, 2])
def test_a_freeze_over_a_jump_ends_when_the_clock_is_certainly_past_its_end(hours: int) -> None:
    span = Span("", BERLIN, Once((local("2026-03-29T01:30"),)), timedelta(hours=hours))
    closure = Calendar("c", "c", (span,)).closed(utc("2026-03-29T00:45"))
    assert closure is not None
    assert closure.until == utc("2026-03-29T01:30")
