"""Following: watching a run live, whichever process executes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mimrun.app.home import Home
from mimrun.log.entry import LogEntry
from mimrun.run.record.fold import apply
from mimrun.run.record.state import RunState
from mimrun.run.record.transitions import TERMINAL, RunStatus

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
        self.interrupted = False
        self._before = -1

    def catch_up(self) -> None:
        """Take up everything that is on record by now.

        The run is executed, or is about to be: of one that rests, only a rest after a new start counts from
        here on.
        """
        for entry in self._home.store.entries(run=self.run, after=self.state.seq):
            apply(self.state, entry)
        executed = self.state.status is RunStatus.RUNNING
        self._before = self.state.epoch - executed

    def rests(self) -> bool:
        """Say whether the run has ended or waits for a person."""
        return self.state.status in RESTING and self.state.epoch > self._before

    def until_rest(
        self, executing: Callable[[], bool] | None = None, between: Callable[[], None] = lambda: None
    ) -> Iterator[Seen]:
        """Give entries as they are recorded, until the run has ended or waits for a person.

        Arguments:
            executing: says whether our own worker is still there; when it is not, the run rests or was
                interrupted. Without it whoever holds the lease counts, and nobody for a while means
                interrupted.
            between: called between two looks.
        """
        idle = 0
        while True:
            working = executing is None or executing()
            found = self.news(_LOOK_S if working else 0)
            yield from found
            if self.rests():
                return
            idle = 0 if found or self._is_executed(executing) else idle + 1
            if not working or idle > (
                _GRACE_LOOKS if self.state.status is RunStatus.RUNNING else _START_LOOKS
            ):
                self.interrupted = True
                return
            between()

    def _is_executed(self, executing: Callable[[], bool] | None) -> bool:
        return executing is not None or self._home.leases.is_held(self.run)

    def news(self, timeout: float) -> list[Seen]:
        """Give what has been recorded since the last look, waiting a little for it."""
        seen = []
        for entry in self._home.store.follow(self.state.seq, timeout, run=self.run):
            apply(self.state, entry)
            seen.append(Seen(entry, self.state))
        return seen
