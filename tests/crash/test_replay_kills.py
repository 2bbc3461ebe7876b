"""A run whose workers were killed, for real and anywhere, is decided the same again from its record."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from random import Random

import pytest
from builders.crash import appends_until_death, the
from builders.runs import Bench
from builders.share import CORES, of_heavy, shared
from builders.wild import wild_plan

from mimrun.app.replaying import redecide
from mimrun.run.record.transitions import TERMINAL
from mimrun.runbook.plan import Plan

QUICK_SEEDS = 8
HEAVY_SEEDS = 400
WORKERS = 6


def a_killed_run(bench: Bench, plan: Plan, draw: Random) -> str:
    """Execute a plan with workers of which some are killed; whoever is asked says that nothing happened."""
    run = bench.create(plan)
    for _ in range(WORKERS):
        at, before = draw.randint(1, 20), draw.random() < 0.5
        appends_until_death(partial(bench.execute, run), the(at), before=before)
        for key in bench.state(run).in_doubt():
            bench.settle(run, key, applied=draw.random() < 0.5)
        if bench.state(run).status in TERMINAL:
            break
    return run


def replays(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    bench = Bench(folder)
    run = a_killed_run(bench, wild_plan(seed, bench.world), Random(f"kill {seed}"))
    with bench.home() as home:
        found = redecide(home, run)
        told = [
            f"{e.seq} {e.kind} {e.step} {e.target} epoch {e.epoch} {e.body!r:.120}"
            for e in home.store.entries(run=run)
        ]
    assert found.verdict == "same", "\n".join([f"seed {seed}: {found.divergence}", *told])
    shutil.rmtree(folder)


@pytest.mark.parametrize("seed", range(QUICK_SEEDS))
def test_a_run_whose_workers_were_killed_replays_to_itself(memory: Path, seed: int) -> None:
    replays(memory / "runs", seed)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_runs_whose_workers_were_killed_replay_to_themselves(memory: Path) -> None:
    seeds = range(QUICK_SEEDS, QUICK_SEEDS + of_heavy(HEAVY_SEEDS))

    def work(part: int) -> None:
        for seed in seeds[part::CORES]:
            replays(memory / str(seed), seed)

    shared(work, range(CORES))
