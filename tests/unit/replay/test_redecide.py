from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders.plans import a_plan, action, block, call, check, gate, include, manual, parallel, serial
from builders.runs import ALEX, BILLIE, Bench
from builders.wild import wild_plan
from builders.world import HOOKS

from mimrun.app.decisions import attest, decide, pending_gate, request_cancel
from mimrun.app.replaying import redecide
from mimrun.app.undo import plan_undo
from mimrun.gate import approval
from mimrun.log.entry import Draft
from mimrun.log.kinds import Kind
from mimrun.replay.comparison import Comparison
from mimrun.run.cell import attempt
from mimrun.run.cell.move import Move
from mimrun.run.journal import Journal
from mimrun.run.record.state import CellKey
from mimrun.run.walk import fanout, roster, spot
from mimrun.runbook.node import StepOptions


def again(bench: Bench, run: str) -> Comparison:
    with bench.home() as home:
        return redecide(home, run)


def same(bench: Bench, run: str) -> Comparison:
    found = again(bench, run)
    assert found.divergence is None, found.divergence
    assert (found.verdict, found.exit_code) == ("same", 0)
    return found


def test_a_run_with_people_doubts_loops_and_looks_is_decided_the_same_again(bench: Bench) -> None:
    plan = a_plan(
        bench.world,
        action("1", hosts=("a", "b")),
        gate("2"),
        manual("3"),
        action("4", "idempotent", loop=["x", "y"], late=["item"], word="w{{ item }}"),
        action("5", word="w5", answer="lost"),
        action("6", "read", options=StepOptions.model_validate({"register": "all", "delay_ms": 1})),
        action("7", word="w7", when="all.words | length > 3", verify=check("'a:w7' in result.words")),
        hosts=("a", "b"),
    )
    run, _ = bench.run(plan)
    bench.approve(run)
    bench.execute(run)
    with bench.home() as home:
        attest(home, run, ALEX, {})
    bench.execute(run)
    bench.settle(run, CellKey("5", "a"), applied=True)
    assert bench.execute(run).status == "succeeded"
    found = same(bench, run)
    assert found.sessions == 4
    assert found.compared >= 30
    assert found.recorded == found.replayed


def test_failures_rescues_branches_and_batches_are_decided_the_same_again(bench: Bench) -> None:
    broken = action("1.block.1", word="w", answer="failed")
    plan = a_plan(
        bench.world,
        block("1", [broken], [action("1.rescue.1", hosts=("a", "b"))], [action("1.always.1", hosts=("b",))]),
        serial("2", [["a"], ["b"], ["c"]], "probe", "idempotent"),
        parallel(
            "3",
            block("3.branch.1", [action("3.branch.1.block.1", hosts=("a",)), action("3.branch.1.block.2")]),
            block("3.branch.2", [action("3.branch.2.block.1", hosts=("b", "c"))]),
            on_failure="finish",
            max_failures=1,
        ),
        include("4", action("4.include.1", notify=("4.include.h1",))),
        hosts=("a", "b", "c"),
        failures=1,
        handlers=[action("4.include.h1", "idempotent", word="told")],
    )
    run, _ = bench.run(plan)
    same(bench, run)


@pytest.mark.parametrize("seed", range(12))
def test_plans_that_nobody_would_write_are_decided_the_same_again(tmp_path: Path, seed: int) -> None:
    bench = Bench(tmp_path)
    run, _ = bench.run(wild_plan(seed, bench.world))
    same(bench, run)


def test_retries_and_their_end_are_decided_the_same_again(bench: Bench) -> None:
    options = StepOptions(delay_ms=1, retries=2)
    plan = a_plan(
        bench.world,
        action("1", "idempotent", word="w", answer="lost-before", options=options),
        action("2", "read", options=StepOptions(until="result.words | length > 9", retries=2, delay_ms=1)),
        action("3", "probe", word="w3", answer="lost", options=options),
        failures=1,
    )
    run, _ = bench.run(plan)
    same(bench, run)


