"""Handlers: once, behind the last step, where something changed; and never where the run has failed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from builders.plans import a_plan, action, block, gate, parallel, serial
from builders.runs import RESPONDER, Bench
from builders.world import lines, words

from mimrun.app.decisions import request_cancel, resolve
from mimrun.errors import StoreError
from mimrun.log.entry import Draft
from mimrun.log.sqlite.store import SqliteStore
from mimrun.runbook.node import PlannedAction, PlannedSerial, StepOptions

AB = ["a", "b"]


def handler(number: int = 1, **rest: Any) -> PlannedAction:
    given = {"hosts": AB, "word": f"handler{number}"} | rest
    return action(f"h{number}", **given).model_copy(update={"name": f"Handler {number}"})


def test_a_handler_follows_the_last_step_once_however_many_have_notified_it(bench: Bench) -> None:
    steps = [action("1", hosts=AB, notify=["h1"]), action("2", hosts=["a"], notify=["h1"]), action("3")]
    run, verdict = bench.run(a_plan(bench.world, *steps, hosts=AB, handlers=[handler()]))
    assert verdict.status == "succeeded"
    done = words(bench.world)
    assert sorted(done[-2:]) == ["a:handler1", "b:handler1"]
    assert sum("handler1" in word for word in done) == 2
    assert bench.kinds(run)[-1] == "run.ended"


def test_a_handler_is_done_only_where_something_changed(bench: Bench) -> None:
    reading = action("1", "read", hosts=AB, notify=["h1", "h2"])
    steps = [reading, action("2", hosts=["b"], notify=["h1"])]
    run, verdict = bench.run(a_plan(bench.world, *steps, hosts=AB, handlers=[handler(1), handler(2)]))
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["b:w2", "b:handler1"]
    assert "h2" not in bench.state(run).started


def test_handlers_are_done_in_the_order_in_which_they_are_written(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1", notify=["h2", "h1"]), handlers=[handler(1), handler(2)], hosts=AB)
    assert bench.run(plan)[1].status == "succeeded"
    assert words(bench.world) == ["a:w1", "a:handler1", "a:handler2"]


def test_steps_in_batches_branches_blocks_and_loops_notify_like_any_other(bench: Bench) -> None:
    batches = serial("1", [["a"], ["b"]])
    told = [
        one.model_copy(
            update={"block": tuple(step.model_copy(update={"notify": ("h1",)}) for step in one.block)}
        )
        for one in batches.batches
    ]
    node = PlannedSerial(path="1", name="Serial", batches=tuple(told))
    join = parallel("2", action("2.branch.1", hosts=["c"], notify=["h1"]), action("2.branch.2", hosts=["d"]))
    loop = block(
        "3",
        [action("3.block.1", hosts=["e"], loop=["x", "y"], late=["item"], word="{{ item }}", notify=["h1"])],
    )
    hosts = ["a", "b", "c", "d", "e"]
    _, verdict = bench.run(
        a_plan(bench.world, node, join, loop, hosts=hosts, handlers=[handler(hosts=hosts)])
    )
    assert verdict.status == "succeeded"
    assert {w[0] for w in words(bench.world) if "handler" in w} == set("abce")


def test_a_handler_may_notify_one_that_is_written_behind_it(bench: Bench) -> None:
    first = handler(1, notify=["h2"])
    plan = a_plan(bench.world, action("1", notify=["h1"]), handlers=[first, handler(2)], hosts=AB)
    assert bench.run(plan)[1].status == "succeeded"
    assert words(bench.world)[-1] == "a:handler2"


def test_a_host_that_failed_since_takes_no_part_and_the_log_says_what_was_due(bench: Bench) -> None:
    broken = action(
        "2",
        hosts=AB,
        late=["inventory_hostname"],
        word="x",
        answer="{{ 'failed' if inventory_hostname == 'a' else 'ok' }}",
    )
    plan = a_plan(bench.world, action("1", notify=["h1"]), broken, hosts=AB, failures=1, handlers=[handler()])
    run, verdict = bench.run(plan)
    assert verdict.status == "succeeded"
    assert "a:handler1" not in words(bench.world)
    assert bench.state(run).finished["h1"] == "skipped"


def test_a_run_that_failed_does_no_handler_and_says_which_were_due(bench: Bench) -> None:
    steps = [action("1", hosts=AB, notify=["h1"]), action("2", word="x", answer="failed")]
    run, verdict = bench.run(a_plan(bench.world, *steps, hosts=AB, handlers=[handler()]))
    assert verdict.status == "failed"
    assert "handler1" not in "".join(words(bench.world))
    assert bench.state(run).reason.endswith("handlers not done: 'Handler 1' on a, b")


def test_a_cancelled_run_says_which_handlers_were_due(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1", notify=["h1"]), gate("2"), hosts=AB, handlers=[handler()])
    run, _ = bench.run(plan)
    with bench.home() as home:
        request_cancel(home, run, RESPONDER, "enough")
    assert bench.execute(run).status == "cancelled"
    assert bench.state(run).reason == "enough; handlers not done: 'Handler 1' on a"


def test_a_handler_that_fails_ends_the_run_and_those_behind_it_are_told(bench: Bench) -> None:
    handlers = [handler(1, answer="failed"), handler(2)]
    plan = a_plan(bench.world, action("1", notify=["h1", "h2"]), handlers=handlers, hosts=AB)
    run, verdict = bench.run(plan)
    assert verdict.status == "failed"
    assert "'Handler 2' on a" in bench.state(run).reason
    assert "'Handler 1'" not in bench.state(run).reason.partition("handlers not done")[2]


def test_a_person_who_says_that_a_step_happened_makes_its_handler_due(bench: Bench) -> None:
    lost = action("1", word="x", answer="lost", notify=["h1"])
    run, _ = bench.run(a_plan(bench.world, lost, hosts=AB, handlers=[handler()]))
    with bench.home() as home:
        resolve(home, run, RESPONDER, step="1", resolution="applied", reason="saw it")
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:x", "a:handler1"]


def test_handlers_are_done_once_however_often_the_run_is_resumed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = a_plan(
        bench.world,
        action("1", hosts=AB, notify=["h1", "h2"]),
        hosts=AB,
        handlers=[handler(1), handler(2)],
    )
    run = bench.create(plan)
    for turn in range(1, 14):
        with monkeypatch.context() as broken:
            full_at_handler(broken, turn)
            try:
                status = bench.execute(run).status
            except StoreError:
                continue
        if status != "in_doubt":
            break
        settle(bench, run)
    assert status == "succeeded"
    assert sorted(words(bench.world)[2:]) == [f"{h}:handler{n}" for h in AB for n in (1, 2)]
    assert len(set(lines(bench.world))) == 6


def test_a_handler_sees_what_the_steps_have_registered(bench: Bench) -> None:
    first = action("1", notify=["h1"], options=StepOptions(register_="seen", delay_ms=1))
    told = handler(1, late=["seen"], word="after-{{ seen.word }}")
    assert bench.run(a_plan(bench.world, first, hosts=AB, handlers=[told]))[1].status == "succeeded"
    assert words(bench.world)[-1] == "a:after-w1"


def full_at_handler(patch: pytest.MonkeyPatch, turn: int) -> None:
    """Let the log be full when so many entries about handlers have come."""
    append, come = SqliteStore.append, count(1)

    def full(store: SqliteStore, drafts: Sequence[Draft], **named: Any) -> object:
        if any(draft.step.startswith("h") for draft in drafts) and next(come) == turn:
            raise StoreError("disk is full")
        return append(store, drafts, **named)

    patch.setattr(SqliteStore, "append", full)


def settle(bench: Bench, run: str) -> None:
    """Look at the world, and say of each doubt what is there."""
    with bench.home() as home:
        for key in bench.state(run).in_doubt():
            there = f"{key.target}:handler{key.step[1]}" in words(bench.world)
            word: Any = "applied" if there else "not_applied"
            resolve(home, run, RESPONDER, step=key.step, target=key.target, resolution=word, reason="looked")
