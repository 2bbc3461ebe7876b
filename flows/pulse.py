"""Whether Prefect's API answers, asked again and again, so that no step has to wait to find out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

WAKING_S: Final = 0.1
BUSY_S: Final = 1.0
IDLE_S: Final = 5.0
MISSES: Final = 2
"""That many unanswered questions in a row make a lost API."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of the API now.

    Arguments:
        up: it answered when last asked.
        losses: how many times it was lost since the engine began. A run that sees another number than
            at its start knows that Prefect missed a part of it.
        reason: why it was lost last.
    """

    up: bool = False
    losses: int = 0
    reason: str = "prefect's api has not answered yet"


class Pulse:
    """Asks for the API's health on a thread of its own.

    Arguments:
        probe: asks once, and answers within a second or two.
        busy: whether a run is being shown now; asks less often when none is.
    """

    def __init__(self, probe: Callable[[], bool], busy: Callable[[], bool]) -> None:
        self._probe = probe
        self._busy = busy
        self._health = Health()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prefect-pulse", daemon=True)

    @property
    def health(self) -> Health:
        """What is known now; costs nothing to ask."""
        return self._health

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._hurry.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(5)

    def lost(self, reason: str) -> None:
        """Take note that the API is gone, from someone who knows sooner than a question would tell."""
        with self._changed:
            if self._health.up:
                self._health = Health(up=False, losses=self._health.losses + 1, reason=reason)
            self._changed.notify_all()
        self._hurry.set()

    def wait_up(self, seconds: float) -> bool:
        """Wait until the API answers, at most so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._health.up, seconds)

    def _run(self) -> None:
        misses = 0
        while not self._stop.is_set():
            if self._probe():
                misses = 0
                self._found()
            elif self._health.up and (misses := misses + 1) >= MISSES:
                self.lost("prefect's api does not answer")
            self._hurry.wait(self._pause(misses))
            self._hurry.clear()

    def _pause(self, misses: int) -> float:
        if not self._health.up or misses:
            return WAKING_S
        return BUSY_S if self._busy() else IDLE_S

    def _found(self) -> None:
        with self._changed:
            if not self._health.up:
                self._health = replace(self._health, up=True)
            self._changed.notify_all()
