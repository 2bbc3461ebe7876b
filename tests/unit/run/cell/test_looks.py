"""How often a probe looks: no more once it was told to end the work, nor when it has waited for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from builders.plans import a_plan, action
from builders.runs import RESPONDER, Bench
from builders.world import HOOKS, World, WorldAction

from mimrun.app.stopping import request_stop
from mimrun.catalog import Catalog
from mimrun.connector import Call, Finding, Probed
from mimrun.run.cell import look
from mimrun.run.record.wish import Level
from mimrun.runbook.node import StepOptions


class Blind(World):
    """A world that cannot tell; what it does while it looks is the hook `look`."""

    stops: ClassVar[list[bool]] = []
    patience: ClassVar[float] = 0.0

    def _probe(self, action: WorldAction, call: Call) -> Probed:
        HOOKS["look"]()
        self.stops.append(call.stop.wait(self.patience))
        return Probed(Finding.UNKNOWN, "nobody can tell")


class Ending(Blind):
    """The same, and it ends the work that it finds."""

    ends_in_probe: ClassVar[bool] = True
    patience: ClassVar[float] = 10.0


def looks(
    folder: Path, world: type[Blind], timeout_ms: int, hook: Callable[[Bench, str], None]
) -> list[bool]:
    """Give for each look of a lost attempt whether it was told to stop."""
    bench = Bench(folder, Catalog(connectors={"world": world}))
    options = StepOptions(timeout_ms=timeout_ms)
    run = bench.create(a_plan(bench.world, action("1", "probe", word="x", answer="lost", options=options)))
    HOOKS["look"] = lambda: hook(bench, run)
    Blind.stops.clear()
    try:
        assert bench.execute(run).status == "in_doubt"
    finally:
        HOOKS.clear()
    assert bench.kinds(run).count("step.probed") == len(Blind.stops)
    return [*Blind.stops]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "PROBE_PAUSES_S", (0.0, 0.0, 0.0))


def cancel(bench: Bench, run: str) -> None:
    """Ask for the run to end, and let its worker learn of it."""
    with bench.home() as home:
        if not Blind.stops:
            request_stop(home, run, RESPONDER, Level.CANCEL, "enough")


def test_without_a_wish_a_quick_look_that_cannot_tell_is_made_three_times(tmp_path: Path) -> None:
    assert looks(tmp_path, Blind, 1_000, lambda bench, run: None) == [False] * 3


def test_a_look_that_waited_for_the_whole_time_is_the_last(tmp_path: Path) -> None:
    assert looks(tmp_path, Blind, 1_000, lambda bench, run: time.sleep(0.8)) == [False]


def test_a_look_that_was_told_to_end_the_work_is_the_last(tmp_path: Path) -> None:
    assert looks(tmp_path, Ending, 60_000, cancel) == [True]


def test_a_connector_that_ends_nothing_in_its_look_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Blind, "patience", 0.5)
    assert looks(tmp_path, Blind, 60_000, cancel) == [False] * 3
