"""A moment that a person names: the nearest in the past on their own clock, said back in full, and never a guess."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mimrun.app.past import LONGEST, SLIP, Localize, parse_past, say_moment
from mimrun.errors import InputError

NOW = datetime(2026, 11, 22, 9, 30, 15, tzinfo=UTC)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
)


def clock_in(name: str) -> Localize:
    """Give the clock on a wall somewhere."""
    zone = ZoneInfo(name)

    def localize(moment: datetime) -> datetime:
        return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)

    return localize


BERLIN = clock_in("Europe/Berlin")
YEARS = (datetime.fromisoformat("2020-01-01"), datetime.fromisoformat("2030-01-01"))
moments = st.datetimes(*YEARS, timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("10:12", "2026-11-22T09:12:00"),
        ("10:12:30", "2026-11-22T09:12:30"),
        ("10:30:15", "2026-11-22T09:30:15"),
        ("23:50", "2026-11-21T22:50:00"),
        ("00:10", "2026-11-21T23:10:00"),
        ("15m ago", "2026-11-22T09:15:15"),
        ("1h30m ago", "2026-11-22T08:00:15"),
        ("0s ago", "2026-11-22T09:30:15"),
        ("2026-11-22T10:12", "2026-11-22T09:12:00"),
        ("2026-11-22 10:12:05", "2026-11-22T09:12:05"),
        ("2026-11-22T08:12Z", "2026-11-22T08:12:00"),
        ("2026-11-22T03:12-05:00", "2026-11-22T08:12:00"),
        (" 10:12 ", "2026-11-22T09:12:00"),
    ],
)
def test_what_a_person_writes_is_a_moment_on_their_clock(text: str, utc: str) -> None:
    assert parse_past(text, NOW, BERLIN).astimezone(UTC).isoformat()[:19] == utc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "10",
        "10:4",
        "1:42",
        "24:00",
        "10:60",
        "10:42pm",
        "yesterday",
        "15m",
        "15 ago",
        "ago",
        "-5m ago",
        "1.5h ago",
        "400d ago",
        "2026-11-22",
        "2026-W47-7T10:00",
        "20261122T1000",
        "2026-13-01T10:00",
        "2026-11-22T10:12+25:00",
        "0000-01-01T00:00",
        "0001-01-01T00:00Z",
        "9999-12-31T23:59-23:59",
        "\u0661\u0660:\u0664\u0662",
        "10:12\n10:13",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--at"):
        parse_past(text, NOW, BERLIN)


@pytest.mark.parametrize("text", ["2026-11-22T10:31", "2027-01-01T00:00", "2026-11-22T09:30:16Z"])
def test_what_is_to_come_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="from now"):
        parse_past(text, NOW, BERLIN)


def test_a_time_just_ahead_of_the_clock_is_not_taken_for_yesterdays() -> None:
    with pytest.raises(InputError, match="2026-11-21T10:31:00"):
        parse_past("10:31", NOW, BERLIN)
    assert parse_past("10:46", NOW, BERLIN).day == 21


def test_what_is_more_than_a_year_back_is_taken_for_a_slip() -> None:
    with pytest.raises(InputError, match="more than a year"):
        parse_past("2025-11-01T10:00", NOW, BERLIN)


def test_a_time_that_came_twice_or_never_is_asked_for_with_its_offset() -> None:
    set_back = datetime(2026, 10, 25, 12, tzinfo=UTC)  # Berlin: 03:00 summer time was 02:00 again
    with pytest.raises(InputError, match=r"02:30 came twice on 2026-10-25.*offset"):
        parse_past("02:30", set_back, BERLIN)
    assert parse_past("2026-10-25T02:30+02:00", set_back, BERLIN).astimezone(UTC).hour == 0
    # Between the two, only the first one is past.
    between = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)
    assert parse_past("02:30", between, BERLIN).astimezone(UTC).hour == 0
    set_forward = datetime(2026, 3, 29, 12, tzinfo=UTC)
    with pytest.raises(InputError, match="02:30 did not come on 2026-03-29"):
        parse_past("02:30", set_forward, BERLIN)


@given(now=moments, hour=st.integers(0, 23), minute=st.integers(0, 59), zone=st.sampled_from(ZONES))
@example(now=datetime(2026, 10, 25, 1, 30, tzinfo=UTC), hour=2, minute=30, zone="Europe/Berlin")
def test_a_time_of_day_is_the_last_moment_at_which_the_clock_said_so(
    now: datetime, hour: int, minute: int, zone: str
) -> None:
    localize, text = clock_in(zone), f"{hour:02}:{minute:02}"
    try:
        moment = parse_past(text, now, localize)
    except InputError:
        ahead = [localize(now + timedelta(minutes=m)) for m in range(int(SLIP.total_seconds()) // 60 + 1)]
        near = any((one.hour, one.minute) == (hour, minute) for one in ahead)
        # Else the clock was changed on this day or the one before.
        days = [localize(now - timedelta(hours=h)).utcoffset() for h in (0, 24, 48)]
        assert near or len(set(days)) > 1
        return
    assert moment <= now
    assert now - moment < timedelta(hours=25, minutes=1)
    assert (moment.hour, moment.minute, moment.second) == (hour, minute, 0)


@given(now=moments, back=st.timedeltas(timedelta(0), LONGEST), zone=st.sampled_from(ZONES))
def test_a_moment_in_full_is_taken_as_it_is(now: datetime, back: timedelta, zone: str) -> None:
    wanted = (now - back).replace(microsecond=0)
    assume(now - wanted <= LONGEST)
    local = clock_in(zone)(wanted)
    offset = local.strftime("%z")
    text = f"{local:%Y-%m-%dT%H:%M:%S}{offset[:3]}:{offset[3:]}"
    assert parse_past(text, now, clock_in(zone)) == wanted


@given(now=moments, text=st.text(max_size=30), zone=st.sampled_from(ZONES))
def test_no_text_breaks_the_reader_or_leads_into_the_future(now: datetime, text: str, zone: str) -> None:
    with contextlib.suppress(InputError):
        assert parse_past(text, now, clock_in(zone)) <= now


def test_a_moment_is_said_with_its_zone_and_in_utc() -> None:
    assert say_moment(BERLIN(NOW)) == "Sun 2026-11-22 10:30:15 CET (+01:00), 09:30:15 UTC"
    assert say_moment(NOW) == "Sun 2026-11-22 09:30:15 UTC"
    tokyo = say_moment(clock_in("Pacific/Kiritimati")(NOW))
    assert tokyo == "Sun 2026-11-22 23:30:15 +14:00, 09:30:15 UTC"
    late = clock_in("Asia/Kolkata")(datetime(2026, 11, 21, 20, 0, tzinfo=UTC))
    assert say_moment(late) == "Sun 2026-11-22 01:30:00 IST (+05:30), 20:00:00 UTC on 2026-11-21"
