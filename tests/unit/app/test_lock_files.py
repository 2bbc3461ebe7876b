"""Of runs that are over no lock file is left; of others all are."""

from __future__ import annotations

from builders.plans import a_plan, action, gate
from builders.runs import Bench

from mimrun.app.lock_files import forget_locks
from mimrun.run.hold.lease import FileLease


def locks(bench: Bench) -> set[str]:
    return {path.stem for path in bench.settings.locks.glob("*.lock")}


def test_a_run_that_is_over_leaves_no_lock_file_and_one_that_waits_does(bench: Bench) -> None:
    _, verdict = bench.run(a_plan(bench.world, action("1", "read")))
    assert verdict.status == "succeeded"
    assert locks(bench) == set()
    waits, verdict = bench.run(a_plan(bench.world, gate("1"), action("2", "read")))
    assert verdict.status == "waiting"
    assert locks(bench) == {waits}
    bench.approve(waits)
    assert bench.execute(waits).status == "succeeded"
    assert locks(bench) == set()
    assert bench.is_intact()


def test_files_that_were_left_before_go_too_unless_somebody_holds_them(bench: Bench) -> None:
    runs = [bench.run(a_plan(bench.world, action("1", "read")))[0] for _ in range(2)]
    for run in (*runs, "of-another-home", "shell-7"):
        FileLease(bench.settings.locks, run).release()
    with bench.home() as home, FileLease(bench.settings.locks, runs[0]):
        assert forget_locks(home) == 1
    assert locks(bench) == {runs[0], "of-another-home", "shell-7"}