def test_an_undo_run_is_decided_the_same_again(bench: Bench) -> None:
    step = action(
        "1", "idempotent", word="w", undo=call("idempotent", word="back"), capture=call("read"), hosts=("a",)
    )
    run, _ = bench.run(a_plan(bench.world, step, action("2", undo=call("once", word="gone"))))
    with bench.home() as home:
        plan = plan_undo(home, run)
    undo, _ = bench.run(plan)
    same(bench, run)
    same(bench, undo)


def test_a_run_whose_worker_died_is_decided_the_same_again(bench: Bench) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    HOOKS["die"] = die
    try:
        plan = a_plan(bench.world, action("1"), action("2", "hook", word="die"), action("3"))
        run = bench.create(plan)
        with pytest.raises(KeyboardInterrupt):
            bench.execute(run)
    finally:
        HOOKS.clear()
    assert bench.execute(run).status == "in_doubt"
    bench.settle(run, CellKey("2", "a"), applied=False)
    HOOKS["die"] = lambda: None
    assert bench.execute(run).status == "succeeded"
    HOOKS.clear()
    assert same(bench, run).sessions == 3


def test_a_run_that_somebody_cancelled_is_decided_the_same_again(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"), action("2", "hook", word="stop"), action("3"))
    run = bench.create(plan)

    def stop() -> None:
        with bench.home() as home:
            request_cancel(home, run, ALEX, "enough")

    HOOKS["stop"] = stop
    try:
        assert bench.execute(run).status == "cancelled"
    finally:
        HOOKS.clear()
    same(bench, run)


def test_a_gate_that_was_rejected_or_needed_two_is_decided_the_same_again(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1", count=2), action("2")))
    bench.approve(run, ALEX)
    bench.execute(run)
    bench.approve(run, BILLIE)
    bench.execute(run)
    same(bench, run)
    other, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home:
        pending = pending_gate(home, other)
        decide(home, pending, ALEX, "rejected", digest=pending.request.digest, reason="not now")
    assert bench.execute(other).status == "failed"
    same(bench, other)


# What today's code decides differently is found, and named.


def a_run(bench: Bench) -> str:
    plan = a_plan(
        bench.world,
        action("1", "idempotent", hosts=("a", "b"), word="w1"),
        action(
            "2",
            "idempotent",
            hosts=("b",),
            loop=["lost-before", "ok"],
            late=["item"],
            word="w2",
            answer="{{ item }}",
            options=StepOptions(delay_ms=1, retries=1),
        ),
        hosts=("a", "b"),
        failures=1,
    )
    run, _ = bench.run(plan)
    same(bench, run)
    return run


def test_another_number_of_attempts_is_found_where_it_makes_the_first_difference(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(bench)
    real = attempt.next_move

    def impatient(*args: Any, retries: int, **more: Any) -> Move:
        return real(*args, retries=0, **more)

    monkeypatch.setattr(attempt, "next_move", impatient)
    monkeypatch.setattr(attempt, "last_word", lambda outcome, *_, **__: outcome)
    found = again(bench, run)
    assert found.exit_code == 1
    assert found.divergence is not None
    assert (found.divergence.step, found.divergence.target, found.divergence.item) == ("2", "b", 1)
    assert found.divergence.name == "Step 2"


def test_a_failure_that_is_not_counted_any_more_is_found(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = a_plan(bench.world, action("1", word="w", answer="failed"), action("2"))
    run, _ = bench.run(plan)
    monkeypatch.setattr(fanout, "has_failed", lambda _: False)
    found = again(bench, run)
    assert found.verdict == "differs"
    assert found.divergence is not None
    assert found.divergence.step == "1"
    assert found.divergence.recorded.startswith("end the step: failed")
    assert found.divergence.today == "end the step: ok"
    assert [one.what for one in found.divergence.differences] == ["status"]


def test_a_condition_that_is_read_differently_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = a_plan(bench.world, action("1"), action("2", when="inventory_hostname == 'b'"), action("3"))
    run, _ = bench.run(plan)
    monkeypatch.setattr(fanout.Facts, "unmet", lambda *_: None)
    found = again(bench, run).divergence
    assert found is not None
    assert (found.step, found.target) == ("2", "a")
    assert found.recorded.startswith("leave it out: when:")
    assert found.today == "do world.once (once)"


def test_a_template_that_is_filled_in_differently_is_found(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = action("1", loop=["x"], late=["item"], word="w{{ item }}")
    run, _ = bench.run(a_plan(bench.world, step))
    real = spot.render_call

    def louder(*args: Any) -> Any:
        made = real(*args)
        return made.model_copy(update={"args": {"word": str(made.args["word"]).upper()}})

    monkeypatch.setattr(spot, "render_call", louder)
    found = again(bench, run).divergence
    assert found is not None
    assert found.differences[0] == ("args word", "wx", "WX")


def test_votes_that_are_counted_differently_are_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    bench.execute(run)
    same(bench, run)
    monkeypatch.setattr(approval, "_is_fresh", lambda *_: False)
    found = again(bench, run).divergence
    assert found is not None
    assert found.step == "1"
    assert found.recorded == "open the gate, by approvals"
    assert found.today.startswith("let the run rest, for gate")


def test_a_gate_that_opens_for_fewer_people_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1", count=2), action("2")))
    bench.approve(run, ALEX)
    bench.execute(run)
    bench.approve(run, BILLIE)
    bench.execute(run)
    same(bench, run)
    monkeypatch.setattr(approval, "_missing", lambda _, approvers, __: {} if approvers else {"x": 1})
    found = again(bench, run).divergence
    assert found is not None
    assert found.step == "1"
    assert found.recorded.startswith("let the run rest, for gate")
    assert found.today.startswith("open the gate, by approvals")


def test_a_gate_that_opens_although_somebody_said_no_is_found(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run, BILLIE)
    with bench.home() as home:
        pending = pending_gate(home, run)
        decide(home, pending, ALEX, "rejected", digest=pending.request.digest, reason="not now")
    assert bench.execute(run).status == "failed"
    same(bench, run)
    monkeypatch.setattr(approval, "may_decide", lambda *_: False)
    found = again(bench, run).divergence
    assert found is not None
    assert found.recorded.startswith("close the gate, rejected")
    assert found.today == "open the gate, by approvals"


def test_another_limit_on_failures_is_found_at_the_step_that_went_on_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = a_plan(
        bench.world,
        action(
            "1",
            hosts=("a", "b"),
            word="w",
            answer="{{ 'failed' if colour == 'ca' else 'ok' }}",
            late=["colour"],
        ),
        action("2", hosts=("b",)),
        hosts=("a", "b"),
        failures=1,
    )
    run, _ = bench.run(plan)
    same(bench, run)
    monkeypatch.setattr(roster.Allowance, "is_exceeded", lambda self, failed: bool(failed))
    found = again(bench, run).divergence
    assert found is not None
    assert found.step == "1"


def test_a_lock_that_is_kept_or_let_go_of_otherwise_is_found(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = a_plan(bench.world, action("1"), action("2", word="w", answer="lost")).model_copy(
        update={"locks": ("db/one", "db/two")}
    )
    run, _ = bench.run(plan)
    bench.settle(run, CellKey("2", "a"), applied=True)
    assert bench.execute(run).status == "succeeded"
    same(bench, run)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_releases", lambda _: [])
        found = again(bench, run).divergence
        assert found is not None
        assert found.today == "keep the lock db/one"
    real = Journal.write

    def hasty(self: Journal, *drafts: Draft) -> Any:
        early = [self.draft(body) for body in self._releases()] if drafts[0].kind is Kind.RUN_WAITING else []
        return real(self, *drafts, *early)

    monkeypatch.setattr(Journal, "write", hasty)
    found = again(bench, run).divergence
    assert found is not None
    assert (found.recorded, found.today) == ("", "let go of the lock db/one")


def test_what_today_does_besides_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), action("2", "read")))
    longer = a_plan(bench.world, action("1"), action("2", "read"), action("3"))
    monkeypatch.setattr("mimrun.app.replaying.load_plan", lambda *_: longer)
    found = again(bench, run).divergence
    assert found is not None
    assert found.step == "3"
    assert found.recorded.startswith("end the run: succeeded")
    assert found.today == "begin the step on a"


def test_a_comparison_is_plain_json(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(bench)
    monkeypatch.setattr(fanout, "has_failed", lambda _: True)
    found = again(bench, run).as_json()
    assert json.loads(json.dumps(found)) == found
    assert found["exit_code"] == 1
