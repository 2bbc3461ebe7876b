"""A run that is killed and gone on with comes to the same as one that nobody disturbed, whatever its plan is."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import pytest
from builders.crash import appends_until_death, the
from builders.runs import Bench
from builders.share import CORES, of_heavy, shared
from builders.wild import is_a_race, may_be_repeated, wild_plan
from builders.world import words

from mimrun.run.record.state import CellKey
from mimrun.run.record.transitions import TERMINAL
from mimrun.runbook.node import PlannedAction
from mimrun.runbook.plan import Plan

MOST = 160
"""More appends than any of these runs makes."""
QUICK_SEEDS = 10
QUICK_CUTS = 3
HEAVY_SEEDS = 80


@dataclass(frozen=True, slots=True)
class Came:
    """What a run has come to.

    Arguments:
        finished: how every step ended.
        begun: every cell that there is.
        done: how often the world was told each word.
    """

    status: str
    finished: dict[str, str]
    begun: frozenset[CellKey]
    done: Counter[str]


def came_to(bench: Bench, run: str) -> Came:
    state = bench.state(run)
    assert not state.locks, "a run that is over holds nothing"
    return Came(state.status.value, {**state.finished}, frozenset(state.cells), Counter(words(bench.world)))


def go_on(bench: Bench, run: str, plan: Plan) -> None:
    """Go on until the run ends; whoever is asked looks at the world."""
    for _ in range(40):
        state = bench.state(run)
        if state.status in TERMINAL:
            return
        for key in state.in_doubt():
            node = plan.node(key.step)
            assert isinstance(node, PlannedAction)
            word = f"{key.target}:w{key.step}" + ("xy"[key.iteration] if node.loop else "")
            there = word in words(bench.world)
            bench.settle(run, key, applied=there)
        bench.execute(run)
    raise AssertionError(f"it never ended: {bench.state(run).status}")


def hold(folder: Path, seed: int, cuts: Iterator[tuple[int, bool]]) -> int:
    """Hold each interrupted run of a plan against the undisturbed one; gives how many there were."""
    whole = Bench(_fresh(folder / "whole"))
    plan = wild_plan(seed, whole.world)
    run, _ = whole.run(plan)
    wanted, held = came_to(whole, run), 0
    for at, before in cuts:
        place = _fresh(folder / f"{at}-{before}")
        bench = Bench(place)
        plan = wild_plan(seed, bench.world)
        run = bench.create(plan)
        if appends_until_death(partial(bench.execute, run), the(at), before=before) is not None:
            assert bench.state(run).status.value == wanted.status, f"seed {seed} undisturbed"
            break
        go_on(bench, run, plan)
        _compare(
            plan, came_to(bench, run), wanted, f"seed {seed}, killed {'before' if before else 'behind'} {at}"
        )
        assert bench.is_intact()
        shutil.rmtree(place)
        held += 1
    shutil.rmtree(folder)
    return held


def _compare(plan: Plan, came: Came, wanted: Came, what: str) -> None:
    harmless = may_be_repeated(plan)
    for word, times in came.done.items():
        step = step_of(word)
        assert step in harmless or times <= max(1, wanted.done[word]), (
            f"{what}: {word} was done {times} times"
        )
    if is_a_race(plan):
        return
    assert came.status == wanted.status, what
    assert came.finished == wanted.finished, what
    # Of a step that has failed on too many hosts, those that were not begun are left alone, and so are those that are
    # done and not verified yet: which, is a race.
    failed = {step for step, ended in wanted.finished.items() if ended == "failed"}
    for mine, theirs in ((came, wanted), (wanted, came)):
        assert {key for key in mine.begun - theirs.begun if _step_of(key) not in failed} == set(), what
        assert {w for w in mine.done.keys() - theirs.done.keys() if step_of(w) not in failed} == set(), what


def _step_of(key: CellKey) -> str:
    """Give the step that a cell belongs to, also where it verifies that step."""
    return key.step.removesuffix(".verify")


def step_of(word: str) -> str:
    """Give the path of the step that told the world a word."""
    return word.split(":w")[1].rstrip("xy")


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def everywhere() -> Iterator[tuple[int, bool]]:
    return ((at, before) for at in range(1, MOST) for before in (True, False))


@pytest.mark.parametrize("seed", range(QUICK_SEEDS))
def test_an_interrupted_run_comes_to_the_same(memory: Path, seed: int) -> None:
    draw = Random(f"cut {seed}")
    cuts = sorted((draw.randint(1, 24), draw.random() < 0.5) for _ in range(QUICK_CUTS))
    hold(memory / "runs", seed, iter(cuts))


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_a_run_interrupted_anywhere_comes_to_the_same_whatever_its_plan_is(memory: Path) -> None:
    seeds = range(QUICK_SEEDS, QUICK_SEEDS + of_heavy(HEAVY_SEEDS))

    def work(part: int) -> int:
        return sum(hold(memory / str(seed), seed, everywhere()) for seed in seeds[part::CORES])

    assert sum(shared(work, range(CORES))) > 10 * len(seeds)
