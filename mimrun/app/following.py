"""Following: watching a run live, whichever process executes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mimrun.app.home import Home
from mimrun.log.entry import LogEntry
from mimrun.run.lease import is_held
from mimrun.run.state import RunState
from mimrun.run.transitions import TERMINAL, RunStatus

_LOOK_S = 0.25
_GRACE_LOOKS = 12
"""So many looks at a run that nobody holds, until it counts as interrupted."""
_START_LOOKS = 60
"""So many while it has not begun: an engine that took it gives Prefect some seconds before it goes on alone."""

RESTING = TERMINAL | {RunStatus.WAITING, RunStatus.IN_DOUBT}
"""Where a run stays until a person does something."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One entry, and the state of the run after it."""

    entry: LogEntry
    state: RunState


class Follower:
    """Watches one run.

    Arguments:
        home: the opened home.
        run: the run's full name.
    """

    def __init__(self, home: Home, run: str) -> None:
        self._home, self.run = home, run
        self.state = RunState()
        self.after = 0
        self.interrupted = False

    def catch_up(self) -> None:
        """Take up everything that is on record by now."""
        for entry in self._home.store.entries(run=self.run):
            self._take(entry)

    def until_rest(self, executing: Callable[[], bool] | None = None) -> Iterator[Seen]:
        """Give entries as they are recorded, until the run has ended or waits for a person.

        Arguments:
            executing: says whether somebody is known to be executing the run; by default whoever
                holds its lease. When nobody is for a while, the run was interrupted.
        """
        idle = 0
        while True:
            found = self._home.store.follow(self.after, _LOOK_S, run=self.run)
            for entry in found:
                self._take(entry)
                yield Seen(entry, self.state)
            if self.state.status in RESTING:
                return
            held = executing() if executing else is_held(self._home.settings.locks, self.run)
            idle = 0 if held or found else idle + 1
            if idle > (_GRACE_LOOKS if self.state.status is RunStatus.RUNNING else _START_LOOKS):
                self.interrupted = True
                return

    def news(self, timeout: float) -> list[Seen]:
        """Give what has been recorded since the last look, waiting a little for it."""
        seen = []
        for entry in self._home.store.follow(self.after, timeout, run=self.run):
            self._take(entry)
            seen.append(Seen(entry, self.state))
        return seen

    def _take(self, entry: LogEntry) -> None:
        self.state.apply(entry)
        self.after = entry.seq
