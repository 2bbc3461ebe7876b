"""What people want of a replayed run: they have said it in the record, and its worker noticed it when that one did."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Protocol, Self

from mimrun.log.store import RunStore
from mimrun.replay.turns import TapeOver, Turns
from mimrun.run.hold.stop import Stop
from mimrun.run.record.wish import Level, Wish

_JUST_NOW_S: Final = 0.001
"""So long ago an abort was noticed: nothing that is replayed takes long enough for anybody to be left behind."""


class Hints(Protocol):
    """What the record tells of a moment at which the worker of then had noticed something, or had not yet."""

    turns: Turns

    def is_abandoned(self) -> bool:
        """Say whether an abort ended the attempt that this thread is at."""

    def ended(self) -> bool:
        """Say whether the run had noticed by now that it is to end."""


class RecordedStop(Stop):
    """The watcher for a wish to stop. It looks when the record shows that the worker of then had looked.

    That worker looked five times a second, beside its work; the record shows what it did, and not when it looked. So
    this one looks as late as it can: when it would otherwise do what is not on record.

    Arguments:
        store, run, after, already: see `Stop`.
        hints: what the record tells.
    """

    def __init__(self, store: RunStore, run: str, after: int, *, already: Wish, hints: Hints) -> None:
        super().__init__(store, run, after, already=already)
        self._hints = hints

    @property
    def noticed(self) -> bool:
        """Whether it knows that somebody asked to stop."""
        return self._wanted.is_set()

    def notice(self, switch: str = "") -> bool:
        """Look now; say whether anything is known that was not before.

        Arguments:
            switch: why the kill switch of that machine was pulled, where the log did not have it yet.
        """
        before = self._wish
        self.catch_up()
        if switch:
            self.want(switch, Level.KILL_SWITCH)
        return self._wish != before

    def ends_work(self) -> bool:
        """Say whether what is under way is to be ended."""
        if not super().ends_work() and self._hints.ended():
            self.notice()
        return super().ends_work()

    def aborted_for(self) -> float:
        """Say for how long it is known that nobody is to wait any longer; 0.0 where it is not so."""
        aborted = self._wish.level is Level.ABORT or self._hints.is_abandoned()
        return _JUST_NOW_S if aborted else 0.0

    def wait(self, seconds: float) -> bool:
        """Let time pass, but not longer than until it is noticed that somebody asked to stop.

        Raises:
            TapeOver: nothing more is replayed.
        """
        turns = self._hints.turns
        turns.sleep(seconds, self._wanted.is_set)
        if turns.over:
            raise TapeOver
        return self._wanted.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
