"""What waits for people, and for whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.plans import a_plan, action, gate, manual
from builders.runs import ALEX, BILLIE, RESPONDER, Bench
from builders.who_may import WHO, in_doubt, waiting, wanted

from mimrun.app.identity import Identity
from mimrun.app.manual_steps import attest, claim
from mimrun.app.resolving import resolve
from mimrun.app.runs import list_runs
from mimrun.app.waiting import Task, run_progress, waiting_tasks
from mimrun.gate.people import Person


def tasks(bench: Bench, who: Identity) -> list[Task]:
    with bench.home() as home:
        return waiting_tasks(home, who, list_runs(home))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_gate_waits_for_who_may_decide_there(bench: Bench) -> None:
    bench.run(a_plan(bench.world, gate("1"), action("2")))
    (task,) = tasks(bench, ALEX)
    assert (task.what, task.name, task.asks, task.mine) == ("gate", "Gate 1", "needs 1 change_manager", True)
    assert task.until is not None
    (task,) = tasks(bench, RESPONDER)
    assert not task.mine
    assert "launched this run and cannot approve it" in task.why_not


def test_a_gate_waits_no_more_for_who_has_decided(bench: Bench) -> None:
    two = gate("1", count=2)
    run, _ = bench.run(a_plan(bench.world, two, action("2")))
    bench.approve(run, ALEX)
    (task,) = tasks(bench, ALEX)
    assert "has decided here already" in task.why_not
    (task,) = tasks(bench, BILLIE)
    assert task.mine


def test_a_gate_that_is_open_waits_for_somebody_to_go_on(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    (task,) = tasks(bench, RESPONDER)
    assert (task.what, task.asks) == ("resume", "it is approved")


def test_a_gate_that_only_a_calendar_closes_is_nobodys_to_decide(tmp_path: Path) -> None:
    only_a_change = waiting("matrix: {medium: {other: {change: normal}, freeze: none}}\n", action("1"))
    (task,) = tasks(only_a_change(tmp_path), WHO["change_manager"])
    assert "for nobody's approval" in task.why_not


def test_work_by_hand_waits_for_its_role_until_somebody_does_it(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, manual("1", role=None), action("2")))
    (task,) = tasks(bench, BILLIE)
    assert (task.what, task.mine, task.asks) == ("manual", True, "for anybody known here")
    with bench.home() as home:
        claim(home, run, ALEX)
    (task,) = tasks(bench, BILLIE)
    assert (task.why_not, task.asks) == ("alex does it", "alex does it")
    assert tasks(bench, ALEX)[0].mine


def test_work_that_was_attested_waits_for_a_second_person(bench: Bench) -> None:
    second = manual("1", role=None).model_copy(update={"second": "change_manager"})
    run, _ = bench.run(a_plan(bench.world, second, action("2")))
    with bench.home() as home:
        attest(home, run, ALEX, {})
    (task,) = tasks(bench, ALEX)
    assert (task.what, task.mine) == ("confirm", False)
    assert "a second person has to confirm it" in task.why_not
    assert tasks(bench, BILLIE)[0].mine
    assert not tasks(bench, RESPONDER)[0].mine


def test_a_doubt_comes_first_and_waits_for_anybody_known(tmp_path: Path) -> None:
    bench = in_doubt(tmp_path)
    (task,) = tasks(bench, WHO["responder"])
    assert (task.what, task.name, task.asks, task.mine) == ("doubt", "Step 1 on a", "did it happen?", True)
    (task,) = tasks(bench, Identity(Person("stranger", "stranger"), "os-user"))
    assert "is not known" in task.why_not


def test_a_doubt_of_high_risk_waits_for_another_than_who_spoke_first(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1", word="x", answer="lost"))
    high = plan.runbook.model_dump(mode="json") | {"risk": "high"}
    plan = type(plan).model_validate({**plan.model_dump(mode="json", by_alias=True), "runbook": high})
    run, _ = bench.run(plan)
    with bench.home() as home:
        resolve(home, run, ALEX, step="1", target="a", resolution="applied", reason="I saw it")
    (task,) = tasks(bench, ALEX)
    assert (task.asks, task.mine) == ("alex says: applied", False)
    assert tasks(bench, BILLIE)[0].mine


def test_a_run_that_nobody_began_waits_for_somebody_to_go_on(bench: Bench) -> None:
    bench.create(a_plan(bench.world, action("1")))
    (task,) = tasks(bench, ALEX)
    assert (task.what, task.asks, task.mine) == ("resume", "nobody has begun it", True)


def test_a_run_that_wants_past_its_gates_waits_for_a_second_person(tmp_path: Path) -> None:
    (task,) = tasks(wanted(tmp_path), WHO["responder"])
    assert (task.what, task.asks) == ("glass", "it wants to go past its gates")


def test_what_cannot_be_told_is_not_left_out(bench: Bench) -> None:
    bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.settings.policy.write_text("matrix: [not, a, matrix]\n")
    (task,) = tasks(bench, ALEX)
    assert task.asks == "what it waits for cannot be told"
    assert "policy.yaml" in task.why_not


def test_a_run_that_is_over_waits_for_nobody(bench: Bench) -> None:
    bench.run(a_plan(bench.world, action("1")))
    assert tasks(bench, ALEX) == []


def test_how_far_a_run_has_come_is_told_by_its_last_step(bench: Bench) -> None:
    bench.run(a_plan(bench.world, action("1"), gate("2"), action("3")))
    with bench.home() as home:
        progress = run_progress(home, list_runs(home)[0])
    assert (progress.at, progress.steps) == (2, 3)
