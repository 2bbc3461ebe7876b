"""Schedules of a deterministic simulator: a run, its workers, its people and its world, with faults thrown by a die.

A schedule that goes wrong is told whole, and played again with `python tests/builders/play.py SEED`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from builders.seams import seams
from builders.share import CORES, of_heavy, shared
from builders.simulation import Simulation

from mimrun.connector import Failed, Outcome, Unknown
from mimrun.run import journal
from mimrun.run.cell import move
from mimrun.run.record import summary

Record = Callable[[str, object], None]

QUICK, QUICK_PARTS = 20_000, 8
HEAVY, HEAVY_PARTS = of_heavy(1_000_000), 20
HEAVY_FIRST = 1_000_000
"""The heavy schedules are others than the quick ones."""

FAULTS = {
    "bug after",
    "bug before",
    "database locked",
    "disk failed behind the commit",
    "disk full",
    "driver breaks",
    "driver repeats",
    "failed clean",
    "failed dirty",
    "failed half-way",
    "frozen after an append",
    "frozen before an append",
    "frozen before the answer",
    "hangs",
    "killed after an append",
    "killed after the effect",
    "killed at the probe",
    "killed before an append",
    "killed before the effect",
    "killed behind an intent",
    "late",
    "lost after",
    "lost before",
    "meddling",
    "nobody decides",
    "probe blind",
    "probe broke",
    "read lost",
    "refused",
    "rejected",
    "resolved abort",
    "resolved skip",
    "rubbish",
    "slow",
    "unreachable",
}
"""Everything that can go wrong, and does in any few thousand schedules."""


def play(seeds: Sequence[int]) -> tuple[Counter[str], str]:
    """Play schedules; give how often which fault came, and the first schedule that went wrong, or ""."""
    faults = Counter[str]()
    with seams():
        for seed in seeds:
            simulation = Simulation(seed)
            try:
                flaws = simulation.play()
            except Exception as exc:
                exc.add_note(simulation.told())
                raise
            faults += simulation.faults
            if flaws:
                return faults, "\n".join([simulation.told(), *flaws])
    return faults, ""


@pytest.mark.parametrize("part", range(QUICK_PARTS))
def test_no_schedule_breaks_a_promise(part: int, record_property: Record) -> None:
    each = QUICK // QUICK_PARTS
    faults, wrong = play(range(part * each, (part + 1) * each))
    assert not wrong, wrong
    record_property("counted", f"simulated schedules={each}")
    record_property("counted", f"simulated faults={faults.total()}")
    missed = FAULTS - faults.keys()
    assert not missed, f"never thrown in {each} schedules: {missed}"


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(HEAVY_PARTS))
def test_no_schedule_of_very_many_breaks_a_promise(part: int, record_property: Record) -> None:
    each = HEAVY // HEAVY_PARTS
    first = HEAVY_FIRST + part * each
    for wrong in shared(lambda n: play(range(first + n, first + each, CORES))[1], range(CORES)):
        assert not wrong, wrong
    record_property("counted", f"simulated schedules={each}")


def digests(first: int, count: int) -> list[str]:
    with seams():
        made = []
        for seed in range(first, first + count):
            simulation = Simulation(seed)
            simulation.play()
            made.append(simulation.digest())
        return made


def test_a_seed_gives_the_same_schedule_bit_for_bit() -> None:
    assert digests(0, 100) == digests(0, 100)


def test_a_seed_gives_the_same_schedule_in_another_process_with_other_hashes() -> None:
    code = "import sys; from crash.test_simulation import digests; print(*digests(0, 60))"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": number, "PYTHONPATH": str(Path(__file__).parents[1])},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for number in ("1", "2")
    ]
    assert len(said[0]) == 60
    assert said[0] == said[1]


def _no_doubt(outcome: Outcome, *_: object, **__: object) -> Outcome:
    """Take a lost answer for a failure, and believe that nothing happened."""
    return Failed(outcome.reason, clean=True) if isinstance(outcome, Unknown) else outcome


TAKEN_AWAY: dict[str, tuple[object, Callable[..., object], int]] = {
    "the epoch of an entry": (summary.check_epoch, lambda *_: None, 2000),
    "the epoch of a takeover": (summary.check_takeover, lambda *_: None, 3000),
    "the wish to stop, and the locks": (journal.Journal._against, lambda *_: None, 2000),
    "the doubt of a lost answer": (move.last_word, _no_doubt, 2000),
}
"""A guard, what takes its place, and within how many schedules that is noticed."""


def replace(original: object, instead: object, patch: pytest.MonkeyPatch) -> None:
    """Put something in the place of a function, wherever in mimrun it is looked up."""
    if original is journal.Journal._against:
        patch.setattr(journal.Journal, "_against", instead)
    for name, module in [*sys.modules.items()]:
        if name.startswith("mimrun."):
            for attribute, value in [*vars(module).items()]:
                if value is original:
                    patch.setattr(module, attribute, instead)


@pytest.mark.parametrize("guard", TAKEN_AWAY)
def test_a_guard_that_is_taken_away_is_missed(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original, instead, within = TAKEN_AWAY[guard]
    replace(original, instead, monkeypatch)
    with seams():
        for seed in range(within):
            try:
                if Simulation(seed).play():
                    return
            except Exception:  # noqa: BLE001 - a broken promise may show itself as any error
                return
    pytest.fail(f"without {guard} {within} schedules went well")
