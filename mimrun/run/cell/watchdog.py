"""The watchdog: waits for a connector, but not for ever.

A connector is called on a thread of its own. Whoever waits for it tells it when a person wants the work
under way to end, and leaves it behind when it does not come back: some time after its deadline, and soon
after an abort. What is left behind may still act, and its connection is never used again.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from mimrun.connector import Call
from mimrun.run.hold.stop import Stop

GRACE_S: Final = 15.0
"""So long after its deadline a connector may take to end the work on its target, and to prove it."""

ABORT_S: Final = 1.5
"""So long after an abort is known a connector is still waited for."""

_LOOK_S: Final = 0.05

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Left:
    """A connector that nobody waits for any longer, and why."""

    reason: str


@dataclass(slots=True)
class _Errand(Generic[T]):
    """The work of one connector, on a thread of its own."""

    work: Callable[[], T]
    late: Callable[[T], None]
    value: T | None = None
    error: BaseException | None = None
    left: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def do(self) -> None:
        """Work, and tell whoever waits; where nobody does any more, hand the answer in as a late one.

        A thread that comes to run only when nobody waits any longer begins nothing: the machine was frozen, or
        had no time for it, and what is to happen now was decided without it.
        """
        if self._is_left():
            return
        try:
            self.value = self.work()
        except BaseException as exc:  # noqa: BLE001 - raised again by whoever waits
            self.error = exc
        with self.lock:
            self.done.set()
            too_late = self.left
        if too_late and self.value is not None:
            # The run is long elsewhere; what cannot be kept of this is lost, as it would be with a crash.
            with contextlib.suppress(Exception):
                self.late(self.value)

    def _is_left(self) -> bool:
        with self.lock:
            return self.left

    def leave(self) -> bool:
        """Wait no longer; False where it has come back at this very moment."""
        with self.lock:
            self.left = not self.done.is_set()
            return self.left

    def answer(self) -> T:
        """Give what it came back with, or raise what it raised."""
        if self.error is not None:
            raise self.error
        assert self.value is not None
        return self.value


class Watch(Protocol):
    """Lets a connector work, and waits for it; see `watched`."""

    def __call__(
        self,
        work: Callable[[], T],
        call: Call,
        stop: Stop,
        *,
        late: Callable[[T], None] = ...,
        ends: bool = True,
    ) -> T | Left:
        """Give what it came back with, or say that nobody waits for it any longer."""


def watched(
    work: Callable[[], T],
    call: Call,
    stop: Stop,
    *,
    late: Callable[[T], None] = lambda _: None,
    ends: bool = True,
) -> T | Left:
    """Let a connector work, and wait for it as long as it is due.

    Arguments:
        work: calls the connector; never raises an `Exception`.
        call: of this work; its `stop` is set when a person wants what is under way to end.
        late: called with the answer of a connector that was left, on that connector's thread.
        ends: a cancel ends this work; else only an abort does, as for a look that settles a doubt.
    """
    errand = _Errand(work, late)
    # What a connector logs belongs to the run and step of whoever waits for it.
    name, context = threading.current_thread().name + "-at-work", contextvars.copy_context()
    threading.Thread(target=context.run, args=(errand.do,), name=name, daemon=True).start()
    while not errand.done.wait(_LOOK_S):
        if (stop.ends_work() and ends) or stop.aborted_for():
            call.stop.set()
        reason = _too_long(call, stop)
        if reason and errand.leave():
            call.stop.set()
            return Left(reason)
    return errand.answer()


def _too_long(call: Call, stop: Stop) -> str:
    if stop.aborted_for() > ABORT_S:
        return f"aborted: {stop.reason}; nobody waited for the target to answer"
    if time.monotonic() > call.deadline + GRACE_S:
        return f"the connector did not come back within {GRACE_S:g} s after its deadline"
    return ""
