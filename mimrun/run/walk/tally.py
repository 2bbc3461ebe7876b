"""The tally: counts the hosts that fail while a step is worked on, so that it can end before all have."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from mimrun.run.walk.roster import Allowance, Roster

NOT_BEGUN: Final = "not begun: "
"""What the reason of a target begins with that was left alone because too many others had failed."""


class Tally:
    """Knows, among many threads, when more hosts have failed than may.

    Arguments:
        roster: what holds for the step.
        failed: the hosts on which it is on record by now that the step failed.
    """

    def __init__(self, roster: Roster, failed: Iterable[str] = ()) -> None:
        self._roster, self._failed = roster, frozenset(failed)
        self._lock = threading.Lock()
        self.exceeded: Allowance | None = roster.overdrawn(self._failed) if self._failed else None
        """What is exceeded; None as long as targets may be begun."""

    def note(self, host: str) -> None:
        """Note that the step failed on a host."""
        with self._lock:
            self._failed |= {host}
            self.exceeded = self.exceeded or self._roster.overdrawn(self._failed)

    def reason(self) -> str:
        """Say why a target is not begun any more."""
        assert self.exceeded is not None
        return f"{NOT_BEGUN}{self.exceeded.told(self._roster.failed | self._failed)}"
