"""What was erased from the log is missed only where something is decided by it, and then it is said."""

from __future__ import annotations

import pytest
from builders.plans import a_plan, action
from builders.runs import ALEX, RESPONDER, Bench

from mimrun.app.redacting import redact_entry
from mimrun.app.replaying import entries_of, narrate, redecide
from mimrun.app.runs import load_plan
from mimrun.errors import ErasedError
from mimrun.log.kinds import Kind
from mimrun.replay.against import Trial
from mimrun.replay.comparison import Comparison
from mimrun.replay.weighing import weigh
from mimrun.runbook.node import StepOptions
from mimrun.runbook.plan import Plan

READ = StepOptions.model_validate({"register": "all", "delay_ms": 1})


def erase(bench: Bench, run: str, kind: Kind, name: str, *, step: str = "") -> int:
    """Let two people erase content of a run's first entry of a kind; gives the entry."""
    with bench.home() as home:
        found = (e for e in home.store.entries(run=run, kinds={kind}) if e.step == step)
        seq = next(found).seq
        redact_entry(home, RESPONDER, seq, "personal", [name])
        redact_entry(home, ALEX, seq, "personal", [name])
    return seq


def again(bench: Bench, run: str) -> Comparison:
    with bench.home() as home:
        return redecide(home, run)


def against(bench: Bench, run: str, now: Plan) -> Comparison:
    with bench.home() as home:
        entries = entries_of(home, run)
        trial = Trial(run, entries, load_plan(home, run), now, home.store)
        return weigh(run, entries, trial.play(), taken=())


def test_without_its_plan_a_run_is_told_and_cannot_be_decided_again(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", hosts=("a", "b")), action("2"), hosts=("a", "b")))
    erase(bench, run, Kind.PLAN_FROZEN, "plan")
    with bench.home() as home:
        told = narrate(home, run)
    assert [(row.path, row.name, row.targets) for row in told.rows] == [
        ("1", "Step 1", ("a", "b")),
        ("2", "Step 2", ("a",)),
    ]
    assert told.board_at(len(told.frames) - 1)["1"]["b"] == "changed"
    (missing,) = told.missing
    assert "was erased by alex" in missing
    with pytest.raises(ErasedError, match="was erased by alex"):
        again(bench, run)


def test_an_erased_answer_that_something_was_decided_by_leaves_the_verdict_open(bench: Bench) -> None:
    plan = a_plan(
        bench.world,
        action("1"),
        action("2", "read", options=READ),
        action("3", when="all.words | length == 1"),
    )
    run, _ = bench.run(plan)
    seq = erase(bench, run, Kind.STEP_OUTCOME, "data", step="2")
    found = again(bench, run)
    assert (found.verdict, found.exit_code) == ("unknown", 5)
    assert found.missing[0].startswith(f"entry {seq}: ")
    assert found.divergence is not None
    assert found.divergence.step == "3"
    tried = against(bench, run, plan)
    assert (tried.verdict, tried.exit_code) == ("unknown", 5)
    assert "was erased by alex" in tried.missing[0]
    assert tried.replayed.status == "unknown"


def test_an_erased_answer_that_nothing_was_decided_by_is_not_missed(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"), action("2", "read"), action("3"))
    run, _ = bench.run(plan)
    erase(bench, run, Kind.STEP_OUTCOME, "data", step="2")
    assert again(bench, run).verdict == "same"
    assert against(bench, run, plan).verdict == "same"


def test_erased_arguments_are_known_from_the_plan(bench: Bench) -> None:
    plan = a_plan(
        bench.world, action("1", word="w"), action("2", loop=["x"], late=["item"], word="w{{ item }}")
    )
    run, _ = bench.run(plan)
    erase(bench, run, Kind.STEP_INTENT, "args", step="1")
    erase(bench, run, Kind.STEP_INTENT, "args", step="2")
    assert again(bench, run).verdict == "same"
    assert against(bench, run, plan).verdict == "same"
