"""Stopping: how a worker learns that a person wants its run to rest or to end, and how much of a hurry there is.

    pause        what is under way finishes, nothing new begins; the run waits
    kill switch  the same for every run, from a file that is there also when the log is not
    cancel       nothing new begins, what is under way is ended on its target; the run ends
    abort        as cancel, and nobody waits for what is under way any longer: it is left in doubt

A stronger wish overrides a weaker one, and only a pause can be taken back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

from mimrun.errors import MimrunError, RunError
from mimrun.log.entry import LogEntry
from mimrun.log.store import RunStore
from mimrun.run.hold.killswitch import Latch, pulled_in
from mimrun.run.record.wish import WISHES, Level, Wish, wish_after

_LOOK_S: Final = 0.2

Waits: TypeAlias = Literal["pause", "killswitch", "lock", "gate", "again"]
_WAITS: Final[dict[Level, Waits]] = {Level.PAUSE: "pause", Level.KILL_SWITCH: "killswitch"}


class Halt(Exception):
    """The run stops here, in order.

    Arguments:
        reason: for a person.
        gate: the gate that is not open any more; None where the run stops for another reason.
        waits: what the run waits for then; None where it ends, or where the gate has to be asked again; `again`
            where it waits for nothing, and only has to look at what people have said meanwhile.
    """

    def __init__(self, reason: str, *, gate: str | None = None, waits: Waits | None = None) -> None:
        super().__init__(reason)
        self.reason, self.gate, self.waits = reason, gate, waits


def halt_of(wish: Wish) -> Halt:
    """Give what a wish means for the run."""
    return Halt(wish.reason, waits=_WAITS.get(wish.level))


class Stop:
    """What people want of one run, as its worker knows it.

    Arguments:
        store: followed for a request in the log, which may come from any process.
        run: the run whose requests count.
        after: the last entry that was already looked at.
        already: what is on record up to there.
        latch: the kill switch of this machine.
        seen: told after each look up to which entry the log was looked at.
    """

    def __init__(
        self,
        store: RunStore,
        run: str,
        after: int,
        *,
        already: Wish = Wish(),  # noqa: B008 - it is frozen
        latch: Latch | None = None,
        seen: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._wish = Wish()
        self._failure: MimrunError | None = None
        self._wanted = threading.Event()
        self._done = threading.Event()
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self._latch, self._seen, self._aborted_at = latch, seen, 0.0
        self._store, self._run, self._after = store, run, after
        self._thread = threading.Thread(target=self._watch, name=f"stop-{run}", daemon=True)
        if already.level:
            self.want(already.reason, already.level)

    @property
    def reason(self) -> str:
        """Why, in the words of who asked; of the strongest wish."""
        return self._wish.reason

    @property
    def level(self) -> Level:
        """How strongly somebody wants the run to stop. No I/O."""
        return self._wish.level

    def want(self, reason: str, level: Level = Level.CANCEL) -> None:
        """Ask to stop. Of two wishes of one strength the first is kept."""
        with self._lock:
            if level > self._wish.level:
                self._wish = Wish(level, reason)
                if level is Level.ABORT:
                    self._aborted_at = time.monotonic()
            self._wanted.set()

    def wanted(self) -> bool:
        """Say whether to begin nothing new. Looks at the kill switch of this machine, never at the log.

        Raises:
            MimrunError: the log cannot be read any more, so nobody can know.
        """
        if self._failure is not None:
            raise self._failure
        self._look_at_latch()
        return self._wanted.is_set()

    def halt(self) -> Halt:
        """Give what the strongest wish means for the run."""
        return halt_of(self._wish)

    def ends_work(self) -> bool:
        """Say whether what is under way is to be ended on its target. No I/O."""
        return self._wish.level >= Level.CANCEL

    def aborted_for(self) -> float:
        """Say for how many seconds it is known that nobody is to wait any longer; 0.0 where it is not so."""
        return max(time.monotonic() - self._aborted_at, 1e-9) if self._wish.level is Level.ABORT else 0.0

    def catch_up(self) -> None:
        """Look at the log now, instead of in a moment."""
        with self._looking:
            self._look()

    def wait(self, seconds: float) -> bool:
        """Wait, but not longer than until somebody asks to stop; say whether somebody did."""
        return self._wanted.wait(seconds)

    def _watch(self) -> None:
        try:
            while not self._done.wait(_LOOK_S):
                self.catch_up()
        except MimrunError as exc:
            self._failure = exc
            self._wanted.set()
        except Exception as exc:  # noqa: BLE001 - a watcher that is gone must not look like one that sees nothing
            self._failure = RunError(f"nobody can know any more whether the run is to stop: {exc!r}")
            self._wanted.set()

    def _look(self) -> None:
        self._look_at_latch()
        size = self._store.head().size
        if size > self._after:
            for entry in self._store.entries(run=self._run, after=self._after, kinds=WISHES):
                self._take(entry)
            pulled = pulled_in(self._store)
            if pulled:
                self.want(pulled, Level.KILL_SWITCH)
            self._after = size
        self._seen(self._after)

    def _look_at_latch(self) -> None:
        reason = self._latch.reason() if self._latch is not None else ""
        if reason:
            self.want(reason, Level.KILL_SWITCH)

    def _take(self, entry: LogEntry) -> None:
        now = wish_after(self._wish, entry)
        if now.level:
            self.want(now.reason, now.level)
            return
        with self._lock:
            if self._wish.level <= Level.PAUSE:
                self._wish = now
                self._wanted.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(timeout=5 * _LOOK_S)
