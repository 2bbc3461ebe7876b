"""Work beside all other work: looked for now and then, and done on a thread that nobody waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from mimrun.errors import MimrunError

TROUBLE_S: Final = 60.0
"""How long work is left alone whose rules file, or the log, could not be used."""


class Aside:
    """Does one kind of work on a thread of its own, at most once at a time.

    Arguments:
        name: of the thread.
        every_s: seconds from one look to the next.
        monotonic: a clock in seconds.
    """

    def __init__(self, name: str, every_s: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._name, self._every_s, self._monotonic = name, every_s, monotonic
        self._next = 0.0
        self._thread: threading.Thread | None = None

    @property
    def rests(self) -> bool:
        """Whether it is not yet time to look, or the work is under way."""
        return self._monotonic() < self._next or (self._thread is not None and self._thread.is_alive())

    def looked(self) -> None:
        """Leave it alone until the next look."""
        self._next = self._monotonic() + self._every_s

    def trouble(self) -> None:
        """Leave it alone for longer: without this, a signer that is away would be asked every few seconds."""
        self._next = self._monotonic() + TROUBLE_S

    def begin(self, work: Callable[[], object]) -> None:
        """Begin the work.

        Arguments:
            work: a `MimrunError` of it is trouble, which the work itself has told the program log of.
        """
        # What hangs outside is left after its time; whoever ends this process does not wait for it.
        self._thread = threading.Thread(target=self._do, args=(work,), name=self._name, daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the work that is under way is done."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _do(self, work: Callable[[], object]) -> None:
        try:
            work()
        except MimrunError:
            self.trouble()
