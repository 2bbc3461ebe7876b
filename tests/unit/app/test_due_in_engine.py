"""The engine asks mimrun for what is to be taken back."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from builders.drawer import CATALOG, Drawer, put
from builders.plans import a_plan, action
from builders.runs import Bench

import flows.execution
from flows.execution import RunExecutor
from mimrun.app.home import open_home
from mimrun.app.undo import follow_ups
from mimrun.runbook.node import StepOptions


def test_the_engine_is_given_the_runs_of_the_timer_and_no_run_of_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.execution, "open_home", partial(open_home, catalog=CATALOG))
    bench, drawer = Bench(tmp_path, CATALOG), Drawer(tmp_path / "drawer")
    drawer.put("a", "old")
    forward, _ = bench.run(a_plan(bench.world, put("1", "a", "new", options=StepOptions(revert_after_ms=1))))
    bench.create(a_plan(bench.world, action("1", "read")))
    executor = RunExecutor(bench.settings.home)
    (undo,) = executor.due()
    assert executor.due() == [undo], "until somebody executes it"
    assert bench.execute(undo).status == "succeeded"
    assert executor.due() == []
    with bench.home() as home:
        assert follow_ups(home, forward).undos == (undo,)
    assert drawer.read() == {"a": "old"}
