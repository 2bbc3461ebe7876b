"""`kill -9` around every append of a time-boxed change, from the change to its way back: taken back once."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from builders.crash import appends_until_death, the
from builders.drawer import CATALOG, Drawer, put
from builders.plans import a_plan
from builders.runs import RESPONDER, Bench

from mimrun.app.decisions import resolve
from mimrun.app.reverts import RevertStatus, list_reverts
from mimrun.app.runs import find_run
from mimrun.app.undo import follow_ups
from mimrun.app.worker import Worker
from mimrun.runbook.node import StepOptions

AT_ONCE = StepOptions(delay_ms=1, revert_after_ms=1)


def see_through(bench: Bench, run: str) -> None:
    """Resume the run if it has to be, and let a worker do the rest."""
    if bench.state(run).status not in ("succeeded", "failed", "cancelled"):
        bench.execute(run)
    Worker(bench.settings, catalog=CATALOG).once()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_kill_around_every_append_takes_back_exactly_once(memory: Path, before: bool) -> None:
    """Of the run, of the timer asking for the way back, and of the way back itself."""
    killed = 0
    for at in range(1, 60):
        folder = memory / str(at)
        folder.mkdir()
        bench, drawer = Bench(folder, CATALOG), Drawer(folder / "drawer")
        drawer.put("a", "old")
        run = bench.create(a_plan(bench.world, put("1", "a", "new", options=AT_ONCE)))
        made = appends_until_death(partial(see_through, bench, run), the(at), before=before)
        killed += made is None
        settle(bench, run)
        assert drawer.read() == {"a": "old"}
        back = [word for word in drawer.effects() if word == "a=old"]
        assert len(back) in (1, 2), "what may be repeated is repeated by at most one crash"
        with bench.home() as home:
            assert len(follow_ups(home, run).undos) == 1
            assert [view.status for view in list_reverts(home)] == [RevertStatus.DONE]
        assert bench.is_intact()
        if made is not None:
            break
    assert killed >= 12


def settle(bench: Bench, run: str) -> None:
    """Go on as a worker and, where it is not known what was left, a person would."""
    for _ in range(6):
        see_through(bench, run)
        with bench.home() as home:
            for undo in follow_ups(home, run).undos:
                if find_run(home, undo).status == "in_doubt":
                    resolve(home, undo, RESPONDER, step="1", resolution="not_applied", reason="put it back")
        for undo in undos(bench, run):
            if bench.state(undo).status == "in_doubt":
                bench.execute(undo)


def undos(bench: Bench, run: str) -> tuple[str, ...]:
    with bench.home() as home:
        return follow_ups(home, run).undos
