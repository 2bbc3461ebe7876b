"""What drives a run may do anything but change the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from builders.plans import a_plan, action
from builders.runs import Bench
from builders.world import WORLD, words

from mimrun.app.execution import StepFailed, StepLabel, execute_run


def forgets(label: StepLabel, do: Callable[[], None]) -> None:
    """Never do the step."""


def repeats(label: StepLabel, do: Callable[[], None]) -> None:
    """Do the step twice, whatever comes of it."""
    try:
        do()
    finally:
        do()


def breaks(label: StepLabel, do: Callable[[], None]) -> None:
    """Do the step, and say that it failed."""
    do()
    raise StepFailed("the driver broke")


@pytest.mark.parametrize("driver", [forgets, repeats, breaks])
def test_driver_does_not_change_what_comes_of_a_step(
    memory: Path, driver: Callable[[StepLabel, Callable[[], None]], None]
) -> None:
    bench = Bench(memory)
    run = bench.create(a_plan(bench.world, action("1"), action("2")))
    verdict = execute_run(bench.settings, run, catalog=WORLD, around_step=driver)
    assert verdict.status == "succeeded"
    assert words(bench.world) == ["a:w1", "a:w2"]


@pytest.mark.parametrize("driver", [forgets, repeats, breaks])
def test_driver_does_not_change_what_comes_of_a_step_that_fails(
    memory: Path, driver: Callable[[StepLabel, Callable[[], None]], None]
) -> None:
    bench = Bench(memory)
    run = bench.create(a_plan(bench.world, action("1", word="x", answer="failed"), action("2")))
    verdict = execute_run(bench.settings, run, catalog=WORLD, around_step=driver)
    assert verdict.status == "failed"
    assert not words(bench.world)
