"""Lock files: of a run that is over nothing is left in `lock/`."""

from __future__ import annotations

import contextlib

from mimrun.app.home import Home
from mimrun.errors import LogError
from mimrun.run.hold.lease import FileLeases
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import TERMINAL


def forget_locks(home: Home) -> int:
    """Remove the lock files of runs that are over and that nobody executes; gives how many they were.

    What cannot be removed now, is removed after another run. A run that waits keeps its file, and the epoch in it.
    """
    leases = home.leases
    removed = 0
    if isinstance(leases, FileLeases):
        # The run itself is done, and its outcome is not changed by a folder that cannot be tidied.
        with contextlib.suppress(LogError, OSError):
            removed = leases.forget(lambda run: _is_over(home, run))
    return removed


def _is_over(home: Home, run: str) -> bool:
    return RunSummary.decode(home.store.projection(RunSummaries.name, run)).status in TERMINAL
