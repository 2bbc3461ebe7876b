from __future__ import annotations

from pathlib import Path

import pytest
from builders.plans import a_plan, action, call
from builders.runs import Bench

from mimrun.app.undo import left_standing, plan_undo
from mimrun.errors import RunError
from mimrun.runbook.plan import PlannedAction, StepOptions

PIVOT = StepOptions(irreversible=True)


def undone(bench: Bench, run: str) -> list[str]:
    with bench.home() as home:
        return [str(node.targets[0].calls[0].args["word"]) for node in plan_undo(home, run).nodes
                if isinstance(node, PlannedAction)]  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def back(path: str, **more: object) -> PlannedAction:
    return action(path, undo=call("once", word=f"back{path}"), **more)  # type: ignore[arg-type]


def test_what_was_done_is_taken_back_in_reverse(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, back("1"), back("2")))
    assert undone(bench, run) == ["back2", "back1"]


def test_nothing_in_front_of_an_irreversible_step_is_taken_back_once_it_has_happened(bench: Bench) -> None:
    plan = a_plan(bench.world, back("1"), action("2", options=PIVOT), back("3"))
    run, _ = bench.run(plan)
    assert undone(bench, run) == ["back3"]


def test_behind_an_irreversible_step_alone_the_way_is_forward(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, back("1"), action("2", options=PIVOT)))
    with (
        bench.home() as home,
        pytest.raises(RunError, match="step 2 'Step 2' has happened; the way is forward"),
    ):
        plan_undo(home, run)


def test_an_irreversible_step_that_may_have_happened_counts_as_happened(bench: Bench) -> None:
    plan = a_plan(bench.world, back("1"), action("2", options=PIVOT, word="x", answer="failed"))
    run, _ = bench.run(plan)
    with bench.home() as home, pytest.raises(RunError, match="the way is forward"):
        plan_undo(home, run)


def test_an_irreversible_step_that_provably_did_not_happen_lets_the_rest_be_taken_back(bench: Bench) -> None:
    plan = a_plan(bench.world, back("1"), action("2", options=PIVOT, word="x", answer="unreachable"))
    run, _ = bench.run(plan)
    assert undone(bench, run) == ["back1"]


def test_what_stays_as_it_is_is_named(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, back("1"), action("2", options=PIVOT), back("3")))
    with bench.home() as home:
        assert left_standing(home, run) == ["1 Step 1", "2 Step 2"]
