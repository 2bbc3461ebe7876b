"""Idle sessions: when somebody last did something in each, as this server saw it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

IDLE: Final = timedelta(minutes=30)
"""So long somebody may do nothing."""
_REMEMBERED: Final = 10_000


class Idle:
    """Remembers when each session was last used.

    It is not on record: an entry for each click would drown the log. A server that was started again counts from its
    start on, at most as long as it counts anyway.

    Arguments:
        clock: the present moment, UTC.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock, self._began = clock, clock()
        self._lock = threading.Lock()
        self._used: dict[str, datetime] = {}

    def is_over(self, session: str, opened: datetime) -> bool:
        """Say whether nothing was done in a session for too long."""
        last = self._used.get(session) or max(opened, self._began)
        return self._clock() - last >= IDLE

    def used(self, session: str) -> None:
        """Take note that something was done in a session."""
        with self._lock:
            now = self._clock()
            self._used[session] = now
            if len(self._used) > _REMEMBERED:
                self._used = {name: at for name, at in self._used.items() if now - at < IDLE}

    def forget(self, session: str) -> None:
        """Forget a session that is over."""
        with self._lock:
            self._used.pop(session, None)
