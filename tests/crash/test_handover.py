"""Workers that are frozen (SIGSTOP), replaced, and wake up again: nobody acts after another one has taken over."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from builders.history import keys_of, read
from builders.kills import Ending, live
from builders.plans import a_plan, action
from builders.runs import Bench
from builders.share import CORES, of_heavy, shared
from builders.world import lines

from mimrun.run.hold.lease import is_held
from mimrun.run.record.key import idempotency_key
from mimrun.run.record.transitions import TERMINAL, RunStatus
from mimrun.runbook.plan import Plan

Record = Callable[[str, object], None]

QUICK, HEAVY = 40, of_heavy(2_000)
TWICE = 100
APART = 1_000_000
"""Seeds of the parts lie so far from each other."""
PACE_S = 0.03
"""About so long does a worker run."""
PATIENCE_S = 30.0
POINTS = ("before an append", "after an append", "rows written, not committed", "after an effect")


def the_plan(draw: Random, world: Path) -> Plan:
    verbs = ("once", "probe", "idempotent", "read")
    return a_plan(world, *(action(str(n + 1), draw.choice(verbs)) for n in range(5)))


class Frozen(Ending):
    """A child that stops itself at a point, instead of dying there."""

    def strike(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


@contextmanager
def frozen(bench: Bench, run: str, point: str, number: int, moment: float | None = None) -> Iterator[int]:
    """Give a worker that stands still somewhere in its run; it is dead when the `with` ends.

    Arguments:
        point, number: where it stops itself.
        moment: after how many seconds it is stopped from outside, instead.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        live(lambda: bench.execute(run), Frozen(point if moment is None else "", number, writer))
    os.close(writer)
    try:
        if moment is not None:
            time.sleep(moment)
            os.kill(child, signal.SIGSTOP)
        until(lambda: state_of(child) in "TZ")
        yield child
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def state_of(child: int) -> str:
    """Give the kernel's letter for what a process does: T stands still, Z has come to its end."""
    return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.001)


def finish(bench: Bench, run: str) -> None:
    """Go on until the run ends; say of what is in doubt what the world shows."""
    for _ in range(20):
        state = bench.state(run)
        if state.status in TERMINAL:
            return
        for key in state.in_doubt():
            there = bool(keys_of(lines(bench.world))[idempotency_key(run, key)])
            bench.settle(run, key, applied=there)
        bench.execute(run)
    raise AssertionError(f"{run} does not end")


def judge(bench: Bench, run: str) -> None:
    with bench.home() as home:
        flaws = read(home.store.entries(run=run)).against(keys_of(lines(bench.world)))
        assert home.store.rebuild()
    assert not flaws, flaws
    assert bench.is_intact()


def hand_over(seed: int, folder: Path) -> bool:
    """Freeze a worker, see that nobody replaces it while it lives, kill it, and go on.

    Returns:
        whether it stood still while it had the run.
    """
    folder.mkdir()
    bench, draw = Bench(folder), Random(f"hand-over {seed}")
    run = bench.create(the_plan(draw, bench.world))
    moment = draw.random() * PACE_S if draw.random() < 0.4 else None
    with frozen(bench, run, draw.choice(POINTS), draw.randint(1, 4), moment) as child:
        stood = state_of(child) == "T" and is_held(bench.settings.locks, run)
        if stood:
            before = lines(bench.world)
            verdict = bench.execute(run)
            assert (verdict.status, verdict.exit_code) == ("refused", 5), f"seed {seed}: {verdict}"
            assert lines(bench.world) == before, f"seed {seed}: the second worker acted"
    finish(bench, run)
    judge(bench, run)
    assert bench.state(run).status is RunStatus.SUCCEEDED, f"seed {seed}"
    shutil.rmtree(folder)
    return stood


def hand_overs(first: int, wanted: int, folder: Path) -> int:
    """Hand over until so many workers stood still while they had the run."""
    stood = 0
    for seed in itertools.count(first):
        stood += hand_over(seed, folder / str(seed))
        if stood == wanted:
            break
    return stood


@pytest.mark.parametrize("part", [0, 1])
def test_a_frozen_worker_is_not_replaced_before_it_is_dead(
    part: int, memory: Path, record_property: Record
) -> None:
    stood = hand_overs(part * APART, QUICK // 2, memory)
    record_property("counted", f"hand-overs={stood}")


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_very_many_frozen_workers_are_not_replaced_before_they_are_dead(
    memory: Path, record_property: Record
) -> None:
    parts = [APART * (2 + n) for n in range(CORES)]
    stood = sum(shared(lambda first: hand_overs(first, HEAVY // CORES, memory), parts))
    record_property("counted", f"hand-overs={stood}")


def replaced(bench: Bench, run: str, point: str, number: int) -> None:
    """Freeze a worker, remove its lock file, let another one finish the run, and wake the first one."""
    with frozen(bench, run, point, number) as child:
        assert state_of(child) == "T"
        (bench.settings.locks / f"{run}.lock").unlink()
        finish(bench, run)
        os.kill(child, signal.SIGCONT)
        until(lambda: state_of(child) == "Z")


@pytest.mark.parametrize("effect", ["once", "probe", "idempotent"])
@pytest.mark.parametrize(("point", "number"), [("before an append", 3), ("after an effect", 1)])
def test_a_worker_whose_lock_file_was_removed_changes_nothing_when_it_wakes_up(
    memory: Path, effect: str, point: str, number: int
) -> None:
    bench = Bench(memory)
    run = bench.create(a_plan(bench.world, action("1", effect), action("2", effect)))
    replaced(bench, run, point, number)
    judge(bench, run)
    assert bench.state(run).status is RunStatus.SUCCEEDED


@pytest.mark.parametrize("effect", ["once", "probe"])
def test_a_worker_whose_lock_file_was_removed_behind_its_intent_does_not_act(
    memory: Path, effect: str
) -> None:
    bench = Bench(memory)
    run = bench.create(a_plan(bench.world, action("1", effect), action("2", effect)))
    replaced(bench, run, "after an append", 3)
    judge(bench, run)
    assert bench.state(run).status is RunStatus.SUCCEEDED


def test_of_two_processes_that_start_a_run_at_one_moment_one_acts_and_the_other_says_why_not(
    memory: Path, record_property: Record
) -> None:
    bench = Bench(memory)
    for number in range(TWICE):
        world = memory / f"world-{number}"
        run = bench.create(a_plan(world, action("1"), action("2", "probe")))
        verdicts = sorted(shared(lambda _, run=run: bench.execute(run), [1, 2]), key=lambda v: v.status)
        assert [(v.status, v.exit_code) for v in verdicts] == [("refused", 5), ("succeeded", 0)]
        assert "is being executed by process" in verdicts[0].detail or "is over already" in verdicts[0].detail
        assert sorted(keys_of(lines(world)).values()) == [1, 1]
    assert bench.is_intact()
    record_property("counted", f"runs started twice={TWICE}")
