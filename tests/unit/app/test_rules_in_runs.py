"""Rules that change while a run is under way: the next change asks by the new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from builders.plans import a_plan, action, call, gate
from builders.runs import Bench, person
from builders.world import HOOKS, words

from mimrun.app.priority import prioritize
from mimrun.app.runs import find_run
from mimrun.app.undo import plan_undo
from mimrun.runbook.launch import LAUNCH, with_launch_gate
from mimrun.runbook.model import Needed
from mimrun.runbook.plan import Plan

CASEY = person("casey", "major_incident_manager")
OPEN = "name: Fair\ntimezone: UTC\nclosed: [{once: {from: 2020-01-01, to: 2020-01-02}}]\n"


@pytest.fixture
def hooks() -> Iterator[dict[str, Callable[[], object]]]:
    yield HOOKS
    HOOKS.clear()


@pytest.fixture
def governed(bench: Bench) -> Bench:
    text = bench.settings.people.read_text()
    bench.settings.people.write_text(text + "  casey: {roles: [major_incident_manager]}\n")
    bench.settings.policy.write_text(
        "matrix:\n  medium:\n    P1: none\n    other: {approvals: [{role: change_manager}]}\n"
        "    freeze: {freeze_override: true}\n"
    )
    return bench


def freeze(bench: Bench) -> None:
    now = datetime.now(UTC)
    first, last = now - timedelta(days=1), now + timedelta(days=1)
    text = OPEN.replace("2020-01-01", f"{first:%Y-%m-%d}").replace("2020-01-02", f"{last:%Y-%m-%d}")
    (bench.settings.calendars / "fair.yaml").write_text(text)


def two_steps(bench: Bench) -> Plan:
    return with_launch_gate(a_plan(bench.world, action("1", "hook", word="first"), action("2")))


def why(bench: Bench, run: str) -> tuple[str, str]:
    with bench.home() as home:
        summary = find_run(home, run).summary
    return summary.waits_at, summary.reason


def test_a_freeze_that_begins_in_a_run_stops_it_at_its_next_change(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    bench.settings.calendars.mkdir()
    (bench.settings.calendars / "fair.yaml").write_text(OPEN)
    hooks["first"] = lambda: freeze(bench)
    run, verdict = bench.run(two_steps(bench))
    assert verdict.exit_code == 3
    assert "a:w2" not in words(bench.world)
    again = bench.execute(run)
    at, reason = why(bench, run)
    assert (again.exit_code, at) == (3, LAUNCH)
    assert "freeze_approver" in reason
    (bench.settings.calendars / "fair.yaml").write_text(OPEN)
    assert bench.execute(run).exit_code == 0
    assert "a:w2" in words(bench.world)


def test_a_policy_that_asks_for_more_in_a_run_stops_it_at_its_next_change(
    governed: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    more = governed.settings.policy.read_text().replace(
        "P1: none", "P1: {approvals: [{role: change_manager}]}"
    )
    hooks["first"] = lambda: governed.settings.policy.write_text(more)
    run = governed.create(two_steps(governed))
    with governed.home() as home:
        prioritize(home, CASEY, find_run(home, run).summary.incident, "P1", "nobody can pay")
    assert governed.execute(run).exit_code == 3
    assert governed.execute(run).exit_code == 3
    assert why(governed, run)[0] == LAUNCH
    assert "a:w2" not in words(governed.world)
    governed.approve(run)
    assert governed.execute(run).exit_code == 0


def test_a_priority_that_is_lowered_in_a_run_asks_for_more(
    governed: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    run = governed.create(two_steps(governed))

    def lower() -> None:
        with governed.home() as home:
            prioritize(home, CASEY, find_run(home, run).summary.incident, "P4", "a mistake")

    hooks["first"] = lower
    with governed.home() as home:
        prioritize(home, CASEY, find_run(home, run).summary.incident, "P1", "nobody can pay")
    assert governed.execute(run).exit_code == 3
    assert governed.execute(run).exit_code == 3
    at, reason = why(governed, run)
    assert at == LAUNCH
    assert "1 change_manager" in reason


def test_an_approval_given_before_the_policy_asked_for_more_is_void(governed: Bench) -> None:
    run, verdict = governed.run(with_launch_gate(a_plan(governed.world, action("1"))))
    assert verdict.exit_code == 3
    governed.approve(run)
    more = governed.settings.policy.read_text().replace(
        "other: {approvals: [{role: change_manager}]}",
        "other: {approvals: [{role: change_manager}, {role: major_incident_manager}]}",
    )
    governed.settings.policy.write_text(more)
    assert governed.execute(run).exit_code == 3
    assert words(governed.world) == []
    assert "gate.closed" in governed.kinds(run)


def test_a_policy_that_cannot_be_read_stops_a_run_and_does_not_fail_it(
    governed: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    good = governed.settings.policy.read_text()
    hooks["first"] = lambda: governed.settings.policy.write_text("on_timeout: approve\n")
    run = governed.create(two_steps(governed))
    with governed.home() as home:
        prioritize(home, CASEY, find_run(home, run).summary.incident, "P1", "nobody can pay")
    governed.execute(run)
    assert "a:w2" not in words(governed.world)
    governed.settings.policy.write_text(good)
    assert governed.execute(run).exit_code == 0
    assert "a:w2" in words(governed.world)


def test_what_asks_for_nothing_opens_by_policy_and_is_on_record(governed: Bench) -> None:
    run = governed.create(with_launch_gate(a_plan(governed.world, action("1"))))
    with governed.home() as home:
        prioritize(home, CASEY, find_run(home, run).summary.incident, "P1", "nobody can pay")
    assert governed.execute(run).exit_code == 0
    with governed.home() as home:
        opened = [e.body for e in home.store.entries(run=run) if e.kind == "gate.opened"]
    assert [getattr(body, "by", "") for body in opened] == ["policy"]


def test_the_way_back_is_covered_by_the_launch_gate_for_a_day(governed: Bench) -> None:

    node = action("1", "idempotent", undo=call("once", word="back"))
    run, _ = governed.run(with_launch_gate(a_plan(governed.world, node)))
    governed.approve(run)
    assert governed.execute(run).exit_code == 0
    with governed.home() as home:
        assert [n.kind for n in plan_undo(home, run).walk()] == ["action"]


def test_the_authors_gate_and_the_launch_gate_both_ask(governed: Bench) -> None:
    own = gate("2").model_copy(update={"approvals": (Needed(role="change_manager", count=2),)})
    run, verdict = governed.run(with_launch_gate(a_plan(governed.world, action("1"), own, action("3"))))
    assert (verdict.exit_code, why(governed, run)[0]) == (3, LAUNCH)
    governed.approve(run)
    assert governed.execute(run).exit_code == 3
    assert why(governed, run)[0] == "2"
    assert "2 change_manager" in why(governed, run)[1]
