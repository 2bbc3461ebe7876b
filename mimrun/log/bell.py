"""The bell: rung when something was appended, so that followers need not ask the database all the time."""

from __future__ import annotations

import threading


class Bell:
    """Rung by this process for itself; what others append is found by looking again.

    Arguments:
        look_again: seconds between two looks for what was appended by whom this does not hear.
    """

    def __init__(self, look_again: float) -> None:
        self._look_again = look_again
        self._rung = 0
        self._changed = threading.Condition()

    def ring(self) -> None:
        """Let followers look now."""
        with self._changed:
            self._rung += 1
            self._changed.notify_all()

    def heard(self) -> int:
        """How often it was rung: to be asked for before looking, so that no ringing is missed."""
        return self._rung

    def wait(self, heard: int, seconds: float) -> None:
        """Wait until it is rung once more than heard, or it is time to look again."""
        with self._changed:
            self._changed.wait_for(lambda: self._rung != heard, min(seconds, self._look_again))

    def close(self) -> None:
        """Stop listening. May be called twice."""
