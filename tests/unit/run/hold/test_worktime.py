"""Time: how long a run may be at work, how long a cell may be tried, how long batches wait for one another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders.entries import (
    AT,
    CREATED,
    FROZEN,
    cell_entry,
    ended,
    entry,
    history,
    intent,
    outcome,
    started,
)
from builders.plans import a_plan, action, block, gate, parallel, serial
from builders.runs import Bench
from builders.world import World, WorldAction, words
from hypothesis import given
from hypothesis import strategies as st

from mimrun.catalog import Catalog
from mimrun.connector import Call, Effect, LostAnswer, Outcome
from mimrun.errors import StoreError
from mimrun.log.kinds import (
    Body,
    Kind,
    RunStarted,
    RunWaiting,
    StepEvidence,
    StepInDoubt,
    StepIntent,
    StepResolved,
    StepStarted,
)
from mimrun.run.cell.move import Move, is_late, next_move, timeout_ms
from mimrun.run.hold.stop import Stop
from mimrun.run.hold.worktime import TimeOver, heed_time, time_left
from mimrun.run.record.fold import fold
from mimrun.run.record.state import Cell, CellKey
from mimrun.run.record.transitions import CellStatus
from mimrun.runbook.node import StepOptions

Hooks = dict[str, Callable[[], object]]
WAITS = RunWaiting(on="gate", reason="needs one")
NOT_APPLIED = StepResolved(resolution="not_applied", reason="looked", intent=4)
LATE = StepEvidence(status="ok", reason="it came too late", intent=4)
BEGINS = StepStarted(name="A", form="world.once", targets=("a",))


def worked(*bodies: Body | None, at: int) -> float:
    """Fold entries that are a second apart (None is a second in which nothing is written), and look at a moment."""
    told = [entry(body, seq) for seq, body in enumerate(bodies, start=1) if body is not None]
    return fold(told).at_work(AT + timedelta(seconds=at)).total_seconds()


@pytest.mark.parametrize(
    ("bodies", "at", "seconds"),
    [
        ([FROZEN, CREATED], 90, 0),
        ([FROZEN, CREATED, started(1)], 13, 10),
        ([FROZEN, CREATED, started(1), None, WAITS], 90, 2),
        ([FROZEN, CREATED, started(1), None, WAITS, None, None, started(2)], 9, 3),
        ([FROZEN, CREATED, started(1), BEGINS, None, None, None, started(2)], 9, 2),
        ([FROZEN, CREATED, started(1), BEGINS, None, LATE, None, started(2)], 9, 2),
        ([FROZEN, CREATED, started(1), None, ended("failed")], 90, 2),
    ],
    ids=[
        "not begun",
        "at work",
        "waiting does not count",
        "again at work",
        "nor does lying dead",
        "nor what comes late",
        "over",
    ],
)
def test_only_time_at_work_counts(bodies: list[Body | None], at: int, seconds: int) -> None:
    assert worked(*bodies, at=at) == seconds


@given(st.lists(st.sampled_from(["work", "wait", "die"]), max_size=12))
def test_a_run_is_never_longer_at_work_than_has_passed_and_never_shorter_than_before(
    turns: list[str],
) -> None:
    bodies: list[Body] = [FROZEN, CREATED, started(1)]
    epoch, before = 1, 0.0
    for turn in turns:
        if turn == "work":
            bodies.append(BEGINS)
        elif turn == "wait":
            bodies.append(WAITS)
        if turn != "work":
            epoch += 1
            bodies.append(started(epoch))
        now = worked(*bodies, at=len(bodies))
        assert before <= now <= len(bodies)
        before = now


def test_time_is_over_from_the_moment_on_that_is_named() -> None:
    plan = a_plan(Path("/world"), action("1"), timeout_ms=10_000)
    state = fold([entry(body, seq) for seq, body in enumerate([FROZEN, CREATED, started(1)], start=1)])
    begun = AT + timedelta(seconds=3)
    assert time_left(plan, state, begun) == timedelta(seconds=10)
    heed_time(plan, state, begun + timedelta(seconds=9.999))
    with pytest.raises(TimeOver, match="its time is over: the run was at work for 10s"):
        heed_time(plan, state, begun + timedelta(seconds=10))


def test_a_run_whose_time_is_over_fails_and_begins_no_rescue(bench: Bench, hooks: Hooks) -> None:
    hooks["slow"] = lambda: time.sleep(0.5)
    steps = block(
        "1",
        [action("1.block.1", "hook", word="slow"), action("1.block.2")],
        rescue=[action("1.rescue.1")],
        always=[action("1.always.1")],
    )
    run, verdict = bench.run(a_plan(bench.world, steps, action("2"), timeout_ms=400))
    assert (verdict.status, verdict.exit_code) == ("failed", 1)
    assert verdict.detail == "its time is over: the run was at work for 400ms"
    assert words(bench.world) == ["a:slow"], "what was under way is finished, and nothing else is begun"
    assert bench.kinds(run)[-1] == "run.ended"


def test_in_the_middle_of_a_step_the_guard_says_that_time_is_over(bench: Bench, hooks: Hooks) -> None:
    hooks["x"] = lambda: time.sleep(0.5)
    step = action("1", "hook", loop=["x", "y"], late=["item"], word="{{ item }}")
    run, verdict = bench.run(a_plan(bench.world, step, timeout_ms=400))
    assert verdict.status == "failed"
    assert verdict.detail.startswith("its time is over")
    with bench.home() as home:
        tripped = list(home.store.entries(run=run, kinds={Kind.GUARD_TRIPPED}))
    assert [getattr(one.body, "guard", "") for one in tripped] == ["time"]
    assert words(bench.world) == ["a:x"]


def test_waiting_for_people_takes_nothing_of_a_runs_time(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), gate("2"), action("3"), timeout_ms=60_000))
    assert bench.state(run).at_work_since is None
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    assert timedelta() < bench.state(run).worked < timedelta(seconds=30)


# Deadlines of a step.


@pytest.mark.parametrize(
    ("passed_ms", "delay_ms", "late"),
    [
        (0, 100, False),
        (800, 100, False),
        (899, 100, False),
        (900, 100, True),
        (2000, 100, True),
        (0, 1000, True),
    ],
)
def test_a_deadline_is_missed_when_no_other_attempt_could_begin_before_it(
    passed_ms: int, delay_ms: int, *, late: bool
) -> None:
    options = StepOptions(deadline_ms=1000, delay_ms=delay_ms)
    now = AT + timedelta(milliseconds=passed_ms)
    assert is_late(Cell(since=AT), options, now) is late
    assert not is_late(Cell(since=AT), StepOptions(delay_ms=delay_ms), now)


@pytest.mark.parametrize(
    ("status", "effect", "then"),
    [
        (CellStatus.READY, Effect.ONCE, Move.TRY),
        (CellStatus.FAILED, Effect.IDEMPOTENT, Move.STOP),
        (CellStatus.OK, Effect.READ, Move.STOP),
        (CellStatus.UNKNOWN, Effect.READ, Move.TRY),
        (CellStatus.UNKNOWN, Effect.PROBE, Move.DOUBT),
        (CellStatus.PERFORMING, Effect.ONCE, Move.SETTLE),
    ],
)
def test_behind_its_deadline_a_cell_is_settled_and_not_tried_again(
    status: CellStatus, effect: Effect, then: Move
) -> None:
    cell = Cell(status=status, attempts=int(status is not CellStatus.READY))
    assert next_move(cell, effect, retries=9, until_unmet=status is CellStatus.OK, late=True) is then


@pytest.mark.parametrize(("passed_ms", "bound"), [(0, 500), (600, 400), (999, 1), (1000, 500), (5000, 500)])
def test_an_attempt_takes_no_longer_than_until_the_deadline(passed_ms: int, bound: int) -> None:
    options = StepOptions(deadline_ms=1000, timeout_ms=500)
    assert timeout_ms(Cell(since=AT), options, AT + timedelta(milliseconds=passed_ms)) == bound


def test_what_never_comes_true_ends_at_its_deadline_and_not_with_its_attempts(bench: Bench) -> None:
    options = StepOptions(until="result.words | length > 5", retries=10_000, delay_ms=20, deadline_ms=300)
    began = time.monotonic()
    run, verdict = bench.run(a_plan(bench.world, action("1", "read", options=options)))
    assert verdict.status == "failed"
    assert "(the deadline was 300ms)" in verdict.detail
    assert 2 <= bench.state(run).cells[CellKey("1", "a")].attempts < 100
    assert time.monotonic() - began < 20


def test_a_deadline_is_counted_from_the_first_intent_also_of_a_worker_that_died() -> None:
    bodies = [intent(Effect.READ), outcome("failed", 4), started(2), intent(Effect.READ)]
    told = [*history([FROZEN, CREATED, started(1)])]
    told += [
        entry(body, seq) if isinstance(body, RunStarted) else cell_entry(body, seq, 1 if seq < 6 else 2)
        for seq, body in enumerate(bodies, start=4)
    ]
    assert fold(told).cells[CellKey("1", "a")].since == AT + timedelta(seconds=4)


def test_a_person_who_says_that_nothing_happened_lets_a_deadline_begin_anew() -> None:
    bodies = [intent(), outcome("unknown", 4), StepInDoubt(reason="lost", intent=4), NOT_APPLIED]
    told = [*history([FROZEN, CREATED, started(1)])]
    told += [cell_entry(body, seq) for seq, body in enumerate(bodies, start=4)]
    assert fold(told).cells[CellKey("1", "a")].since is None
    told.append(cell_entry(intent(), 8))
    assert fold(told).cells[CellKey("1", "a")].since == AT + timedelta(seconds=8)


# Pauses between batches.


def test_batches_wait_for_one_another(bench: Bench) -> None:
    plan = a_plan(bench.world, serial("1", [["a"], ["b"]], pause_ms=400), hosts=["a", "b"])
    run, verdict = bench.run(plan)
    assert verdict.status == "succeeded"
    with bench.home() as home:
        entries = list(home.store.entries(run=run))
    ended_at = next(e.ts for e in entries if e.step == "1.batch.1.block.1" and e.kind is Kind.STEP_FINISHED)
    began_at = next(e.ts for e in entries if e.step == "1.batch.2.block.1")
    assert began_at - ended_at >= timedelta(milliseconds=400)


def test_a_run_that_is_cancelled_in_a_pause_ends_at_once(bench: Bench) -> None:
    run = bench.create(a_plan(bench.world, serial("1", [["a"], ["b"]], pause_ms=3_600_000), hosts=["a", "b"]))
    thread = threading.Thread(target=bench.execute, args=(run,))
    thread.start()
    while "1.batch.1.block.1" not in bench.state(run).finished:
        assert thread.is_alive()
        thread.join(0.02)
    bench.cancel(run)
    thread.join(20)
    assert bench.state(run).status == "cancelled"
    assert words(bench.world) == ["a:w1.batch.1.block.1"]


def test_a_pause_that_has_passed_is_not_waited_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = a_plan(bench.world, serial("1", [["a"], ["b"], ["c"]], pause_ms=1500), hosts=["a", "b", "c"])
    run = bench.create(plan)
    waited: list[float] = []

    def dies(stop: Stop, seconds: float) -> bool:
        waited.append(seconds)
        raise StoreError("the process ends in the pause")

    monkeypatch.setattr(Stop, "wait", dies)
    with pytest.raises(StoreError):
        bench.execute(run)
    over = bench.state(run).finished_at["1.batch.1.block.1"] + timedelta(milliseconds=1500)
    while datetime.now(UTC) < over:
        threading.Event().wait(0.05)
    with pytest.raises(StoreError):
        bench.execute(run)
    assert words(bench.world) == ["a:w1.batch.1.block.1", "b:w1.batch.2.block.1"]
    assert len(waited) == 2
    assert all(1.0 < seconds <= 1.5 for seconds in waited), (
        "each pause is waited for once, from the log's time on"
    )


def test_a_pause_in_a_branch_ends_when_another_branch_has_failed(bench: Bench, hooks: Hooks) -> None:
    began = threading.Event()
    hooks["first"] = began.set
    batches = serial("1.branch.1", [["a"], ["b"]], "hook", pause_ms=3_600_000, word="first")
    failing = block(
        "1.branch.2",
        [action("1.branch.2.block.1", "hook", hosts=["c"], word="late", options=StepOptions(expect="false"))],
    )
    hooks["late"] = lambda: began.wait(20)
    run, verdict = bench.run(a_plan(bench.world, parallel("1", batches, failing), hosts=["a", "b", "c"]))
    assert verdict.status == "failed"
    assert "1.branch.1.batch.2.block.1" not in bench.state(run).started


def test_a_batch_that_was_left_out_as_a_whole_is_not_waited_for(bench: Bench) -> None:
    node = serial("1", [["a"], ["b"]], pause_ms=3_600_000)
    first = node.batches[0].model_copy(update={"when": "false"})
    node = node.model_copy(update={"batches": (first, node.batches[1])})
    assert bench.run(a_plan(bench.world, node, hosts=["a", "b"]))[1].status == "succeeded"
    assert words(bench.world) == ["b:w1.batch.2.block.1"]


class Patient(World):
    """A world in which everything takes as long as it may."""

    def _perform(self, action: WorldAction, call: Call) -> Outcome:
        call.stop.wait(call.left())
        raise LostAnswer("not ended by its deadline")


@pytest.mark.parametrize(("verb", "status"), [("idempotent", "failed"), ("once", "in_doubt")])
def test_an_attempt_ends_when_the_time_of_its_run_is_over(tmp_path: Path, verb: str, status: str) -> None:
    bench = Bench(tmp_path, Catalog(connectors={"world": Patient}))
    began = time.monotonic()
    slow = action("1", verb, options=StepOptions(retries=3, delay_ms=1) if verb == "idempotent" else None)
    run, verdict = bench.run(a_plan(bench.world, slow, action("2"), timeout_ms=600))
    assert time.monotonic() - began < 5
    assert verdict.status == status
    with bench.home() as home:
        intents = [one.body for one in home.store.entries(run=run, kinds={Kind.STEP_INTENT})]
    assert len(intents) == 1
    assert isinstance(intents[0], StepIntent)
    assert intents[0].deadline_ms <= 600, "the intent says until when it may act"
