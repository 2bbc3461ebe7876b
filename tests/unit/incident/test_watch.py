from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.incident.watch import MOST, Change, Sample, Seen, Watch, alert_of, follow, unanswered

T0 = datetime(2026, 11, 22, tzinfo=UTC)


def a_watch(**said: Any) -> Watch:
    return Watch.model_validate({"name": "w", "address": "http://h:9090", "query": "q", "title": "T", **said})


def play(watch: Watch, values: Sequence[str | None], *, step: int = 10) -> list[tuple[int, str]]:
    """Answer with one series, or with none, every few seconds; gives what became an alert, and when."""
    seen, found = Seen(), list[tuple[int, str]]()
    for number, value in enumerate(values):
        now = T0 + timedelta(seconds=number * step)
        seen, changes = follow(watch, seen, [] if value is None else [Sample({"i": "a"}, value)], now)
        found += [(number * step, change.status) for change in changes]
    return found


@pytest.mark.parametrize(
    ("said", "values", "found"),
    [
        ({"above": 5}, ["5", "6", "7", "5", "6"], [(10, "firing"), (30, "resolved"), (40, "firing")]),
        # Between the two numbers nothing changes.
        ({"above": 5, "clear": 3}, ["6", "4", "6", "4", "3", "4"], [(0, "firing"), (40, "resolved")]),
        (
            {"below": 5, "clear": 8},
            ["4", "6", "8", "6", "4"],
            [(0, "firing"), (20, "resolved"), (40, "firing")],
        ),
        ({"below": "0.5"}, ["0.5", "0.49999999999999999999"], [(10, "firing")]),
        ({"above": 5, "for": "20s"}, ["6", "6", "5", "6", "6", "6"], [(50, "firing")]),
        # What is no number says nothing: neither that it is so, nor that it is over.
        ({"above": 5}, ["6", "NaN", "what", "6", "5"], [(0, "firing"), (40, "resolved")]),
        # But the series is there: when nothing is served any more, errors by requests are NaN for hours.
        ({"above": 5, "gone_after": "20s"}, ["6", *["NaN"] * 9, "5"], [(0, "firing"), (100, "resolved")]),
        # What is beyond every number is beyond this one.
        ({"above": 5}, ["+Inf", "-Inf"], [(0, "firing"), (10, "resolved")]),
        ({"below": 5}, ["+Inf", "-Inf"], [(10, "firing")]),
        (
            {"above": 5, "gone_after": "20s"},
            ["6", None, "6", None, None, None],
            [(0, "firing"), (40, "resolved")],
        ),
        # Without a number every series of the answer is an alert, for as long as it is there.
        ({}, [None, "0", "1", None, "7"], [(10, "firing"), (30, "resolved"), (40, "firing")]),
        ({}, ["NaN", "1", "NaN", None], [(0, "firing"), (30, "resolved")]),
    ],
)
def test_an_alert_begins_beyond_the_one_number_and_is_over_beyond_the_other(
    said: dict[str, Any], values: list[str | None], found: list[tuple[int, str]]
) -> None:
    assert play(a_watch(**said), values) == found


def test_it_began_when_the_value_went_beyond_and_not_when_it_became_an_alert() -> None:
    watch, seen, changes = a_watch(above=5, **{"for": "1m"}), Seen(), list[Change]()
    for minutes in (0, 1):
        seen, changes = follow(watch, seen, [Sample({}, "6")], T0 + timedelta(minutes=minutes))
    assert [change.starts_at for change in changes] == [T0]


def test_without_an_answer_what_is_an_alert_stays_one_and_after_a_while_not_to_know_is_one_too() -> None:
    watch = a_watch(above=5, blind_after="30s")
    seen, _ = follow(watch, Seen(), [Sample({"i": "a"}, "9")], T0)
    found = []
    for seconds in (10, 20, 40, 50):
        seen, changes = unanswered(watch, seen, T0 + timedelta(seconds=seconds))
        found += [(seconds, alert_of(watch, one)["labels"]) for one in changes]
    assert found == [(40, {"watch": "w", "severity": "warning", "alertname": "WatchUnanswered"})]
    seen, changes = follow(watch, seen, [Sample({"i": "a"}, "9")], T0 + timedelta(seconds=60))
    assert [(one.status, alert_of(watch, one)["labels"]["alertname"]) for one in changes] == [  # type: ignore[index]
        ("resolved", "WatchUnanswered")
    ]
    seen, changes = follow(watch, seen, [Sample({"i": "a"}, "1")], T0 + timedelta(seconds=70))
    assert [one.status for one in changes] == ["resolved"]


def test_labels_of_a_series_do_not_pass_for_the_watchs_own() -> None:
    watch = a_watch(labels={"team": "shop"}, severity="critical")
    _, (change,) = follow(
        watch, Seen(), [Sample({"alertname": "x", "severity": "info", "team": "y"}, "1")], T0
    )
    labels = alert_of(watch, change)["labels"]
    assert labels == {"alertname": "w", "severity": "critical", "team": "shop"}


def test_of_very_many_series_the_first_are_kept() -> None:
    seen, changes = follow(a_watch(), Seen(), [Sample({"i": str(n)}, "1") for n in range(MOST + 50)], T0)
    assert (len(seen.series), len(changes)) == (MOST, MOST)


@given(
    st.lists(st.sampled_from(["1", "4", "6", "NaN", None]), max_size=30),
    st.fixed_dictionaries(
        {"above": st.just(5)},
        optional={
            "clear": st.sampled_from([3, 5]),
            "for": st.sampled_from(["0s", "15s"]),
            "gone_after": st.sampled_from(["0s", "20s"]),
        },
    ),
)
def test_alerts_begin_and_end_in_turn(values: list[str | None], said: dict[str, Any]) -> None:
    words = [status for _, status in play(a_watch(**said), values)]
    assert words == (["firing", "resolved"] * len(words))[: len(words)]


@given(st.lists(st.sampled_from(["1", "4", "6", None]), max_size=20), st.integers(0, 20))
def test_who_begins_anew_with_what_the_log_says_goes_on_where_the_other_ended(
    values: list[str | None], at: int
) -> None:
    """What is an alert by then stands in the log; what was only about to become one begins anew."""
    watch = a_watch(above=5, clear=3)
    steady, restarted, one, two = Seen(), Seen(), list[str](), list[str]()
    for number, value in enumerate(values):
        now, answer = T0 + timedelta(seconds=number), [] if value is None else [Sample({"i": "a"}, value)]
        if number == at:
            alerts = {key: s for key, s in restarted.series.items() if s.alert is not None}
            restarted = Seen(alerts)
        steady, changes = follow(watch, steady, answer, now)
        one += [change.status for change in changes]
        restarted, changes = follow(watch, restarted, answer, now)
        two += [change.status for change in changes]
    assert one == two
