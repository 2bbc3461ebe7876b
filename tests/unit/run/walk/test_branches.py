"""Branches at once: whom they lose, what they learn, how one that fails ends the others, what a resume sees."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from builders.plans import a_plan, action, block, parallel, serial
from builders.runs import RESPONDER, Bench
from builders.world import World, lines, words
from structlog.contextvars import get_contextvars

from mimrun.app.decisions import request_cancel, resolve
from mimrun.errors import GateError, LeaseError, StoreError
from mimrun.log.entry import Draft
from mimrun.log.kinds import Kind
from mimrun.log.sqlite.store import SqliteStore
from mimrun.run.hold.stop import Halt
from mimrun.run.journal import Journal
from mimrun.run.record.state import CellKey
from mimrun.run.walk.result import gravest
from mimrun.runbook.node import PlannedAction, PlannedBlock, StepOptions
from mimrun.runbook.plan import Plan

Hooks = dict[str, Callable[[], object]]
AB = ["a", "b"]


def branch(number: int, *steps: PlannedAction) -> PlannedBlock:
    return block(f"1.branch.{number}", steps)


def at(number: int, step: int, verb: str = "once", **rest: Any) -> PlannedAction:
    return action(f"1.branch.{number}.block.{step}", verb, **rest)


def two(bench: Bench, left: Sequence[PlannedAction], right: Sequence[PlannedAction], **rest: Any) -> Plan:
    """Give a plan with two branches and a step behind them."""
    options = {"on_failure": rest.pop("on_failure", "stop"), "max_failures": rest.pop("branches", 0)}
    join = parallel("1", branch(1, *left), branch(2, *right), **options)
    return a_plan(bench.world, join, action("2", hosts=AB), hosts=AB, **rest)


def test_branches_are_worked_on_at_the_same_time(bench: Bench, hooks: Hooks) -> None:
    both = threading.Barrier(2)
    hooks["left"] = hooks["right"] = lambda: both.wait(20)
    plan = two(bench, [at(1, 1, "hook", word="left")], [at(2, 1, "hook", hosts=["b"], word="right")])
    _, verdict = bench.run(plan)
    assert verdict.status == "succeeded"
    assert sorted(words(bench.world)) == ["a:left", "a:w2", "b:right", "b:w2"]
    assert bench.is_intact()


def test_two_branches_on_one_target_have_a_connection_each(
    bench: Bench, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, used = threading.Barrier(2), list[World]()
    perform = World._perform

    def noted(world: World, *given: Any) -> Any:
        used.append(world)
        return perform(world, *given)

    monkeypatch.setattr(World, "_perform", noted)
    hooks["left"] = hooks["right"] = lambda: both.wait(20)
    plan = two(bench, [at(1, 1, "hook", word="left")], [at(2, 1, "hook", word="right")])
    assert bench.run(plan)[1].status == "succeeded"
    assert used[0] is not used[1]
    assert any(later is one for later in used[2:] for one in used[:2]), "afterwards one of them is used again"


def test_when_a_branch_fails_the_other_begins_no_further_step(bench: Bench, hooks: Hooks) -> None:
    failed = threading.Event()
    hooks["slow"] = lambda: failed.wait(20)
    left = [at(1, 1, word="x", answer="failed")]
    right = [at(2, 1, "hook", hosts=["b"], word="slow"), at(2, 2, hosts=["b"], word="never")]
    run = bench.create(two(bench, left, right))
    with once_finished(bench, run, "1.branch.1.block.1", failed):
        verdict = bench.execute(run)
    assert verdict.status == "failed"
    assert "1 of 2 branches of 'Parallel 1' failed and 0 may" in verdict.detail
    assert "not gone on with: 'Block 1.branch.2'" in verdict.detail
    assert words(bench.world) == ["b:slow"], "what was under way was finished"
    assert bench.state(run).started == {"1.branch.1.block.1", "1.branch.2.block.1"}


def test_with_finish_the_other_branch_comes_to_its_end_first(bench: Bench, hooks: Hooks) -> None:
    failed = threading.Event()
    hooks["slow"] = lambda: failed.wait(20)
    left = [at(1, 1, word="x", answer="failed")]
    right = [at(2, 1, "hook", hosts=["b"], word="slow"), at(2, 2, hosts=["b"], word="last")]
    run = bench.create(two(bench, left, right, on_failure="finish"))
    with once_finished(bench, run, "1.branch.1.block.1", failed):
        assert bench.execute(run).status == "failed"
    assert words(bench.world) == ["b:slow", "b:last"]


class once_finished:  # noqa: N801 - it reads as a clause
    """Set an event once a step is over by the log."""

    def __init__(self, bench: Bench, run: str, step: str, event: threading.Event) -> None:
        def look() -> None:
            for _ in range(400):
                if event.wait(0.05) or step in bench.state(run).finished:
                    break
            event.set()

        self._thread = threading.Thread(target=look)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()


@pytest.mark.parametrize("allowed", range(5))
@pytest.mark.parametrize("failed", range(4))
def test_a_parallel_step_fails_when_more_branches_have_failed_than_may(
    bench: Bench, failed: int, allowed: int
) -> None:
    hosts = ["a", "b", "c", "d"]
    branches = [
        action(f"1.branch.{n + 1}", hosts=[hosts[n]], word="x", answer="failed" if n < failed else "ok")
        for n in range(3)
    ]
    join = parallel("1", *branches, max_failures=allowed, on_failure="finish")
    plan = a_plan(bench.world, join, action("2", hosts=hosts), hosts=hosts, failures=4)
    status = bench.run(plan)[1].status
    assert status == ("failed" if failed > allowed else "succeeded")
    assert ("d:w2" in words(bench.world)) is (status == "succeeded")


def test_branches_do_not_widen_what_the_run_may_lose(bench: Bench) -> None:
    branches = [action(f"1.branch.{n}", hosts=[h], word="x", answer="failed") for n, h in enumerate(AB, 1)]
    join = parallel("1", *branches, max_failures=2, on_failure="finish")
    plan = a_plan(bench.world, join, action("2", hosts=["c"]), hosts=["a", "b", "c"], failures=1)
    verdict = bench.run(plan)[1]
    assert verdict.status == "failed"
    assert "2 hosts of the run failed and 1 may" in verdict.detail


FAILS_ON_A = {
    "late": ["inventory_hostname"],
    "answer": "{{ 'failed' if inventory_hostname == 'a' else 'ok' }}",
}


def test_a_host_that_failed_in_one_branch_is_out_for_the_other_only_behind_the_join(
    bench: Bench, hooks: Hooks
) -> None:
    failed = threading.Event()
    hooks["slow"] = lambda: failed.wait(20)
    left = [at(1, 1, hosts=AB, word="left", **FAILS_ON_A)]
    right = [at(2, 1, "hook", word="slow"), at(2, 2, hosts=AB, word="right")]
    run = bench.create(two(bench, left, right, failures=1))
    with once_finished(bench, run, "1.branch.1.block.1", failed):
        assert bench.execute(run).status == "succeeded"
    assert sorted(words(bench.world)) == ["a:right", "a:slow", "b:left", "b:right", "b:w2"]


def test_in_doubt_in_one_branch_lets_the_other_come_to_its_end(bench: Bench) -> None:
    left = [at(1, 1, word="x", answer="lost"), at(1, 2, word="behind")]
    right = [at(2, n, hosts=["b"]) for n in (1, 2, 3)]
    run, verdict = bench.run(two(bench, left, right))
    assert verdict.status == "in_doubt"
    assert [word for word in words(bench.world) if word.startswith("b:")] == [
        f"b:w1.branch.2.block.{n}" for n in (1, 2, 3)
    ]
    with bench.home() as home:
        resolve(home, run, RESPONDER, step="1.branch.1.block.1", resolution="applied", reason="saw it")
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world)[4:5] == ["a:behind"]
    assert len(words(bench.world)) == 7, "nothing was done twice"


def test_a_doubt_weighs_more_than_a_failure_and_no_rescue_begins_before_it_is_settled(bench: Bench) -> None:
    join = parallel(
        "1.block.1",
        action("1.block.1.branch.1", word="x", answer="lost"),
        action("1.block.1.branch.2", hosts=["b"], word="x", answer="failed"),
        on_failure="finish",
    )
    plan = a_plan(bench.world, block("1", [join], rescue=[action("1.rescue.1", hosts=["b"])]), hosts=AB)
    run, verdict = bench.run(plan)
    assert verdict.status == "in_doubt"
    with bench.home() as home:
        resolve(home, run, RESPONDER, step="1.block.1.branch.1", resolution="applied", reason="saw it")
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:x", "b:w1.rescue.1"]


def test_a_cancelled_run_ends_in_all_its_branches(bench: Bench, hooks: Hooks) -> None:
    both = threading.Barrier(2)
    run = ""

    def cancel() -> None:
        if both.wait(20) == 0:
            with bench.home() as home:
                request_cancel(home, run, RESPONDER, "enough")
        both.wait(20)

    hooks["left"] = hooks["right"] = cancel
    left = [at(1, 1, "hook", word="left"), at(1, 2)]
    right = [at(2, 1, "hook", hosts=["b"], word="right"), at(2, 2, hosts=["b"])]
    run = bench.create(two(bench, left, right))
    assert bench.execute(run).status in ("cancelled", "in_doubt")
    assert {"1.branch.1.block.2", "1.branch.2.block.2"}.isdisjoint(
        {key.step for key, cell in bench.state(run).cells.items() if cell.attempts}
    )


def test_a_full_disk_in_one_branch_ends_the_others_in_order_and_a_resume_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = [at(1, n) for n in (1, 2)], [at(2, n, hosts=["b"]) for n in (1, 2, 3, 4)]
    run = bench.create(two(bench, left, right))
    with monkeypatch.context() as broken:
        full_at(broken, lambda draft: draft.kind is Kind.STEP_INTENT and draft.step == left[1].path)
        with pytest.raises(StoreError):
            bench.execute(run)
    assert bench.execute(run).status == "succeeded"
    assert len(words(bench.world)) == len(set(lines(bench.world))) == 8
    assert bench.is_intact()


def full_at(patch: pytest.MonkeyPatch, here: Callable[[Draft], bool]) -> None:
    append = SqliteStore.append

    def full(store: SqliteStore, drafts: Sequence[Draft], **named: Any) -> object:
        if any(here(draft) for draft in drafts):
            raise StoreError("disk is full")
        return append(store, drafts, **named)

    patch.setattr(SqliteStore, "append", full)


@pytest.mark.parametrize("nested", [False, True])
def test_a_failure_on_record_keeps_a_resumed_run_from_beginning_anything_in_the_other_branches(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, nested: bool
) -> None:
    failing = action("1.branch.2", word="x", answer="failed")
    if nested:
        failing = parallel("1.branch.2", action("1.branch.2.branch.1", word="x", answer="failed"))
    first = branch(1, at(1, 1, hosts=["b"]), at(1, 2, hosts=["b"]))
    run = bench.create(a_plan(bench.world, parallel("1", first, failing), hosts=AB))
    over = threading.Event()

    def begins_first(draft: Draft) -> bool:
        """Say that the process ends when the first branch begins, behind the failure of the second."""
        if draft.kind is Kind.STEP_FINISHED:
            over.set()
        return draft.step.startswith("1.branch.1") and over.wait(20)

    with monkeypatch.context() as broken:
        full_at(broken, begins_first)
        with pytest.raises(StoreError):
            bench.execute(run)
    assert bench.state(run).finished == {"1.branch.2.branch.1" if nested else "1.branch.2": "failed"}
    assert bench.execute(run).status == "failed"
    assert words(bench.world) == []
    assert len(bench.state(run).started) == 1


def test_a_branch_learns_nothing_of_another_before_they_come_together(bench: Bench, hooks: Hooks) -> None:
    known = threading.Event()
    hooks["slow"] = lambda: known.wait(20)
    left = [at(1, 1, word="first", options=StepOptions(register_="seen"))]
    right = [
        at(2, 1, "hook", hosts=["b"], word="slow"),
        at(2, 2, hosts=["b"], late=["seen"], word="{{ seen.word | default('nothing') }}"),
    ]
    behind = action("2", hosts=["b"], late=["seen"], word="{{ seen.word }}")
    plan = two(bench, left, right)
    plan = plan.model_copy(update={"nodes": (plan.nodes[0], behind)})
    run = bench.create(plan)
    with once_finished(bench, run, left[0].path, known):
        assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:first", "b:slow", "b:nothing", "b:first"]


def test_of_two_branches_that_register_the_same_name_the_one_written_last_counts(
    bench: Bench, hooks: Hooks
) -> None:
    known = threading.Event()
    hooks["left"] = lambda: known.wait(20)
    looking = StepOptions(register_="seen", delay_ms=1)
    left = [at(1, 1, "hook", word="left", options=looking)]
    right = [at(2, 1, word="right", options=looking)]
    plan = two(bench, left, right)
    plan = plan.model_copy(
        update={"nodes": (plan.nodes[0], action("2", late=["seen"], word="{{ seen.word }}"))}
    )
    run = bench.create(plan)
    with once_finished(bench, run, right[0].path, known):
        assert bench.execute(run).status == "succeeded"
    assert words(bench.world)[-1] == "a:right", "though the other one answered later"


def test_items_of_loops_in_branches_and_batches_keep_their_identity(bench: Bench) -> None:
    loop = {"loop": ["x", "y"], "late": ["item"], "word": "{{ item }}"}
    inner = serial("1.branch.2", [["a"], ["b"]], "once", **loop)
    join = parallel("1", action("1.branch.1", hosts=AB, **loop), inner)
    run, verdict = bench.run(a_plan(bench.world, join, hosts=AB))
    assert verdict.status == "succeeded"
    keys = [line.split()[2] for line in lines(bench.world)]
    assert len(keys) == len(set(keys)) == 8
    steps = ("1.branch.1", "1.branch.2.batch.1.block.1")
    assert {CellKey(step, "a", n) for step in steps for n in (0, 1)} <= bench.state(run).cells.keys()


def test_a_rescue_around_branches_mends_them(bench: Bench) -> None:
    join = parallel(
        "1.block.1", action("1.block.1.branch.1", word="x", answer="failed"), action("1.block.1.branch.2")
    )
    plan = a_plan(bench.world, block("1", [join], rescue=[action("1.rescue.1")]), action("2"))
    assert bench.run(plan)[1].status == "succeeded"
    assert words(bench.world)[-2:] == ["a:w1.rescue.1", "a:w2"]


def test_branches_within_branches_are_left_off_by_the_outer_ones(bench: Bench, hooks: Hooks) -> None:
    failed = threading.Event()
    hooks["slow"] = lambda: failed.wait(20)
    inner = parallel(
        "1.branch.2",
        block(
            "1.branch.2.branch.1",
            [
                action("1.branch.2.branch.1.block.1", "hook", hosts=["b"], word="slow"),
                action("1.branch.2.branch.1.block.2", hosts=["b"]),
            ],
        ),
        action("1.branch.2.branch.2", hosts=["b"], word="short"),
    )
    run = bench.create(
        a_plan(bench.world, parallel("1", action("1.branch.1", word="x", answer="failed"), inner), hosts=AB)
    )
    with once_finished(bench, run, "1.branch.1", failed):
        verdict = bench.execute(run)
    assert verdict.status == "failed"
    assert "not gone on with: 'Parallel 1.branch.2'" in verdict.detail
    assert "1.branch.2.branch.1.block.2" not in bench.state(run).started


def test_what_a_connector_logs_belongs_to_its_own_run_and_step(bench: Bench, hooks: Hooks) -> None:
    seen: dict[str, Any] = {}
    for name in ("left", "right", "a", "b"):
        hooks[name] = lambda name=name: seen.update({name: dict(get_contextvars())})  # type: ignore[misc]
    plan = two(bench, [at(1, 1, "hook", word="left")], [at(2, 1, "hook", hosts=["b"], word="right")])
    both = action("2", "hook", hosts=AB, late=["inventory_hostname"], word="{{ inventory_hostname }}")
    run, _ = bench.run(plan.model_copy(update={"nodes": (plan.nodes[0], both)}))
    assert {name: (one["run"], one["step"]) for name, one in seen.items()} == {
        "left": (run, "1.branch.1.block.1"),
        "right": (run, "1.branch.2.block.1"),
        "a": (run, "2"),
        "b": (run, "2"),
    }


def test_many_branches_on_many_hosts_lose_nothing(bench: Bench) -> None:
    hosts = [f"h{n}" for n in range(10)]
    branches = [
        block(f"1.branch.{n}", [action(f"1.branch.{n}.block.{s}", hosts=hosts) for s in (1, 2, 3)])
        for n in range(1, 9)
    ]
    run, verdict = bench.run(a_plan(bench.world, parallel("1", *branches), hosts=hosts))
    assert verdict.status == "succeeded"
    assert len(set(lines(bench.world))) == 240
    assert bench.state(run).recap()["ok"] == 240
    assert bench.is_intact()


def test_what_one_thread_holds_back_is_written_by_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.__new__(Journal)
    journal._held, journal._lock = {}, threading.Lock()
    mine: Any = object()
    journal.hold(mine)
    others = threading.Thread(target=lambda: journal.hold(mine))
    others.start()
    others.join()
    assert len(journal._held) == 2


def test_of_several_errors_the_one_that_leaves_an_intent_open_weighs_most() -> None:
    stop, gate, lease = Halt("enough"), GateError("shut"), LeaseError("taken over")
    assert gravest([stop, gate, lease]) is lease
    assert any("enough" in note for note in lease.__notes__)
    end = KeyboardInterrupt()
    assert gravest([LeaseError("x"), end]) is end
