"""A lock among processes that lets nobody starve.

SQLite's own lock is taken by whoever polls at the right moment: with eight busy processes one was seen
waiting four seconds. Here a process first takes the *turn*, then the *lock*, then gives the turn back.
The one that holds the turn is the only one waiting for the lock, so the process that just let go of the
lock cannot take it again before it. The kernel frees both when a process dies.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Turnstile:
    """Two lock files beside a database.

    Arguments:
        path: the database file; the locks are `<path>-turn` and `<path>-lock`.

    Raises:
        OSError: the lock files cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._turn = os.open(f"{path}-turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        try:
            self._lock = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        except OSError:
            os.close(self._turn)
            raise

    def enter(self) -> None:
        """Wait for the lock and take it."""
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def try_enter(self) -> bool:
        """Take the lock if nobody has it."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def leave(self) -> None:
        """Let go of the lock."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of everything."""
        os.close(self._lock)
        os.close(self._turn)
