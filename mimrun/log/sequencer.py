"""The thread that all appends of this process go through, in the order in which they were asked for.

Callers wait for the disk. While one transaction is being committed, the appends of other threads queue up
and share the next one (group commit); a lone append is committed at once. A signal such as Ctrl-C goes to
the main thread and so never cuts a transaction in two.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, TypeVar

from mimrun.errors import StoreError
from mimrun.log.batch import Batch, Sealed
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.store import Guard
from mimrun.log.writing import Interrupted, Sent, Writing

TOGETHER: Final = 64
"""Appends that share one transaction at most."""
PATIENCE: Final = 10.0
"""Seconds an append waits for other processes before it gives up, provably unrecorded."""
LOST_PATIENCES: Final = 3
"""So many times that long a transaction is seen through whose database went away in the middle of it."""
HOLDER: Final = (
    "another process has held its lock for {seconds:g} s; find it with `fuser`, end it, then try again"
)
"""What keeps an append waiting, and what helps."""

T = TypeVar("T")


@dataclass(slots=True)
class Append:
    """One append that waits for its transaction."""

    drafts: Sequence[Sealed]
    guard: Guard | None
    answer: Future[tuple[LogEntry, ...]] = field(default_factory=Future)


@dataclass(slots=True)
class Together:
    """Appends that share a transaction, and what came of each."""

    taken: list[Append] = field(default_factory=list)
    settled: list[tuple[Append, tuple[LogEntry, ...]]] = field(default_factory=list)
    refused: list[tuple[Append, Exception]] = field(default_factory=list)

    def put_into(self, batch: Batch) -> None:
        """Let each be taken or refused."""
        self.settled, self.refused = [], []
        for request in self.taken:
            try:
                self.settled.append((request, batch.take(request.drafts, request.guard)))
            except Interrupted:
                raise
            except Exception as exc:  # noqa: BLE001 - the waiting thread gets it
                self.refused.append((request, exc))


@dataclass(slots=True)
class Rebuild:
    """A request to fold the whole log again."""

    answer: Future[bool] = field(default_factory=Future)


def _lock_holder(seconds: float) -> str:
    return (
        f"another process has held its lock for {seconds:g} s; find it with `fuser`, end it, then try again"
    )


class Sequencer:
    """Runs the writer in a thread of its own.

    Arguments:
        open_writer: opens the connection; called in the thread, when the first append comes.
        on_commit: called in the thread after each commit.
        patience: seconds an append waits for other processes.
        holder: says what has kept an append waiting for so many seconds, and what helps.
    """

    def __init__(
        self,
        open_writer: Callable[[], Writing],
        on_commit: Callable[[], None],
        patience: float = PATIENCE,
        holder: Callable[[float], str] = _lock_holder,
    ) -> None:
        self._open_writer = open_writer
        self._on_commit = on_commit
        self._patience = patience
        self._holder = holder
        self._writer: Writing | None = None
        self._queue: deque[Append | Rebuild] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def append(self, drafts: Sequence[Sealed], guard: Guard | None) -> tuple[LogEntry, ...]:
        """Queue an append and wait until it is on disk; see `Store.append`."""
        request = Append(drafts, guard)
        return self._ask(request, request.answer)

    def rebuild(self) -> bool:
        """Queue a rebuild and wait for it; see `Store.rebuild`."""
        request = Rebuild()
        return self._ask(request, request.answer)

    def close(self) -> None:
        """Finish what is queued, then close the writer. May be called twice."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None and self._process == os.getpid():
            self._thread.join(self._patience)

    def _ask(self, request: Append | Rebuild, answer: Future[T]) -> T:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a guard or a projector called the store; it may only look at its view")
        if self._process != os.getpid():
            raise StoreError("the log was opened before this process was forked; open it again in here")
        with self._changed:
            if self._closing:
                raise StoreError("the log has been closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mimrun-log", daemon=True)
                self._thread.start()
            self._queue.append(request)
            self._changed.notify_all()
        try:
            return answer.result(self._patience)
        except TimeoutError:
            if not answer.cancel():
                # Its transaction has begun, so whether it is recorded is for the disk to say.
                return answer.result()
            raise StoreError(f"the log cannot be written: {self._holder(self._patience)}") from None
        except BaseException:
            answer.cancel()
            raise

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    break
            self._serve()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _serve(self) -> None:
        try:
            if self._writer is None:
                self._writer = self._open_writer()
            if isinstance(self._queue[0], Rebuild):
                self._rebuild(self._writer)
            else:
                self._commit(self._writer)
        except Interrupted:
            # Nothing was taken off the queue: whoever waits, waits on, and the writer is opened anew.
            self._reopen()
        except Exception as exc:  # noqa: BLE001 - the waiting threads get it
            # The transaction did not begin. Whoever waits is told; the next append opens anew.
            self._fail(self._taken(lambda _: True), exc)
            self._reopen()

    def _rebuild(self, writer: Writing) -> None:
        request = self._queue.popleft()
        if not (isinstance(request, Rebuild) and request.answer.set_running_or_notify_cancel()):
            return
        until = time.monotonic() + LOST_PATIENCES * self._patience
        while True:
            try:
                same = writer.rebuild()
            except Interrupted:
                try:
                    writer, _ = self._find_out(None, until)
                except StoreError as exc:
                    self._fail([request], exc)
                    return
            except Exception as exc:  # noqa: BLE001 - the waiting thread gets it
                self._fail([request], exc)
                self._reopen()
                return
            else:
                request.answer.set_result(same)
                return

    def _commit(self, writer: Writing) -> None:
        work = Together()
        try:
            self._see_through(writer, work)
        except Exception as exc:
            if not work.taken:
                raise
            gone = [request for request, _ in work.refused]
            self._fail([request for request in work.taken if request not in gone], exc)
            work.settled = []
            self._reopen()
        for request, why in work.refused:
            request.answer.set_exception(why)
        for request, entries in work.settled:
            request.answer.set_result(entries)
        if work.settled:
            self._on_commit()

    def _see_through(self, writer: Writing, work: Together) -> None:
        """Commit what is queued, also when the database goes away in the middle of it.

        1. The transaction is made. Only with the lock held is an append past recall.
        2. The database goes away before anything could be committed: the same is done again, guards included.
        3. It goes away while it commits: once it is back it is asked, with the lock held so that nobody
           can commit it any more, whether the entries are there. If they are, that is the answer.
        """
        until = 0.0
        while True:
            try:
                with writer.transaction(self._coming()) as batch:
                    if not work.taken:
                        work.taken = [
                            r for r in self._taken(lambda r: isinstance(r, Append)) if isinstance(r, Append)
                        ]
                    work.put_into(batch)
            except Interrupted as exc:
                if not work.taken:
                    raise
                until = until or time.monotonic() + LOST_PATIENCES * self._patience
                writer, committed = self._find_out(exc.sent, until)
                if committed:
                    return
            else:
                return

    def _coming(self) -> list[Draft]:
        """Give what the next transaction is likely to take."""
        with self._changed:
            queued = list(itertools.islice(self._queue, TOGETHER))
        return [one.draft for request in queued if isinstance(request, Append) for one in request.drafts]

    def _find_out(self, sent: Sent | None, until: float) -> tuple[Writing, bool]:
        """Give a writer that works, and whether the transaction before had been committed after all."""
        while True:
            try:
                self._reopen()
                self._writer = self._open_writer()
                return self._writer, sent is not None and self._writer.has(sent)
            except (Interrupted, StoreError) as exc:
                if time.monotonic() < until:
                    continue
                known = "nothing of it was recorded"
                if sent is not None:
                    known = f"nobody knows yet whether entry {sent.seq} and what follows it were recorded"
                raise StoreError(
                    f"{exc}; the database went away in the middle of an append; {known}"
                ) from exc

    def _taken(self, wanted: Callable[[Append | Rebuild], bool]) -> list[Append | Rebuild]:
        """Take requests from the front of the queue; those that were called back are dropped."""
        taken: list[Append | Rebuild] = []
        with self._changed:
            while self._queue and len(taken) < TOGETHER and wanted(self._queue[0]):
                request = self._queue.popleft()
                if request.answer.set_running_or_notify_cancel():
                    taken.append(request)
        return taken

    def _fail(self, requests: Sequence[Append | Rebuild], exc: Exception) -> None:
        for request in requests:
            # Each waiting thread gets an exception of its own: a traceback belongs to one raise.
            own = StoreError(str(exc)) if isinstance(exc, StoreError) else exc
            own.__cause__ = exc.__cause__
            request.answer.set_exception(own)

    def _reopen(self) -> None:
        """Let go of a connection that failed, so that the next append starts from a clean one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
