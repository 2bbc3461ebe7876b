"""`kill -9` around every append of a run: nothing is done twice, nothing is lost, and doubts are asked for."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from builders.crash import appends_until_death, execute_and_die, the
from builders.plans import a_plan, action, block, call, check, gate, manual
from builders.runs import ALEX, RESPONDER, Bench
from builders.world import words

from mimrun.app.decisions import attest, resolve
from mimrun.run.record.transitions import TERMINAL, RunStatus
from mimrun.runbook.node import StepOptions
from mimrun.runbook.plan import Plan

MOST = 80
"""More appends than any run here makes."""

HAPPEN_ONCE = {"2", "5.block.2", "5.rescue.1", "7"}
"""The steps of the plan that nobody can find out about."""


def the_plan(world: Path) -> Plan:
    """Every kind of step, every effect class, two hosts, a loop, a capture, a verify and a rescue."""
    return a_plan(
        world,
        action("1", "read", hosts=["a", "b"], options=StepOptions(register="seen")),
        action("2", "once", hosts=["a"], capture=call("read"), undo=call("once", word="undo")),
        gate("3"),
        action("4", "probe", hosts=["a", "b"], verify=check("result.words | length > 0")),
        block(
            "5",
            [action("5.block.1", "idempotent"), action("5.block.2", word="x", answer="failed")],
            rescue=[action("5.rescue.1", "once")],
            always=[action("5.always.1", "probe")],
        ),
        manual("6"),
        action("7", "once", loop=["x", "y"], late=["item"], word="{{ item }}"),
        hosts=["a", "b"],
    )


def finish(bench: Bench, run: str) -> list[str]:
    """Go on until the run ends, deciding whatever a person is asked for; give the steps in doubt."""
    asked: list[str] = []
    for _ in range(40):
        state = bench.state(run)
        if state.status in TERMINAL:
            return asked
        if state.status is RunStatus.WAITING and state.waits_on == "gate":
            if not any(vote.person == "alex" for vote in state.gates[state.waits_at].votes):
                bench.approve(run)
        elif state.status is RunStatus.WAITING and not state.manuals[state.waits_at].attested:
            with bench.home() as home:
                attest(home, run, ALEX, {})
        for key in state.in_doubt():
            asked.append(key.step)
            # The person looks at the world, as a person would, and says what is there.
            there = any(w == f"{key.target}:{expected(key)}" for w in words(bench.world))
            with bench.home() as home:
                word = "applied" if there else "not_applied"
                resolve(
                    home, run, RESPONDER, step=key.step, target=key.target, resolution=word, reason="looked"
                )
        bench.execute(run)
    raise AssertionError(f"{run} does not end: {bench.state(run).status}")


def expected(key) -> str:
    return "xy"[key.iteration] if key.step == "7" else f"w{key.step}"


def check_world(bench: Bench, run: str) -> None:
    counts = Counter(words(bench.world))
    never_twice = {"a:w2", "a:w4", "b:w4", "a:w5.rescue.1", "a:w5.always.1", "a:x", "a:y"}
    assert {word for word in never_twice if counts[word] != 1} == set(), counts
    assert counts["a:w5.block.1"] in (1, 2), "what may be repeated is there, and at most one crash repeats it"
    assert set(counts) == never_twice | {"a:w5.block.1"}
    assert bench.state(run).status is RunStatus.SUCCEEDED
    assert bench.is_intact()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_kill_around_every_append_loses_nothing_and_repeats_nothing(memory: Path, before: bool) -> None:
    killed = 0
    asked: Counter[str] = Counter()
    for at in range(1, MOST):
        folder = memory / f"{at}"
        folder.mkdir()
        bench = Bench(folder)
        run = bench.create(the_plan(bench.world))
        left = at
        # The run has three stretches with people between them; the kill falls into one of them.
        while bench.state(run).status not in TERMINAL:
            made = appends_until_death(partial(bench.execute, run), the(left), before=before)
            if made is None:
                killed += 1
                asked.update(finish(bench, run))
                break
            left -= made
            decide_once(bench, run)
        else:
            assert killed >= 30, "the run makes fewer appends than it should"
            check_world(bench, run)
            break
        check_world(bench, run)
    assert killed >= 30
    if before:
        assert set(asked) == HAPPEN_ONCE, "a step that happens once and was begun must be asked for"
    assert set(asked) <= HAPPEN_ONCE, "only what nobody can find out is asked for"


def decide_once(bench: Bench, run: str) -> None:
    state = bench.state(run)
    if state.waits_on == "gate":
        bench.approve(run)
    elif state.waits_on == "manual":
        with bench.home() as home:
            attest(home, run, ALEX, {})


def test_two_kills_in_a_row_are_no_worse_than_one(memory: Path) -> None:
    for first in range(3, 15, 3):
        for second in range(1, 9, 2):
            folder = memory / f"{first}-{second}"
            folder.mkdir()
            bench = Bench(folder)
            run = bench.create(the_plan(bench.world))
            execute_and_die(partial(bench.execute, run), the(first), before=True)
            if bench.state(run).status not in TERMINAL:
                execute_and_die(partial(bench.execute, run), the(second), before=True)
            finish(bench, run)
            counts = Counter(words(bench.world))
            assert max(count for word, count in counts.items() if word != "a:w5.block.1") == 1, counts
            assert bench.is_intact()


def test_two_processes_given_one_run_act_once(memory: Path) -> None:
    bench = Bench(memory)
    hosts = [f"h{n}" for n in range(10)]
    run = bench.create(a_plan(bench.world, *(action(str(n), hosts=hosts) for n in range(1, 6)), hosts=hosts))
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            status = bench.execute(run).status
            os._exit(0 if status == "succeeded" else 5 if status == "refused" else 9)
        children.append(child)
    ends = sorted(os.WEXITSTATUS(os.waitpid(child, 0)[1]) for child in children)
    assert ends == [0, 5, 5, 5]
    assert Counter(words(bench.world)).most_common(1)[0][1] == 1
    assert bench.is_intact()
