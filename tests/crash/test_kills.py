"""`kill -9` at every named point and at any moment, once and again while it recovers, over runs of every shape.

After every series: nothing that the log acknowledged is lost, nothing that happens once happened twice, nothing was
done without an intent of its own, the log verifies, and the run has come to its end. What fails names its seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest
from builders.kills import AT_ANY_MOMENT, DECIDING, POINTS, Tally, play
from builders.share import CORES, of_heavy, shared

Record = Callable[[str, object], None]

QUICK, QUICK_PARTS = 320, 4
HEAVY, HEAVY_PARTS = of_heavy(20_000), 10
APART = 1_000_000
"""Seeds of the parts lie so far from each other."""
EVERYWHERE = {*POINTS, AT_ANY_MOMENT, DECIDING, "none", "read", "idempotent", "probe", "once"}
"""Every place to be killed at, and every effect class to be killed in."""
AT_MOST = 5
"""A rare place may take so many times the kills that were asked for until somebody was killed there."""


def until(kills: int, first: int, folder: Path, where: AbstractSet[str] = frozenset()) -> Tally:
    """Play series until so many processes were killed, and at least one at each of these places."""
    tally = Tally()
    for seed in itertools.count(first, 5):
        missed = where - hit(tally) if tally.kills.total() < AT_MOST * kills else ()
        if tally.kills.total() >= kills and not missed:
            return tally
        tally += play(range(seed, seed + 5), folder)
    raise AssertionError


def hit(tally: Tally) -> set[str]:
    """Give where somebody was killed: places, and effect classes that were under way."""
    return {*tally.kills, *(effect for _, effect in tally.cells)}


def record(tally: Tally, record_property: Record) -> None:
    record_property("counted", f"kills={tally.kills.total()}")
    record_property("counted", f"acknowledged entries looked for={tally.acknowledged}")


@pytest.mark.parametrize("part", range(QUICK_PARTS))
def test_kills_lose_nothing_and_repeat_nothing(part: int, memory: Path, record_property: Record) -> None:
    tally = until(QUICK // QUICK_PARTS, part * APART, memory)
    record(tally, record_property)
    assert len(tally.kills) > len(POINTS) // 2


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(HEAVY_PARTS))
def test_very_many_kills_lose_nothing_and_repeat_nothing(
    part: int, memory: Path, record_property: Record
) -> None:
    each = HEAVY // HEAVY_PARTS // CORES

    def one(number: int) -> Tally:
        folder = memory / str(number)
        folder.mkdir()
        return until(each, (QUICK_PARTS + part * CORES + number) * APART, folder, EVERYWHERE)

    tally = Tally()
    for other in shared(one, range(CORES)):
        tally += other
    record(tally, record_property)
    missed = EVERYWHERE - hit(tally)
    assert not missed, f"nobody was killed at {missed}"
