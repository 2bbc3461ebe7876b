"""The person's own terminal in raw mode: every key goes through, and it is set back whatever happens."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
import tty
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any, Final, Self

ENDING: Final = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
"""Signals that end a session: the window was closed, or somebody wants us gone."""
NO_SIZE: Final = (80, 24)
"""What is taken for the size of a terminal that does not say."""
INPUT: Final = 0
OUTPUT: Final = 1


def window_size() -> tuple[int, int]:
    """Give the columns and rows of the terminal."""
    with suppress(OSError):
        packed = fcntl.ioctl(OUTPUT, termios.TIOCGWINSZ, bytes(8))
        rows, columns, _, _ = struct.unpack("HHHH", packed)
        if rows and columns:
            return columns, rows
    return NO_SIZE


@dataclass(slots=True)
class RawTerminal:
    """Raw mode for as long as the `with` lasts. For the main thread only, which signals come to.

    `resized` and `ended_by` are set by signals; `wake` is readable after each.
    """

    resized: bool = False
    ended_by: int = 0
    wake: int = -1
    _waker: int = -1
    _modes: list[Any] = field(default_factory=list)
    _handlers: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._modes = termios.tcgetattr(INPUT)
        self.wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            for number in (signal.SIGWINCH, *ENDING):
                self._handlers[number] = signal.signal(number, self._take)
            tty.setraw(INPUT, termios.TCSADRAIN)
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        # A terminal that is gone cannot be set back, and need not be.
        with suppress(termios.error, OSError):
            termios.tcsetattr(INPUT, termios.TCSADRAIN, self._modes)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for descriptor in (self.wake, self._waker):
            os.close(descriptor)
        self.wake = self._waker = -1

    def _take(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGWINCH:
            self.resized = True
        else:
            self.ended_by = number
        with suppress(OSError):  # full: it is readable already
            os.write(self._waker, b".")

    def clear(self) -> None:
        """Take note of the signals; `wake` is not readable any more."""
        with suppress(OSError):
            while os.read(self.wake, 512):
                pass

    def read(self) -> bytes:
        """Give what was typed; empty where nobody can type any more."""
        try:
            return os.read(INPUT, 4096)
        except OSError:
            return b""

    def show(self, data: bytes) -> bool:
        """Show what the host said; False where there is nobody to see it any more."""
        try:
            while data:
                data = data[os.write(OUTPUT, data) :]
        except OSError:
            return False
        return True
