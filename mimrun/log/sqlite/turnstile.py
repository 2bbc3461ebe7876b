"""A lock among processes that lets nobody starve.

SQLite's own lock is taken by whoever polls at the right moment: with eight busy processes one was seen
waiting four seconds. Nor does the kernel give a file lock to who waited longest: it wakes all who wait, and the
one that runs first has it, which often is the one that just let go of it. Here a process draws a number, holds
the byte of a file that has this number, and waits for the byte before it: so exactly one waits for each, and is
woken when it is its turn. Then it takes the lock itself, which alone keeps two from writing at once; the numbers
only say in which order. The kernel frees everything of a process that dies.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

_NUMBER: Final = struct.Struct("<q")
_DRAWN: Final = 0
"""Where the file holds the number that is drawn next; whoever draws holds the byte."""
_FIRST: Final = 1 << 20
"""The byte of number 0, beyond everything that is stored."""


class Turnstile:
    """Two lock files beside a database.

    Arguments:
        path: the database file; the locks are `<path>-turn` and `<path>-lock`.

    Raises:
        OSError: the lock files cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._turn = os.open(f"{path}-turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        self._mine = -1
        try:
            self._lock = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        except OSError:
            os.close(self._turn)
            raise

    def enter(self) -> None:
        """Wait for the lock and take it."""
        # 1. Draw a number, and hold its byte before anybody can draw the next.
        self._hold(_DRAWN)
        try:
            number = self._draw()
            self._hold(_FIRST + number)
            self._mine = number
        finally:
            self._let_go(_DRAWN)
        try:
            # 2. Wait until who drew the number before has left, or is dead.
            if number:
                self._hold(_FIRST + number - 1)
                self._let_go(_FIRST + number - 1)
            # 3. One that died in the queue lets two through at once: the lock does not.
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except BaseException:
            self._leave_queue()
            raise

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
        self._leave_queue()

    def close(self) -> None:
        """Let go of everything."""
        os.close(self._lock)
        os.close(self._turn)

    def _draw(self) -> int:
        stored = os.pread(self._turn, _NUMBER.size, _DRAWN)
        number: int = _NUMBER.unpack(stored)[0] if len(stored) == _NUMBER.size else 0
        # A number that makes no sense costs an order, and nothing else.
        number = number if 0 <= number < 1 << 60 else 0
        os.pwrite(self._turn, _NUMBER.pack(number + 1), _DRAWN)
        return number

    def _leave_queue(self) -> None:
        if self._mine >= 0:
            self._let_go(_FIRST + self._mine)
            self._mine = -1

    def _hold(self, byte: int) -> None:
        """Wait for a byte; it belongs to the open file, not to the process (fcntl(2), open file description locks)."""
        fcntl.fcntl(self._turn, fcntl.F_OFD_SETLKW, _flock(fcntl.F_WRLCK, byte))

    def _let_go(self, byte: int) -> None:
        fcntl.fcntl(self._turn, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, byte))


def _flock(kind: int, byte: int) -> bytes:
    """Write a `struct flock` for one byte: kind, whence, start, length, process."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0)
