"""Stopping: how a worker learns that a person wants its run to end."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from mimrun.errors import MimrunError, RunError
from mimrun.log.kinds import Kind
from mimrun.log.store import Store

_LOOK_S = 0.2


class Stop:
    """A latched wish to stop. Nothing new is begun after it; what is under way is finished.

    Arguments:
        store: followed for a request in the log, which may come from any process.
        run: the run whose requests count.
        after: the last entry that was already looked at.
        already: the reason of a request that is on record, or None.
    """

    def __init__(self, store: Store, run: str, after: int, *, already: str | None = None) -> None:
        self.reason = ""
        self._failure: MimrunError | None = None
        self._wanted = threading.Event()
        self._done = threading.Event()
        self._store, self._run, self._after = store, run, after
        self._thread = threading.Thread(target=self._watch, name=f"stop-{run}", daemon=True)
        if already is not None:
            self.want(already or "cancelled")

    def want(self, reason: str) -> None:
        """Ask to stop. The first reason is kept."""
        if not self._wanted.is_set():
            self.reason = reason
            self._wanted.set()

    def wanted(self) -> bool:
        """Say whether to stop. No I/O.

        Raises:
            MimrunError: the log cannot be read any more, so nobody can know.
        """
        if self._failure is not None:
            raise self._failure
        return self._wanted.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, but not longer than until somebody asks to stop; say whether somebody did."""
        return self._wanted.wait(seconds)

    def _watch(self) -> None:
        try:
            while not self._done.wait(_LOOK_S) and not self._wanted.is_set():
                self._look()
        except MimrunError as exc:
            self._failure = exc
            self._wanted.set()
        except Exception as exc:  # noqa: BLE001 - a watcher that is gone must not look like one that sees nothing
            self._failure = RunError(f"nobody can know any more whether the run is to stop: {exc!r}")
            self._wanted.set()

    def _look(self) -> None:
        size = self._store.head().size
        if size > self._after:
            kinds = {Kind.RUN_CANCEL_REQUESTED}
            for entry in self._store.entries(run=self._run, after=self._after, kinds=kinds):
                self.want(getattr(entry.body, "reason", "") or "cancelled")
            self._after = size

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(timeout=5 * _LOOK_S)
