"""Calendars in YAML: what they may say, what is wrong with them, and that a broken one is closed."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mimrun.errors import SettingsError
from mimrun.gate.calendar import Calendar, Calendars, Touched
from mimrun.gate.calendar_file import load_calendars, parse_calendar
from mimrun.runbook.document import read_document

HEAD = "name: Freeze\ntimezone: Europe/Berlin\n"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def parse(text: str) -> Calendar:
    return parse_calendar(read_document(text, "freeze.yaml", error=SettingsError))


def until(calendar: Calendar, at: str) -> str:
    """Say until when it is closed: "open", a moment, or "ever"."""
    found = calendar.closed(utc(at))
    if found is None:
        return "open"
    return found.until.isoformat()[:16] if found.until else "ever"


def test_once_is_closed_from_one_local_time_to_another() -> None:
    text = "closed:\n  - once: {from: 2026-12-18 18:00, to: 2027-01-04 06:00}\n    reason: Year end\n"
    calendar = parse(HEAD + text)
    assert until(calendar, "2026-12-18T16:59") == "open"
    assert until(calendar, "2026-12-18T17:00") == "2027-01-04T05:00"
    found = calendar.closed(utc("2026-12-24T00:00"))
    assert found is not None
    assert (found.name, found.reason) == ("Freeze", "Year end")
    assert until(calendar, "2027-01-04T05:00") == "open"


def test_a_week_goes_from_one_day_to_another_over_the_weekend() -> None:
    calendar = parse(HEAD + "closed: [{weekly: {from: fri 16:00, to: mon 07:00}}]\n")
    assert until(calendar, "2026-06-12T13:59") == "open"
    assert until(calendar, "2026-06-12T14:00") == until(calendar, "2026-06-14T23:00") == "2026-06-15T05:00"


def test_days_of_the_week_have_the_same_hours_also_over_midnight() -> None:
    calendar = parse(HEAD + "closed: [{weekly: {days: [tue, thu], from: '22:00', to: '02:00'}}]\n")
    assert until(calendar, "2026-06-09T20:00") == "2026-06-10T00:00"
    assert until(calendar, "2026-06-10T20:30") == "open"


def test_whole_days_touch_and_are_told_as_one() -> None:
    calendar = parse(HEAD + "closed: [{weekly: {days: [sat, sun], from: '00:00', to: '24:00'}}]\n")
    assert until(calendar, "2026-06-12T22:00") == "2026-06-14T22:00"


def test_a_week_that_never_ends_is_closed_for_good() -> None:
    text = "closed: [{weekly: {days: [mon, tue, wed, thu, fri, sat, sun], from: '00:00', to: '24:00'}}]\n"
    assert until(parse(HEAD + text), "2026-06-12T22:00") == "ever"


def test_a_rule_recurs_as_written() -> None:
    text = "closed: [{rule: {rrule: FREQ=MONTHLY;BYDAY=-1FR, from: 2026-01-30 18:00, for: 60h}}]\n"
    calendar = parse(HEAD + text)
    assert until(calendar, "2026-02-27T16:59") == "open"
    assert until(calendar, "2026-02-27T17:00") == "2026-03-02T05:00"


def test_windows_are_open_only_inside() -> None:
    calendar = parse(HEAD + "open: [{weekly: {days: [tue], from: '20:00', to: '23:00'}}]\n")
    assert until(calendar, "2026-06-08T12:00") == "2026-06-09T18:00"
    assert until(calendar, "2026-06-09T18:00") == "open"
    assert until(calendar, "2026-06-09T21:00") == "2026-06-16T18:00"


def test_windows_that_are_all_over_are_closed_for_good() -> None:
    calendar = parse(HEAD + "open: [{once: {from: 2020-01-01, to: 2020-01-02}}]\n")
    assert until(calendar, "2026-06-08T12:00") == "ever"


def test_all_calendars_must_be_open() -> None:
    freeze = parse(HEAD + "closed: [{once: {from: 2026-06-09 20:00, to: 2026-06-09 21:00}}]\n")
    windows = parse(HEAD + "open: [{weekly: {days: [tue], from: '20:00', to: '23:00'}}]\n")
    both = Calendars((freeze, windows))
    assert [c.reason for c in both.closed(utc("2026-06-09T18:30"))] == [""]
    assert not both.closed(utc("2026-06-09T19:30"))
    assert both.opens(utc("2026-06-08T12:00")) == utc("2026-06-09T19:00")
    assert both.opens(utc("2026-06-09T19:30")) == utc("2026-06-09T19:30")


def test_the_closure_that_lasts_longest_comes_last() -> None:
    short = parse("name: s\ntimezone: UTC\nclosed: [{once: {from: 2026-06-09, to: 2026-06-10}}]\n")
    long = parse("name: l\ntimezone: UTC\nclosed: [{once: {from: 2026-06-09, to: 2026-06-12}}]\n")
    broken = Calendar("b", "b.yaml", wrong=("broken",))
    found = Calendars((broken, long, short)).closed(utc("2026-06-09T12:00"))
    assert [closure.name for closure in found] == ["s", "l", "b"]
    assert Calendars((broken, long)).opens(utc("2026-06-09T12:00")) is None


SCOPE = (
    HEAD + "scope: {stages: [maintenance], risks: [medium, high], hosts: 'shop:&prod', runbooks: ['db-*']}\n"
    "closed: [{once: {from: 2026-06-09, to: 2026-06-10}}]\n"
)


def touched(**changes: object) -> Touched:
    fields: dict[str, object] = {
        "stage": "maintenance",
        "risk": "high",
        "runbooks": ("db-clean",),
        "hosts": ("web1", "web2"),
        "groups": {"shop": ("web1",), "prod": ("web1", "web2")},
    }
    return Touched(**{**fields, **changes})  # type: ignore[arg-type]  # any field


def test_a_calendar_holds_for_what_is_in_its_whole_scope() -> None:
    calendars = Calendars((parse(SCOPE),))
    at = utc("2026-06-09T12:00")
    assert calendars.closed(at, touched())
    assert calendars.closed(at)
    for changes in (
        {"stage": "containment"},
        {"risk": "low"},
        {"runbooks": ("web-clean",)},
        {"groups": {"shop": ("web1",), "prod": ("web2",)}},
        {"groups": {}},
    ):
        assert not calendars.closed(at, touched(**changes)), changes


def test_what_only_reads_is_never_held_up() -> None:
    broken = Calendars((Calendar("b", "b.yaml", wrong=("broken",)),))
    assert not broken.closed(utc("2026-06-09T12:00"), touched(risk="read_only"))
    assert broken.closed(utc("2026-06-09T12:00"), touched(risk="low"))


def test_the_scope_is_told_in_words() -> None:
    said = parse(SCOPE).scope.words
    assert said == "stage maintenance, risk high or medium, hosts shop:&prod, runbook db-*"


def test_a_folder_is_read_whole_and_what_cannot_be_read_is_closed_by_name(tmp_path: Path) -> None:
    assert load_calendars(tmp_path / "none").all == ()
    (tmp_path / "good.yaml").write_text(HEAD + "closed: [{once: {from: 2026-06-09, to: 2026-06-10}}]\n")
    (tmp_path / "bad.yml").write_text("name: x\n")
    (tmp_path / "worse.ics").write_text("hello")
    (tmp_path / "gone.ics").symlink_to(tmp_path / "nowhere")
    (tmp_path / "README.md").write_text("# not a calendar")
    (tmp_path / "dir.yaml").mkdir()
    found = load_calendars(tmp_path)
    assert [one.name for one in found.all] == ["bad", "dir", "gone", "Freeze", "worse"]
    closed = found.closed(utc("2026-01-01T00:00"))
    assert [closure.name for closure in closed] == ["bad", "dir", "gone", "worse"]
    assert all(closure.reason.startswith("cannot be understood, so it is closed: ") for closure in closed)


def test_a_folder_that_is_a_link_to_nowhere_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "calendars"
    folder.symlink_to(tmp_path / "share" / "calendars")
    (closure,) = load_calendars(folder).closed(utc("2026-01-01T00:00"))
    assert "No such file" in closure.reason


def test_a_rule_with_too_many_occurrences_is_closed_instead_of_gone_through() -> None:
    text = "closed: [{rule: {rrule: FREQ=HOURLY, from: 1970-01-01, for: 1m}}]\n"
    found = parse(HEAD + text).closed(utc("2026-06-09T12:30"))
    assert found is not None
    assert "more than 20000 occurrences" in found.reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]\n", "freeze.yaml:1:1: is not a calendar"),
        ("timezone: UTC\nclosed: []\n", "the key 'name' is missing"),
        ("name: a\nclosed: [{once: {from: 2026-01-01, to: 2026-01-02}}]\n", "the key 'timezone' is missing"),
        (
            "name: a\ntimezone: Europe/Berln\n",
            r"2:11: no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'\?",
        ),
        (HEAD, "one of `closed` and `open` is needed"),
        (HEAD + "open: []\nclosed: []\n", "one of `closed` and `open` is needed"),
        (HEAD + "closed: []\n", "3:9: closed is a list of times"),
        (HEAD + "closd: []\n", r"3:1: unknown key 'closd'; did you mean 'closed'\?"),
        (HEAD + "closed: [{}]\n", "one of once, weekly, rule"),
        (HEAD + "closed: [{once: {}, weekly: {}}]\n", "one of once, weekly, rule"),
        (HEAD + "closed: [{once: {from: tomorrow, to: 2026-01-02}}]\n", "3:24: 'tomorrow' is no local time"),
        (HEAD + "closed: [{once: {from: 2026-02-30, to: 2026-03-02}}]\n", "'2026-02-30' is no local time"),
        (HEAD + "closed: [{once: {from: 2026-01-02, to: 2026-01-02}}]\n", "is not behind `from`"),
        (HEAD + "closed: [{once: {from: 2026-01-02, to: 2028-01-02}}]\n", "more than a year"),
        (HEAD + "closed: [{once: {from: 2026-01-02, till: 2026-01-02}}]\n", "unknown key 'till'"),
        (HEAD + "closed: [{once: 3}]\n", "must be a mapping"),
        (HEAD + "closed: [{weekly: {from: '16:00', to: mon 07:00}}]\n", "write fri 18:00"),
        (HEAD + "closed: [{weekly: {days: [sat], from: sat 16:00, to: '17:00'}}]\n", "write 18:00"),
        (
            HEAD + "closed: [{weekly: {days: [caturday], from: '16:00', to: '17:00'}}]\n",
            "is no day of the week",
        ),
        (HEAD + "closed: [{weekly: {days: [sat], from: '25:00', to: '17:00'}}]\n", "is no time of the week"),
        (HEAD + "closed: [{rule: {rrule: FREQ=EVER, from: 2026-01-01, for: 1h}}]\n", "is no recurrence rule"),
        (
            HEAD + "closed: [{rule: {rrule: FREQ=MINUTELY, from: 2026-01-01, for: 1h}}]\n",
            "changes by the minute",
        ),
        (HEAD + "closed: [{rule: {from: 2026-01-01, for: 1h}}]\n", "is no recurrence rule"),
        (HEAD + "closed: [{rule: {rrule: FREQ=DAILY, from: 2026-01-01, for: 0}}]\n", "is nothing"),
        (HEAD + "scope: {stages: [maintenence]}\nclosed: []\n", r"did you mean 'maintenance'\?"),
        (HEAD + "scope: {}\nclosed: []\n", "a scope is a mapping"),
        (HEAD + "scope: {risks: []}\nclosed: []\n", "risks is a list of words, and not empty"),
        (HEAD + "scope: {hosts: 'web[0]'}\nclosed: []\n", "is no host pattern for a calendar"),
        (HEAD + "scope: {hosts: '~('}\nclosed: []\n", "3:16"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    assert re.search(said, str(caught.value)), str(caught.value)
