"""A field has the form that is expected, or it is unreadable and said to be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.change.fields import LINE, MISSING, MOST, PAGE, Found, Reading, at, words
from mimrun.change_system import Window

BERLIN = ZoneInfo("Europe/Berlin")
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def moment(text: object, zone: ZoneInfo | None = None) -> tuple[datetime | None, str]:
    reading = Reading()
    return reading.time("at", text, zone=zone), reading.unreadable.get("at", "")  # type: ignore[arg-type]


def test_what_is_not_in_an_answer_is_missing_and_null_is_a_value() -> None:
    answer: Found = {"a": [{"b": None}]}
    assert at(answer, "a", 0, "b") is None
    assert at(answer, "a", 1, "b") is MISSING
    assert at(answer, "a", "b") is MISSING
    assert at(answer, "c") is MISSING
    assert at("text", 0) is MISSING


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T10:00:00Z",
        "2026-11-22T11:00:00+01:00",
        "2026-11-22T10:00:00.000+0000",
        "2026-11-22 10:00:00Z",
        "2026-11-22 10:00 +00:00",
        "2026-11-22T05:00:00.000000-05:00",
    ],
)
def test_a_time_with_its_zone_is_read_as_utc(text: str) -> None:
    assert moment(text) == (datetime(2026, 11, 22, 10, tzinfo=UTC), "")


def test_a_time_without_a_zone_is_read_only_where_the_zone_is_known() -> None:
    assert moment("2026-11-22 11:00:00")[1] == "2026-11-22T11:00:00 has no time zone"
    assert moment("2026-11-22 11:00:00", BERLIN) == (datetime(2026, 11, 22, 10, tzinfo=UTC), "")


@pytest.mark.parametrize("text", ["2026-10-25 02:30:00", "2026-03-29 02:30:00"])
def test_an_hour_that_is_there_twice_or_never_is_unreadable(text: str) -> None:
    found, why = moment(text, BERLIN)
    assert found is None
    assert "twice or never in Europe/Berlin" in why


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-22",
        "20261122T100000Z",
        "2026-W47-7",
        "tomorrow",
        "2026-02-30T10:00:00Z",
        "2026-11-22T25:00:00Z",
        "9999-12-31T23:59:59-05:00",
        "0001-01-01T00:00:00+14:00",
        "٢٠٢٦-11-22T10:00:00Z",
        1_800_000_000,
        True,
        {},
        [],
    ],
)
def test_what_is_not_a_date_and_a_time_is_unreadable(value: object) -> None:
    found, why = moment(value)
    assert found is None
    assert why


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        ("2026-11-22T10:00:00Z", None, "it has no end"),
        ("", "2026-11-22T10:00:00Z", "it has no start"),
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z", "its end is not after its start"),
        (
            MISSING,
            "2026-11-22T10:00:00Z",
            "the answer has no such field, or it may not be seen with this login",
        ),
        ("soon", "2026-11-22T10:00:00Z", "'soon' is not a date and a time"),
    ],
)
def test_half_a_window_is_unreadable(start: Found, end: Found, why: str) -> None:
    reading = Reading()
    assert reading.window(start, end) is None
    assert reading.unreadable == {"window": why}


def test_a_window_is_read_also_where_something_else_could_not_be() -> None:
    reading = Reading()
    reading.miss("state", "why")
    start = datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert reading.window("2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z") == Window(
        start, start + timedelta(hours=1)
    )
    assert reading.window(None, "") is None
    assert reading.unreadable == {"state": "why"}


@pytest.mark.parametrize(
    "bad", ["al\x00ice", "al\u202eice", "al\u200bice", "al\nice", "al\x1b[2Jice", "a" * (LINE + 1)]
)
def test_a_name_with_what_no_eye_sees_is_unreadable_and_not_mended(bad: str) -> None:
    reading = Reading()
    assert reading.text("requested_by", bad) == ""
    assert "requested_by" in reading.unreadable


def test_a_text_is_read_exactly_and_a_number_as_it_is_written() -> None:
    reading = Reading()
    assert reading.text("run", " r-1 ") == "r-1"
    assert reading.text("ref", 42) == "42"
    assert reading.text("run", None) == ""
    assert not reading.unreadable
    assert reading.text("run", "", needed=True) == ""
    assert reading.text("digest", ["x"]) == ""
    assert reading.text("ref", True) == ""
    assert reading.unreadable == {
        "run": "it is empty",
        "digest": "a list where a text belongs",
        "ref": "a yes or no where a text belongs",
    }


def test_words_for_people_are_made_fit_to_be_shown() -> None:
    assert words("a\x1b[31mb\u202ec\nd") == "a[31mbc\nd"
    assert len(words("x" * (PAGE + 5))) == PAGE
    assert words("x" * (PAGE + 5)).endswith("…")
    assert Reading().words("title", None) == ""
    reading = Reading()
    assert reading.words("title", {"a": 1}) == ""
    assert reading.unreadable == {"title": "an object where a text belongs"}


def test_a_value_that_the_table_does_not_have_is_unreadable() -> None:
    reading = Reading()
    assert reading.choice("state", "Open", {"open": 1}) == 1
    assert reading.choice("state", 3, {"3": "three"}) == "three"
    assert reading.choice("state", False, {"false": "off"}) == "off"
    assert not reading.unreadable
    assert reading.choice("state", "Opened", {"open": 1}) is None
    assert reading.unreadable == {"state": "'Opened' is not among the values that are known (open)"}
    assert reading.choice("type", None, {"open": 1}, needed=False) is None
    assert reading.choice("approval", "", {"": 1}) is None
    assert reading.unreadable["approval"] == "it is empty"


@pytest.mark.parametrize(
    ("value", "means"), [(True, True), ("true", True), ("1", True), (0, False), ("No", False)]
)
def test_yes_and_no_are_read(value: Found, means: bool) -> None:
    reading = Reading()
    assert reading.flag("on_hold", value) is means
    assert not reading.unreadable


@pytest.mark.parametrize("value", ["maybe", 2, [], {}, None, "", MISSING])
def test_what_is_neither_yes_nor_no_is_unreadable(value: Found) -> None:
    reading = Reading()
    assert reading.flag("on_hold", value) is False
    assert "on_hold" in reading.unreadable


def test_an_empty_flag_is_no_only_where_that_is_said() -> None:
    reading = Reading()
    assert reading.flag("on_hold", None, empty=True) is False
    assert not reading.unreadable
    assert reading.flag("on_hold", MISSING, empty=True) is False
    assert "on_hold" in reading.unreadable


def test_names_are_read_from_a_list_or_a_text_and_one_bad_name_spoils_all() -> None:
    reading = Reading()
    assert reading.names("targets", "db2, db1\ndb1;web1 ") == ("db1", "db2", "web1")
    assert reading.names("targets", ["db2", "db1", None]) == ("db1", "db2")
    assert reading.names("targets", None) == ()
    assert not reading.unreadable
    assert reading.names("targets", ["db1", "d\u200bb2"]) == ()
    assert reading.names("others", {"db1": 1}) == ()
    assert reading.names("many", [f"h{n}" for n in range(MOST + 1)]) == ()
    assert set(reading.unreadable) == {"targets", "others", "many"}


@given(ANY_JSON)
def test_no_value_breaks_a_reading(value: Found) -> None:
    reading = Reading()
    text = reading.text("a", value)
    assert len(text) <= LINE
    assert text.isprintable()
    reading.words("b", value)
    reading.flag("c", value)
    reading.choice("d", value, {"x": 1})
    found = reading.time("e", value, zone=BERLIN)
    assert found is None or found.tzinfo is UTC
    reading.window(value, value, zone=BERLIN)
    for name in reading.names("f", value):
        assert name == name.strip()
