"""Crashes: executing a run in a child process that is killed at a chosen append, for real."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence

from mimrun.log.entry import Draft, LogEntry
from mimrun.log.sqlite.store import SqliteStore
from mimrun.log.store import Guard

Choice = Callable[[int, Sequence[Draft]], bool]
"""Says of an append, by its number from 1 and its drafts, whether to be killed around it."""


def execute_and_die(execute: Callable[[], object], choose: Choice, *, before: bool) -> bool:
    """Say whether the child was killed; see `appends_until_death`."""
    return appends_until_death(execute, choose, before=before) is None


def appends_until_death(execute: Callable[[], object], choose: Choice, *, before: bool) -> int | None:
    """Execute a run in a child process, and kill the child with SIGKILL around one of its appends.

    Arguments:
        execute: executes the run, in the child.
        choose: which append.
        before: just before it is made, and not just after it is on disk.

    Returns:
        None when the child was killed; else how many appends it made until it came to its end.
    """
    child = os.fork()
    if child == 0:
        _be_killed(execute, choose, before=before)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    return os.WEXITSTATUS(status)


def the(number: int) -> Choice:
    """Choose an append by its number, from 1."""
    return lambda count, _: count == number


def _be_killed(execute: Callable[[], object], choose: Choice, *, before: bool) -> None:
    append, count, lock = SqliteStore.append, 0, threading.Lock()

    def counted(
        self: SqliteStore, drafts: Sequence[Draft], *, guard: Guard | None = None
    ) -> tuple[LogEntry, ...]:
        nonlocal count
        with lock:
            count += 1
            chosen = choose(count, drafts)
        if chosen and before:
            os.kill(os.getpid(), signal.SIGKILL)
        entries = append(self, drafts, guard=guard)
        if chosen:
            os.kill(os.getpid(), signal.SIGKILL)
        return entries

    SqliteStore.append = counted  # type: ignore[method-assign]  # in a child that ends with this function
    try:
        execute()
    finally:
        os._exit(count)
