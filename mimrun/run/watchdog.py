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
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from mimrun.connector import Call
from mimrun.run.stop import Stop

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
class _Answer(Generic[T]):
    """What the thread of a connector came back with."""

    value: T | None = None
    error: BaseException | None = None
    left: bool = False


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
    answer: _Answer[T] = _Answer()
    done, lock = threading.Event(), threading.Lock()

    def do() -> None:
        try:
            answer.value = work()
        except BaseException as exc:  # noqa: BLE001 - raised again by whoever waits
            answer.error = exc
        with lock:
            done.set()
            too_late = answer.left
        if too_late and answer.value is not None:
            # The run is long elsewhere; what cannot be kept of this is lost, as it would be with a crash.
            with contextlib.suppress(Exception):
                late(answer.value)

    # What a connector logs belongs to the run and step of whoever waits for it.
    name, context = threading.current_thread().name + "-at-work", contextvars.copy_context()
    threading.Thread(target=context.run, args=(do,), name=name, daemon=True).start()
    while not done.wait(_LOOK_S):
        if (stop.ends_work() and ends) or stop.aborted_for():
            call.stop.set()
        reason = _too_long(call, stop)
        if reason:
            with lock:
                if done.is_set():
                    break
                answer.left = True
            call.stop.set()
            return Left(reason)
    if answer.error is not None:
        raise answer.error
    assert answer.value is not None
    return answer.value


def _too_long(call: Call, stop: Stop) -> str:
    if stop.aborted_for() > ABORT_S:
        return f"aborted: {stop.reason}; nobody waited for the target to answer"
    if time.monotonic() > call.deadline + GRACE_S:
        return f"the connector did not come back within {GRACE_S:g} s after its deadline"
    return ""
