from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import InputError, SettingsError
from mimrun.gate.oncall import Rota, Shift, make_rota
from mimrun.gate.oncall_plan import Span, read_plan
from mimrun.gate.people import People, Person, Team
from mimrun.gate.people_file import load_people
from mimrun.gate.people_oncall import load_rotas, parse_rota, write_rota
from mimrun.runbook.document import read_document

START = datetime(2026, 10, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")
PEOPLE = People(
    {
        "alex": Person("alex", "Alex Doe", email="alex@example.org", accounts=frozenset({"al"})),
        "billie": Person("billie", "Billie", email="billie@example.org"),
    }
)


def read(text: str, file: str = "plan.ics", zone: ZoneInfo = BERLIN, **names: str) -> Rota:
    span = Span(START, START + timedelta(days=100), zone)
    return read_plan(text.encode(), file, PEOPLE, span, team="database", names=names)


def ics(*events: str, head: str = "") -> str:
    inner = "".join(f"BEGIN:VEVENT\nUID:u1\n{event}\nEND:VEVENT\n" for event in events)
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n{head}{inner}END:VCALENDAR\n".replace("\n", "\r\n")


def at(day: int, hour: int, month: int = 10) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def test_a_weekly_handover_stays_at_eight_over_the_change_of_the_clocks() -> None:
    rota = read(
        ics(
            "DTSTART;TZID=Europe/Berlin:20261012T080000\nDTEND;TZID=Europe/Berlin:20261019T080000\n"
            "RRULE:FREQ=WEEKLY;INTERVAL=2\nATTENDEE:mailto:Alex@example.org\nSUMMARY:On call",
            "DTSTART;TZID=Europe/Berlin:20261019T080000\nDTEND;TZID=Europe/Berlin:20261026T080000\n"
            "RRULE:FREQ=WEEKLY;INTERVAL=2\nATTENDEE:mailto:billie@example.org\nSUMMARY:On call",
        )
    )
    assert rota.on_call(at(12, 6)) == ("alex",)
    assert rota.on_call(at(26, 6)) == ("billie",)  # 07:00 in Berlin, by winter time
    assert rota.on_call(at(26, 7)) == ("alex",)
    assert rota.gaps(at(12, 6), at(20, 0, 12)) == ()


def test_one_occurrence_that_was_moved_replaces_the_one_of_the_rule() -> None:
    rota = read(
        ics(
            "DTSTART:20261001T080000Z\nDTEND:20261001T160000Z\nRRULE:FREQ=DAILY;COUNT=3\nSUMMARY:alex",
            "RECURRENCE-ID:20261002T080000Z\nDTSTART:20261002T100000Z\nDTEND:20261002T120000Z\nSUMMARY:billie",
        )
    )
    assert [(s.start, s.person) for s in rota.shifts] == [
        (at(1, 8), "alex"),
        (at(2, 10), "billie"),
        (at(3, 8), "alex"),
    ]


def test_what_was_left_out_or_called_off_is_no_shift() -> None:
    rota = read(
        ics(
            "DTSTART:20261001T080000Z\nDURATION:PT8H\nRRULE:FREQ=DAILY;UNTIL=20261004T080000Z\n"
            "EXDATE:20261002T080000Z\nRDATE:20261010T080000Z\nSUMMARY:On call: Alex Doe",
            "DTSTART:20261020T080000Z\nDTEND:20261020T160000Z\nSTATUS:CANCELLED\nSUMMARY:nobody knows",
        )
    )
    assert [s.start.day for s in rota.shifts] == [1, 3, 4, 10]
    assert rota.until == at(10, 16)


def test_whole_days_are_those_of_the_calendars_zone() -> None:
    rota = read(
        ics(
            "DTSTART;VALUE=DATE:20261003\nDTEND;VALUE=DATE:20261005\nSUMMARY:al",
            head="X-WR-TIMEZONE:Asia/Tokyo\n",
        )
    )
    assert rota.shifts == (Shift(at(2, 15), at(4, 15), "alex"),)


def test_a_table_is_read_in_the_zone_that_was_said() -> None:
    text = (
        "Person,From,Until\nalex,2026-10-01T08:00,2026-10-02T08:00\nB,2026-10-02T08:00Z,2026-10-03T08:00Z\n"
    )
    rota = read(text, "plan.csv", b="billie")
    assert rota.shifts == (Shift(at(1, 6), at(2, 6), "alex"), Shift(at(2, 8), at(3, 8), "billie"))


@pytest.mark.parametrize(
    ("text", "file", "said"),
    [
        (
            ics("DTSTART:20261001T080000Z\nDTEND:20261001T160000Z\nSUMMARY:Dana"),
            "p.ics",
            r"nobody is known as 'Dana'.*--name 'Dana=ID'",
        ),
        (
            ics("DTSTART:20261001T080000Z\nDTEND:20261001T080000Z\nSUMMARY:alex"),
            "p.ics",
            "ends before it begins",
        ),
        (
            ics("DTSTART:20261001T080000Z\nDURATION:PT1H\nRRULE:FREQ=SECONDLY\nSUMMARY:alex"),
            "p.ics",
            "repeats by days",
        ),
        (
            ics("DTSTART:19000101T000000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY\nSUMMARY:alex"),
            "p.ics",
            "more than 20000 times",
        ),
        (ics(), "p.ics", "has no shift between"),
        ("nonsense", "p.ics", "no calendar that can be read"),
        ("who,when\n", "p.csv", "names the columns"),
        ("person,from,until\nalex,soon,later\n", "p.csv", r"p.csv:2: 'soon' is no time"),
        ("person,from,until\nalex,2026-10-02,2026-10-01\n", "p.csv", "ends before it begins"),
    ],
)
def test_a_plan_that_cannot_be_read_is_refused_with_its_place(text: str, file: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(text, file)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    rota = make_rota("database", [Shift(at(1, 8), at(2, 8), "alex")], at(2, 8), "plan.ics")
    assert parse_rota(read_document(write_rota(rota), "x", error=SettingsError), "database") == rota
    (tmp_path / "database.yaml").write_text(write_rota(rota))
    assert load_rotas(tmp_path, {"database": Team("database"), "network": Team("network")}) == {
        "database": rota
    }
    with pytest.raises(SettingsError, match="it is the plan of 'database', not of 'network'"):
        parse_rota(read_document(write_rota(rota), "x", error=SettingsError), "network")


def test_whoever_is_on_call_has_the_role_for_as_long(tmp_path: Path) -> None:
    (tmp_path / "people.yaml").write_text(
        "people: {alex: {}, billie: {active: false}}\nteams: {my-team: {}}\n"
    )
    (tmp_path / "oncall").mkdir()
    shifts = [Shift(at(1, 8), at(2, 8), "alex"), Shift(at(1, 8), at(2, 8), "billie")]
    (tmp_path / "oncall" / "my-team.yaml").write_text(write_rota(make_rota("my-team", shifts, at(2, 8))))
    people = load_people(tmp_path / "people.yaml")
    assert [p.id for p in people.holders("oncall_my_team", at(1, 8))] == ["alex"]
    assert [p.id for p in people.on_call("my-team", at(1, 8))] == ["alex"]
    assert people.holders("oncall_my_team", at(2, 8)) == people.holders("oncall_my_team", at(1, 7)) == ()


@pytest.mark.parametrize("edit", ["team: database", "shifts:", "from:", r"person: alex\n", "Z'"])
def test_a_plan_that_somebody_broke_is_refused(edit: str) -> None:
    rota = make_rota("database", [Shift(at(1, 8), at(2, 8), "alex")], at(2, 8))
    broken = re.sub(edit, "x:", write_rota(rota), count=1)
    with pytest.raises(SettingsError):
        parse_rota(read_document(broken, "x", error=SettingsError), "database")


HOURS = st.integers(0, 200).map(lambda n: START + n * HOUR)
SHIFTS = st.lists(st.tuples(HOURS, st.integers(1, 48), st.sampled_from(["alex", "billie"])), max_size=12).map(
    lambda found: [Shift(start, start + n * HOUR, who) for start, n, who in found]
)


@given(SHIFTS, HOURS)
def test_joining_shifts_changes_nobodys_time(shifts: list[Shift], moment: datetime) -> None:
    rota = make_rota("database", shifts, START + 300 * HOUR)
    assert set(rota.on_call(moment)) == {s.person for s in shifts if s.covers(moment)}


@given(SHIFTS, HOURS)
def test_a_gap_is_where_nobody_is_on_call(shifts: list[Shift], moment: datetime) -> None:
    rota = make_rota("database", shifts, START + 300 * HOUR)
    gaps = rota.gaps(START, START + 300 * HOUR)
    assert any(start <= moment < end for start, end in gaps) == (not rota.on_call(moment))
