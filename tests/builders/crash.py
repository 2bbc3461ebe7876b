"""Crashes: executing a run in a child process that is killed at a chosen append, for real."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from builders.runs import Bench

from mimrun.log.sqlite import SqliteStore

FINISHED = 0
"""What a child ends with that was not killed."""


def execute_and_die(bench: Bench, run: str, *, at: int, before: bool) -> bool:
    """Execute a run in a child process, and kill the child with SIGKILL around one of its appends.

    Arguments:
        at: which append, from 1.
        before: just before it is made, and not just after it is on disk.

    Returns:
        whether the child was killed; False when it made fewer appends and came to its end.
    """
    child = os.fork()
    if child == 0:
        _be_killed(lambda: bench.execute(run), at, before=before)
        os._exit(FINISHED)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _be_killed(work: Callable[[], object], at: int, *, before: bool) -> None:
    append, count, lock = SqliteStore.append, 0, threading.Lock()

    def counted(self: SqliteStore, *args: object, **kwargs: object) -> object:
        nonlocal count
        with lock:
            count += 1
            mine = count
        if mine == at and before:
            os.kill(os.getpid(), signal.SIGKILL)
        entries = append(self, *args, **kwargs)  # type: ignore[arg-type]
        if mine == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return entries

    SqliteStore.append = counted  # type: ignore[method-assign]
    try:
        work()
    finally:
        os._exit(FINISHED)
