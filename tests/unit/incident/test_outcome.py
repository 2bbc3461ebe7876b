"""What a firing comes to, and when it is a storm: tables, and what must hold for all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from builders.entries import DIGEST
from hypothesis import given
from hypothesis import strategies as st

from mimrun.incident.outcome import Facts, judge
from mimrun.incident.storm import Budget, Done, Limits, floods, trips
from mimrun.log.kinds import RuleFired, StormBegan, StormEnded
from mimrun.log.moment import write_moment

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LIMITS = Limits(runs_per_hour=4, runs_per_runbook=2, asks_per_hour=3)
FREE = Facts(runbook="look")


def done(*what: str, minutes: float = 1, runbook: str = "look") -> Budget:
    """Give what rules did a while ago."""
    at = write_moment(NOW - timedelta(minutes=minutes))
    several = [Done(at=at, did=one, rule="r", run=f"{runbook}-{n}") for n, one in enumerate(what)]  # type: ignore[arg-type]
    return Budget(done=tuple(several))


def of(budget: Budget) -> dict[str, str]:
    return {one.run: one.run.partition("-")[0] for one in budget.done}


STORM = Budget(storm=7, incident="INC-1", since=write_moment(NOW - timedelta(minutes=5)), reason="too many")


@pytest.mark.parametrize(
    ("action", "facts", "budget", "outcome", "reason"),
    [
        ("launch", FREE, Budget(), "launched", ""),
        ("propose", FREE, Budget(), "proposed", ""),
        ("notify", FREE, Budget(), "notified", ""),
        ("launch", Facts(held="pulled"), Budget(), "held", "pulled"),
        ("notify", Facts(held="pulled"), STORM, "held", "pulled"),
        ("launch", Facts(refused="not allowed"), Budget(), "proposed", "not allowed"),
        ("launch", Facts(busy="run-1"), Budget(), "held", "it waits: run-1"),
        ("launch", Facts(refused="not allowed", busy="run-1"), Budget(), "proposed", "not allowed"),
        ("propose", Facts(busy="run-1", refused="x"), Budget(), "proposed", ""),
        ("launch", FREE, done("launched"), "launched", ""),
        ("launch", FREE, done("launched", "launched"), "proposed", "a storm begins: 2 runs of look"),
        ("launch", FREE, done("launched", "launched", minutes=61), "launched", ""),
        ("launch", FREE, done(*["launched"] * 4, runbook="other"), "proposed", "a storm begins: 4 runs were"),
        ("launch", FREE, done("proposed", "notified", "failed"), "launched", ""),
        ("propose", FREE, done("proposed", "notified"), "proposed", ""),
        (
            "propose",
            FREE,
            done("proposed", "notified", "failed"),
            "proposed",
            "a storm begins: people were asked",
        ),
        ("launch", FREE, STORM, "proposed", "there is a storm since 2026-11-22 11:55 UTC (INC-1)"),
        ("notify", FREE, STORM, "notified", ""),
    ],
)
def test_what_a_firing_comes_to(action: str, facts: Facts, budget: Budget, outcome: str, reason: str) -> None:
    known = Facts(facts.held, facts.refused, facts.busy, "look", of(budget))
    found = judge(action, "queue", known, LIMITS, budget, now=NOW)  # type: ignore[arg-type]
    assert (found.outcome, found.reason[: len(reason)] if reason else found.reason) == (outcome, reason)
    assert bool(found.storm) is reason.startswith("a storm begins")


def test_a_rule_that_skips_tells_people() -> None:
    found = judge("launch", "skip", Facts(busy="run-1"), LIMITS, Budget(), now=NOW)
    assert (found.outcome, found.reason) == ("notified", "it is skipped: run-1")


def test_in_a_storm_people_are_asked_so_often_and_the_rest_is_held() -> None:
    asked = tuple(
        Done(at=write_moment(NOW - timedelta(minutes=4)), did="proposed", rule="r") for _ in range(3)
    )
    before = tuple(
        Done(at=write_moment(NOW - timedelta(minutes=6)), did="proposed", rule="r") for _ in range(9)
    )
    storm = STORM.model_copy(update={"done": before})
    assert judge("launch", "queue", FREE, LIMITS, storm, now=NOW).outcome == "proposed"
    full = STORM.model_copy(update={"done": (*before, *asked)})
    for action in ("launch", "propose", "notify"):
        found = judge(action, "queue", FREE, LIMITS, full, now=NOW)  # type: ignore[arg-type]
        assert found.outcome == "held"
        assert "people were asked or told 3 times" in found.reason


@pytest.mark.parametrize(("runs", "trip"), [(0, False), (1, False), (2, True), (3, True)])
def test_the_limit_is_reached_and_not_passed(runs: int, trip: bool) -> None:
    budget = done(*["launched"] * runs)
    assert bool(trips(LIMITS, budget, NOW, runbook="look", of=of(budget))) is trip


def test_a_limit_of_nothing_lets_rules_launch_nothing() -> None:
    for none in (Limits(runs_per_hour=0), Limits(runs_per_runbook=0)):
        assert trips(none, Budget(), NOW, runbook="look", of={})


def fired(outcome: str) -> RuleFired:
    return RuleFired.model_validate(
        {"rule": "r", "rules": DIGEST, "episode": "e", "group": "all", "outcome": outcome}
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["launched", "proposed", "notified", "failed", "held"]), st.integers(0, 4000)
        ),
        max_size=400,
    )
)
def test_what_is_kept_is_bounded_and_counts_as_all_of_it_would(events: list[tuple[str, int]]) -> None:
    budget, at, every = Budget(), NOW, list[tuple[datetime, str]]()
    for outcome, seconds in events:
        at += timedelta(seconds=seconds)
        budget = budget.after(fired(outcome), write_moment(at), run="run-1" if outcome == "launched" else "")
        every.append((at, outcome))
    hour = [outcome for when, outcome in every if when > at - timedelta(hours=1)]
    assert len(budget.done) <= 200
    assert len(budget.launched(at)) == min(hour.count("launched"), 100)
    asked = sum(outcome in ("proposed", "notified", "failed") for outcome in hour)
    assert min(budget.asked(at), 100) == min(asked, 100)
    assert bool(floods(LIMITS, budget, at)) is (asked >= LIMITS.asks_per_hour)


def test_a_storm_begins_once_and_ends_with_everything_counted_anew() -> None:
    at = write_moment(NOW)
    first = done("launched").after(StormBegan(incident="INC-1", reason="many"), at, seq=5)
    again = first.after(StormBegan(incident="INC-2", reason="more"), at, seq=6)
    assert (again.storm, again.incident) == (5, "INC-1")
    over = again.after(StormEnded(reason="over"), at, seq=7)
    assert over == Budget()
    assert over.after(StormEnded(reason="over"), at, seq=8) == Budget()
