"""Times in which nothing was recorded, and action items as the log knows them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import InputError, TamperError
from mimrun.incident.review import Event, Gap, with_gaps, without
from mimrun.incident.review_item import ReviewItems, item_key, items_of, read_due
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import ReviewItemClosed, ReviewItemOpened
from mimrun.log.sqlite.store import SqliteStore, create_log

BEGAN = datetime(2026, 11, 22, 3, tzinfo=UTC)
TEN = timedelta(minutes=10)
ALEX = Actor("person", "alex", "cli", "os-user")


def events(*minutes: float) -> list[Event]:
    return [Event(n, BEGAN + timedelta(minutes=one), "step", "x", "x") for n, one in enumerate(minutes, 1)]


def gaps(rows: list[Event | Gap]) -> list[float]:
    return [row.ms / 60_000 for row in rows if isinstance(row, Gap)]


def test_a_gap_says_how_long_nothing_was_recorded() -> None:
    rows = with_gaps(events(0, 5, 20, 29, 60), TEN, None)
    assert gaps(rows) == [15, 31]
    assert [type(row).__name__ for row in rows] == ["Event", "Event", "Gap", "Event", "Event", "Gap", "Event"]


def test_what_was_entered_later_fills_the_time_in_which_it_was_done() -> None:
    assert gaps(with_gaps(events(0, 20, 9), TEN, None)) == [11]
    assert gaps(with_gaps(events(0, 19, 9.5), TEN, None)) == []


def test_nobody_misses_anything_after_it_was_resolved() -> None:
    resolved = BEGAN + timedelta(minutes=30)
    assert gaps(with_gaps(events(0, 30, 500), TEN, resolved)) == [30]
    assert gaps(with_gaps(events(0, 29, 500), TEN, resolved)) == [29, 471]


def test_time_between_noticing_it_and_the_first_entry_is_a_gap_too() -> None:
    assert gaps(with_gaps(events(20, 25), TEN, None, since=BEGAN)) == [20]
    assert gaps(with_gaps(events(5, 9), TEN, None, since=BEGAN)) == []
    assert gaps(with_gaps(events(), TEN, None, since=BEGAN)) == []
    assert gaps(with_gaps(events(-5, 0), TEN, None, since=BEGAN)) == []


def test_details_fill_a_gap_and_only_those_beside_one_are_told() -> None:
    details = {2, 3, 4, 5}
    assert gaps(without(with_gaps(events(0, 8, 16, 24, 32, 40), TEN, None), details)) == []
    rows = without(with_gaps(events(0, 8, 16, 40, 48, 56), TEN, None), details)
    assert [row.seq if isinstance(row, Event) else "gap" for row in rows] == [1, 3, "gap", 4, 6]


@given(st.lists(st.integers(0, 600), max_size=30), st.integers(1, 100))
def test_gaps_are_exactly_the_long_times_between_neighbours(minutes: list[int], least: int) -> None:
    rows = with_gaps(events(*minutes), timedelta(minutes=least), None)
    told = [row for row in rows if isinstance(row, Event)]
    assert [row.at for row in told] == sorted(row.at for row in told)
    assert len(told) == len(minutes)
    ordered = sorted(minutes)
    wanted = [b - a for a, b in zip(ordered, ordered[1:], strict=False) if b - a >= least]  # noqa: RUF007 - said twice
    assert gaps(rows) == wanted


def opened(item: str, title: str = "x") -> Draft:
    return Draft(
        ALEX, ReviewItemOpened(item=item, title=title, owner="billie", due="2026-12-24"), inc="INC-1"
    )


def closed(item: str, outcome: str = "done") -> Draft:
    body = ReviewItemClosed.model_validate({"item": item, "outcome": outcome, "reason": "r"})
    return Draft(ALEX, body, inc="INC-1")


def test_the_log_knows_how_each_item_stands(tmp_path: Path) -> None:
    create_log(tmp_path / "log.db", "test", ALEX)
    with SqliteStore(tmp_path / "log.db", projectors=[ReviewItems()]) as store:
        store.append([opened(f"A{n}") for n in range(1, 12)])
        store.append([closed("A2"), closed("A10", "dropped")])
        store.append([Draft(ALEX, ReviewItemOpened(item="A1", title="y", owner="alex"), inc="INC-10")])
        found = items_of(store, "INC-1")
        assert [one.item for one in found] == [f"A{n}" for n in range(1, 12)]
        assert [one.item for one in found if one.state != "open"] == ["A2", "A10"]
        assert (found[1].closed_by, found[9].state, found[9].reason) == ("alex", "dropped", "r")
        assert [one.incident for one in items_of(store)] == ["INC-1"] * 11 + ["INC-10"]
        for draft in (opened("A1"), closed("A2"), closed("A99")):
            with pytest.raises(TamperError):
                store.append([draft])
        assert store.rebuild()


def test_items_of_one_incident_are_not_those_of_another_that_begins_alike() -> None:
    assert not item_key("INC-10", "A1").startswith("INC-1 ")


def test_an_item_is_overdue_the_day_after(tmp_path: Path) -> None:
    create_log(tmp_path / "log.db", "test", ALEX)
    with SqliteStore(tmp_path / "log.db", projectors=[ReviewItems()]) as store:
        store.append([opened("A1")])
        (item,) = items_of(store)
        assert [item.is_overdue(date(2026, 12, day)) for day in (23, 24, 25)] == [False, False, True]
        store.append([closed("A1")])
        assert not items_of(store)[0].is_overdue(date(2027, 1, 1))


@pytest.mark.parametrize(
    "text",
    ["", "tomorrow", "2026-13-01", "2026-02-30", "20261224", "2026-12-24T00:00:00Z", "\u0662026-12-24"],
)
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no day; write 2026-12-24"):
        read_due(text)
    assert read_due("2026-12-24") == "2026-12-24"
