"""Having checkpoints signed, in a thread of its own: nobody who appends waits for the signer.

Only what is on disk is given to the signer, for it must never sign a tree that may vanish. Where places to sign
come faster than signatures, the newest is signed, which covers all before it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from mimrun.errors import LogError, RefusedError
from mimrun.log.checkpointing import Point
from mimrun.log.proof.signer import Signer

PAUSE_S: Final = 0.2
"""Seconds between two signatures: with very many appends, a few of them a second are enough."""
RETRY_S: Final = 60.0
"""Seconds for which a signer that failed is left alone."""
ANSWER_S: Final = 2.0
"""Seconds that a log which is being closed waits for the last signature."""


Told: TypeAlias = Callable[[Point, str | Exception], None]
"""Is told of each signed note, and of each failure. Called in the thread."""


class Signing:
    """Signs places of one log, one after the other.

    Arguments:
        signer: signs.
        leaves: gives the leaf hashes behind the first number up to the second.
        size: gives how many entries there are now.
        keep: stores the note of so many entries, and returns when it is on disk.
        told: is told what came of it.
    """

    def __init__(
        self,
        signer: Signer,
        *,
        leaves: Callable[[int, int], Iterable[bytes]],
        size: Callable[[], int],
        keep: Callable[[int, str], None],
        told: Told,
    ) -> None:
        self._signer, self._leaves, self._size = signer, leaves, size
        self._keep, self._told = keep, told
        self._changed = threading.Condition()
        self._wanted: Point | None = None
        self._busy = self._hurry = self._closing = False
        self._not_before = 0.0
        self.failure: Exception | None = None
        """Why the last attempt came to nothing; None where it did not."""
        self._thread: threading.Thread | None = None
        self.on_rest: Callable[[], None] = lambda: None
        """Called in the thread whenever there is nothing more to do for now."""

    def ask(self, point: Point) -> None:
        """Have a place signed; one that still waits and is smaller is left out."""
        with self._changed:
            self._wanted = point
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mimrun-sign", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def hurry(self) -> None:
        """Make no pause before the next signatures: somebody waits for them."""
        with self._changed:
            self._hurry, self._not_before = True, 0.0
            self._changed.notify_all()

    def at_rest(self) -> bool:
        """Whether nothing is being signed or about to be; what failed waits for another time."""
        with self._changed:
            return not self._busy and (self._wanted is None or self.failure is not None)

    def wait(self, seconds: float) -> None:
        """Wait until nothing is being signed or about to be, but not longer than so many seconds."""
        self.hurry()
        with self._changed:
            self._changed.wait_for(lambda: not self._busy and not self._hurry, seconds)

    def close(self) -> None:
        """Sign nothing more. What is under way may come to its end, without anybody waiting for it."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (point := self._next()) is not None:
            note, failure = "", None
            try:
                note = self._sign(point)
            except Exception as exc:  # noqa: BLE001 - whatever it is, the log goes on
                failure = exc
            if failure is not None or note:
                self._told(point, failure or note)
            with self._changed:
                self._busy, self.failure = False, failure
                self._hurry = self._hurry and failure is None and self._wanted is not None
                pause = RETRY_S if failure is not None else 0.0 if self._hurry else PAUSE_S
                self._not_before = time.monotonic() + pause
                if failure is not None and self._wanted is None:
                    self._wanted = point
                self._changed.notify_all()
            self.on_rest()

    def _next(self) -> Point | None:
        """Wait until something may be signed; None when nothing is to be signed any more."""
        with self._changed:
            while not self._closing:
                left = self._not_before - time.monotonic()
                if self._wanted is not None and left <= 0:
                    point, self._wanted, self._busy = self._wanted, None, True
                    return point
                if self._wanted is None and self._hurry:
                    self._hurry = False
                    self._changed.notify_all()
                self._changed.wait(None if self._wanted is None else left)
            return None

    def _sign(self, point: Point) -> str:
        """Sign and store; give the note, or "" where a larger tree has been signed meanwhile."""
        done = self._signer.signed_size()
        if done > point.size:
            return self._late(done)
        try:
            note = self._signer.sign(point.size, bytes.fromhex(point.root), self._leaves(done, point.size))
        except RefusedError:
            # Another process may have been faster, between the two questions.
            if (done := self._signer.signed_size()) > point.size:
                return self._late(done)
            raise
        self._keep(point.size, note)
        return note

    def _late(self, done: int) -> str:
        if done > (size := self._size()):
            raise LogError(
                f"the signer has signed a log of {done} entries and this one has {size}: it was cut, or an old copy"
                " was put in its place; see docs/how-to/restore-the-log.md"
            )
        return ""
