"""Calendars of a home: read anew when a file changes, asked about plans, and taken in from other programs."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders.plans import a_plan, action, at_risk, include

from mimrun.app.calendars import (
    calendars_reader,
    frozen_reader,
    frozen_words,
    import_calendar,
    outlook,
    touched_by,
)
from mimrun.errors import InputError, RefusedError
from mimrun.gate.calendar import Closure
from mimrun.gate.calendar_file import load_calendar
from mimrun.runbook.model import Risk
from mimrun.settings import Settings

FREEZE = "name: Freeze\ntimezone: UTC\nclosed: [{once: {from: 2026-06-09, to: 2026-06-10}, reason: Fair}]\n"
WORLD = Path("world")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "calendars").mkdir()
    return Settings(home=tmp_path)


def write(settings: Settings, text: str, name: str = "freeze.yaml", at: int = 1) -> None:
    file = settings.calendars / name
    file.write_text(text)
    os.utime(file, ns=(at, at))


def test_a_change_of_a_file_is_seen_at_once(settings: Settings) -> None:
    read = calendars_reader(settings.calendars)
    assert read().all == ()
    write(settings, FREEZE)
    first = read()
    assert [one.name for one in first.all] == ["Freeze"]
    assert read() is first
    write(settings, FREEZE.replace("Freeze", "Frost!"), at=2)
    assert [one.name for one in read().all] == ["Frost!"]
    (settings.calendars / "freeze.yaml").unlink()
    assert read().all == ()


def test_a_draft_with_a_dot_in_front_is_left_alone(settings: Settings) -> None:
    write(settings, "half a cal", name=".freeze.yaml")
    assert calendars_reader(settings.calendars)().all == ()


def test_a_plan_is_told_until_when_it_is_frozen_and_why(settings: Settings) -> None:
    write(settings, FREEZE)
    frozen = frozen_reader(settings, a_plan(WORLD, action("1")))
    assert frozen(utc("2026-06-08T23:59:59")) == ""
    assert frozen(utc("2026-06-09T00:00")) == "'Freeze' is closed until 2026-06-10 00:00 UTC (Fair)"
    assert frozen(utc("2026-06-09T23:59:59")) != ""
    assert frozen(utc("2026-06-10T00:00")) == ""
    assert frozen(utc("2026-06-09T12:00")) != ""


def test_what_was_said_before_holds_only_until_something_opens_or_closes(settings: Settings) -> None:
    every = "closed: [{rule: {rrule: FREQ=HOURLY, from: 2026-06-09, for: 10m}}]\n"
    write(settings, "name: Often\ntimezone: UTC\n" + every)
    frozen = frozen_reader(settings, a_plan(WORLD, action("1")))
    seen = [bool(frozen(utc(f"2026-06-09T{hour:02}:{minute:02}"))) for hour in (1, 2) for minute in range(60)]
    assert seen == ([True] * 10 + [False] * 50) * 2


def test_a_calendar_that_changes_in_a_steady_hour_is_seen(settings: Settings) -> None:
    frozen = frozen_reader(settings, a_plan(WORLD, action("1")))
    assert frozen(utc("2026-06-09T12:00")) == ""
    write(settings, FREEZE)
    assert frozen(utc("2026-06-09T12:00:01")) != ""


def test_what_only_reads_is_not_frozen(settings: Settings) -> None:
    write(settings, FREEZE)
    assert frozen_reader(settings, a_plan(WORLD, action("1", "read")))(utc("2026-06-09T12:00")) == ""


def test_a_plan_touches_its_stage_risk_runbooks_and_hosts() -> None:
    found = touched_by(
        at_risk(a_plan(WORLD, include("1", action("1.include.1")), hosts=("a", "b")), Risk.HIGH)
    )
    assert (found.stage, found.risk, found.runbooks) == ("containment", "high", ("test", "test"))
    assert (found.hosts, dict(found.groups)) == (("a", "b"), {"all": ("a", "b")})


def test_the_outlook_says_when_everything_is_open_again(settings: Settings) -> None:
    write(settings, FREEZE)
    longer = FREEZE.replace("2026-06-10", "2026-06-12").replace("name: Freeze", "name: Longer")
    write(settings, longer, name="longer.yaml")
    found = outlook(settings, utc("2026-06-09T12:00"))
    assert found.opens == utc("2026-06-12T00:00")
    assert found.words.startswith("frozen until 2026-06-12 00:00 UTC: 'Freeze' is closed until 2026-06-10")
    assert outlook(settings, utc("2026-06-12T12:00")).words == ""
    write(settings, "broken", name="broken.yaml")
    assert outlook(settings, utc("2026-06-12T12:00")).words.startswith(
        "frozen, with no end in sight: 'broken'"
    )


def test_of_many_closures_those_that_last_longest_are_named() -> None:
    said = frozen_words([Closure(f"c{n}", "", until=utc("2026-06-09")) for n in range(5)])
    assert "'c4'" in said
    assert "'c1'" not in said
    assert said.endswith("; and 2 more")


ICS = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Fair\r\n"
    "DTSTART;VALUE=DATE:20260609\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


def test_an_import_keeps_the_file_with_the_zone_that_was_given(settings: Settings, tmp_path: Path) -> None:
    source = tmp_path / "team.ics"
    source.write_bytes(ICS.encode())
    with pytest.raises(InputError, match=r"event 'Fair': its times name no time zone"):
        import_calendar(settings, source)
    assert not list(settings.calendars.iterdir())
    import_calendar(settings, source, timezone="Europe/Berlin")
    kept = settings.calendars / "team.ics"
    assert (
        kept.read_bytes()
        == ICS.replace("BEGIN:VCALENDAR\r\n", "BEGIN:VCALENDAR\r\nX-WR-TIMEZONE:Europe/Berlin\r\n").encode()
    )
    found = load_calendar(kept).closed(utc("2026-06-08T22:00"))
    assert found is not None
    assert found.until == utc("2026-06-09T22:00")


def test_an_import_replaces_only_by_wish(settings: Settings, tmp_path: Path) -> None:
    source = tmp_path / "team.ics"
    source.write_bytes(ICS.encode())
    import_calendar(settings, source, timezone="UTC")
    with pytest.raises(RefusedError, match="--replace"):
        import_calendar(settings, source, timezone="Europe/Berlin")
    import_calendar(settings, source, timezone="Europe/Berlin", replace=True)
    kept = (settings.calendars / "team.ics").read_text()
    assert kept.count("X-WR-TIMEZONE") == 1
    assert [file.name for file in settings.calendars.iterdir()] == ["team.ics"]


def test_an_import_of_something_else_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "team.ics").write_text("hello")
    (tmp_path / "team.yaml").write_text("hello")
    with pytest.raises(InputError, match="is not an iCalendar file"):
        import_calendar(settings, tmp_path / "team.ics")
    with pytest.raises(InputError, match=r"is not called \*.ics"):
        import_calendar(settings, tmp_path / "team.yaml")
    (tmp_path / "team.ics").write_bytes(ICS.encode())
    with pytest.raises(InputError, match="no time zone 'Berlin'"):
        import_calendar(settings, tmp_path / "team.ics", timezone="Berlin")
