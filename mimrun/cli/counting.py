"""How far something is, on a terminal and on standard error alone, if it takes a while."""

from __future__ import annotations

import sys
import time
from typing import Final, Self

_PATIENCE_S: Final = 1.0
"""Seconds that something may take without a word."""
_SHOWN_S: Final = 0.2
"""Seconds between two looks at how far it is."""


class Counting:
    """Shows a line that is written over, and gone at the end.

    Arguments:
        aside: show nothing where standard output is the terminal, too, because that shows how far it is.
    """

    def __init__(self, *, aside: bool = False) -> None:
        self._next = time.monotonic() + _PATIENCE_S
        self._shown = False
        self._looked_at = sys.stderr.isatty() and not (aside and sys.stdout.isatty())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._write("")

    def show(self, size: int, what: str) -> None:
        """Show how many of something are done, a few times a second."""
        if self._looked_at and time.monotonic() >= self._next:
            self._next, self._shown = time.monotonic() + _SHOWN_S, True
            self._write(f"{size:,} {what}")

    def checked(self, size: int) -> None:
        """Show how many entries have been checked."""
        self.show(size, "entries checked")

    def folded(self, size: int) -> None:
        """Show how many entries have been folded anew."""
        self.show(size, "entries folded anew")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
