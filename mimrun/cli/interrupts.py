"""Ctrl-C: a wish that is counted, so that it never cuts through what mimrun itself is doing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final, Self

INTERRUPTED: Final = 130
"""What a process ends with that a person interrupted."""


class Interrupts:
    """While the `with` lasts, each Ctrl-C is counted; one too many ends this process at once.

    Ending at once is what a crash would do, and just as harmless: what was intended is on record.

    Arguments:
        parting: the last words, for a person who leaves.
        before_leaving: so many are only counted; the next one ends the process.
    """

    def __init__(self, parting: str, *, before_leaving: int = 1) -> None:
        self._parting, self._before_leaving = parting, before_leaving
        self._presses = 0
        self._before: Callable[[int, FrameType | None], object] | int | None = None

    def presses(self) -> int:
        """Say how often somebody pressed Ctrl-C."""
        return self._presses

    def forgive(self) -> None:
        """Forget it: nobody pressed it again."""
        self._presses = 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._presses += 1
        if self._presses > self._before_leaving:
            # No buffered output here: the signal may have come in the middle of it.
            os.write(2, f"\n{self._parting}\n".encode())
            os._exit(INTERRUPTED)

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
