"""Handlers of batches and of included runbooks: done where they belong, once, also behind a crash and on the way back."""

from __future__ import annotations

from functools import partial

import pytest
from builders.crash import execute_and_die
from builders.plans import a_plan, action, call, include, serial
from builders.runs import RESPONDER, Bench
from builders.world import words

from mimrun.app.retry import create_retry, plan_retry
from mimrun.app.undo import create_undo, plan_undo
from mimrun.log.kinds import Kind
from mimrun.runbook.node import PlannedAction, PlannedSerial, StepOptions

AB = ["a", "b"]


def rolling(*, undo: bool = False) -> PlannedSerial:
    """Give a step on one host after the other, each batch with a handler of its own."""
    made = serial("1", [["a"], ["b"]], "idempotent", undo=call("idempotent", word="back") if undo else None,
                  word="new")  # fmt: skip
    batches = tuple(
        batch.model_copy(
            update={
                "block": tuple(s.model_copy(update={"notify": (f"{batch.path}.h1",)}) for s in batch.block)
            }
        )
        for batch in made.batches
    )
    return made.model_copy(update={"batches": batches})


def reloads(word: str = "reload") -> list[PlannedAction]:
    return [
        action(f"1.batch.{n}.h1", "idempotent", hosts=[host], word=word).model_copy(update={"name": "Reload"})
        for n, host in enumerate(AB, 1)
    ]


def test_each_batch_is_followed_by_its_handler_before_the_next_one_begins(bench: Bench) -> None:
    plan = a_plan(bench.world, rolling(), action("2", word="last"), hosts=AB, handlers=reloads())
    assert bench.run(plan)[1].status == "succeeded"
    assert words(bench.world) == ["a:new", "a:reload", "b:new", "b:reload", "a:last"]


def test_a_batch_in_which_nothing_changed_is_followed_by_nothing(bench: Bench) -> None:
    node = rolling()
    looks = action("1.batch.1.block.1", "read", hosts=["a"], notify=["1.batch.1.h1"])
    first = node.batches[0].model_copy(update={"block": (looks,)})
    node = node.model_copy(update={"batches": (first, node.batches[1])})
    run, verdict = bench.run(a_plan(bench.world, node, hosts=AB, handlers=reloads()))
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["b:new", "b:reload"]
    assert "1.batch.1.h1" not in bench.state(run).started


def test_a_handler_that_fails_lets_no_further_batch_begin(bench: Bench) -> None:
    first = action("1.batch.1.h1", hosts=["a"], word="reload", answer="failed")
    run, verdict = bench.run(a_plan(bench.world, rolling(), hosts=AB, handlers=[first, reloads()[1]]))
    assert verdict.status == "failed"
    assert "b:new" not in words(bench.world)
    assert "handlers not done" not in bench.state(run).reason


def test_a_run_that_fails_in_a_batch_says_which_handler_it_owes_and_a_retry_does_it(bench: Bench) -> None:
    node = rolling()
    bad = action("1.batch.1.block.2", hosts=["a"], word="x", answer="failed")
    first = node.batches[0].model_copy(update={"block": (*node.batches[0].block, bad)})
    plan = a_plan(
        bench.world,
        node.model_copy(update={"batches": (first, node.batches[1])}),
        hosts=AB,
        handlers=reloads(),
    )
    run, verdict = bench.run(plan)
    assert verdict.status == "failed"
    assert bench.state(run).reason.endswith("handlers not done: 'Reload' on a")
    with bench.home() as home:
        again = plan_retry(home, run)
        assert {n.path for n in again.walk() if isinstance(n, PlannedAction)} == {
            "1.batch.1.block.2", "1.batch.2.block.1", "1.batch.2.h1", "2",
        }  # fmt: skip
        create_retry(home, run, again, RESPONDER)


@pytest.mark.parametrize("turn", range(1, 11))
def test_killed_anywhere_every_handler_is_done_once_and_in_its_place(bench: Bench, turn: int) -> None:
    run = bench.create(a_plan(bench.world, rolling(), hosts=AB, handlers=reloads()))
    execute_and_die(partial(bench.execute, run), lambda number, drafts: number == turn, before=turn % 2 == 0)
    assert bench.execute(run).status == "succeeded"
    seen = list(dict.fromkeys(words(bench.world)))
    assert seen == ["a:new", "a:reload", "b:new", "b:reload"]


def test_on_the_way_back_each_handler_follows_once_on_a_host_and_batch_by_batch(bench: Bench) -> None:
    at_end = action("h1", "idempotent", hosts=["a"], word="reload")
    plan = a_plan(
        bench.world,
        rolling(undo=True),
        action("2", "idempotent", word="more", undo=call("idempotent", word="less"), notify=["h1"]),
        hosts=AB,
        handlers=[*reloads(), at_end],
    )
    run, verdict = bench.run(plan)
    assert verdict.status == "succeeded"
    before = len(words(bench.world))
    with bench.home() as home:
        back = plan_undo(home, run)
        assert [(h.path, [t.target for t in h.targets]) for h in back.handlers] == [
            ("h1.batch.1", ["a"]),
            ("h1.batch.2", ["b"]),
        ]
        undo = create_undo(home, run, back, RESPONDER)
    assert bench.execute(undo).status == "succeeded"
    assert words(bench.world)[before:] == ["a:less", "b:back", "a:back", "a:reload", "b:reload"]


def test_a_handler_of_an_included_runbook_follows_it_and_sees_its_names(bench: Bench) -> None:
    said = action("1.include.1", word="x", options=StepOptions(register_="said", delay_ms=1),
                  undo=call("once", word="u"), notify=["1.include.h1"])  # fmt: skip
    told = action("1.include.h1", late=["said", "suffix"], word="{{ said.word }}-{{ suffix }}")
    node = include("1", said, vars_={"suffix": "s"})
    run, verdict = bench.run(a_plan(bench.world, node, action("2"), handlers=[told]))
    assert verdict.status == "succeeded", verdict
    assert words(bench.world) == ["a:x", "a:x-s", "a:w2"]
    with bench.home() as home:
        back = plan_undo(home, run)
        undo = create_undo(home, run, back, RESPONDER)
    assert bench.execute(undo).status == "succeeded"
    assert words(bench.world)[3:] == ["a:u", "a:x-s"]


def test_a_pause_between_batches_counts_from_the_end_of_the_handlers(bench: Bench) -> None:
    node = rolling().model_copy(update={"pause_ms": 400})
    run, verdict = bench.run(a_plan(bench.world, node, hosts=AB, handlers=reloads()))
    assert verdict.status == "succeeded"
    state = bench.state(run)
    with bench.home() as home:
        starts = {e.step: e.ts for e in home.store.entries(run=run, kinds={Kind.STEP_STARTED})}
    waited = starts["1.batch.2.block.1"] - state.finished_at["1.batch.1.h1"]
    assert waited.total_seconds() >= 0.4
