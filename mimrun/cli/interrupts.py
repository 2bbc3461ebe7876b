"""Ctrl-C: a wish that is taken note of, so that it never cuts through what mimrun itself is doing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final, Self

INTERRUPTED: Final = 130
"""What a process ends with that a person interrupted."""


class Interrupts:
    """While the `with` lasts, the first Ctrl-C is noted, and the next one ends this process at once.

    Ending at once is what a crash would do, and just as harmless: what was intended is on record.

    Arguments:
        parting: the last words, for a person who leaves.
    """

    def __init__(self, parting: str) -> None:
        self._parting = parting
        self._noted = False
        self._before: Callable[[int, FrameType | None], object] | int | None = None

    def noted(self) -> bool:
        """Say whether somebody pressed Ctrl-C."""
        return self._noted

    def forgive(self) -> None:
        """Forget it: the person decided to stay."""
        self._noted = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted:
            # No buffered output here: the signal may have come in the middle of it.
            os.write(2, f"\n{self._parting}\n".encode())
            os._exit(INTERRUPTED)
        self._noted = True

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
