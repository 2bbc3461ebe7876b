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
from typing import Final, TypeVar, assert_never

from mimrun.errors import StoreError, TamperError
from mimrun.log.batch import Sealed
from mimrun.log.chain import Head
from mimrun.log.checkpointing import Checkpointing, Point
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.request import Append, Keep, Mark, Rebuild, Request, Together
from mimrun.log.signing import ANSWER_S, Signing
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
        self._let_go: Callable[[], None] = lambda: None
        self._patience = patience
        self._holder = holder
        self._writer: Writing | None = None
        self._signing: Signing | None = None
        self._checkpointing = Checkpointing()
        self._end = Head()
        """The end of the log as this process last left it."""
        self._queue: deque[Request] = deque()
        self._changed = threading.Condition()
        self._closing = self._ended = False
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def sign_with(self, signing: Signing) -> None:
        """Make checkpoints from here on, and have them signed."""
        signing.on_rest = self._wake
        self._signing = signing

    def append(self, drafts: Sequence[Sealed], guard: Guard | None) -> tuple[LogEntry, ...]:
        """Queue an append and wait until it is on disk; see `Store.append`."""
        request = Append(drafts, guard)
        return self._ask(request, request.answer)

    def rebuild(self, progress: Callable[[int], object] | None = None) -> bool:
        """Queue a rebuild and wait for it; see `Store.rebuild`."""
        request = Rebuild(progress)
        return self._ask(request, request.answer)

    def mark(self) -> Point | None:
        """End the log with `log.heads` and have it signed; None where that cannot be."""
        request = Mark()
        return self._ask(request, request.answer)

    def keep(self, size: int, note: str) -> None:
        """Store a signed checkpoint; also while the log is being closed."""
        request = Keep(size, note)
        with self._changed:
            if self._ended:
                raise StoreError("the log was closed before its last checkpoint had been signed")
            self._queue.append(request)
            self._changed.notify_all()
        request.answer.result(self._patience)

    def close(self, let_go: Callable[[], None]) -> None:
        """Finish what is queued, have it signed, then close the writer. May be called twice.

        Arguments:
            let_go: closes whoever reads the same log, before the writer does: the last to close it clears up.
        """
        with self._changed:
            self._closing, self._let_go = True, let_go
            self._changed.notify_all()
        if self._thread is not None and self._process == os.getpid():
            self._thread.join(self._patience)
        let_go()

    def _ask(self, request: Request, answer: Future[T]) -> T:
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
                due = self._checkpointing.wait_s() if self._signing is not None else None
                self._changed.wait_for(lambda: self._queue or self._closing, due)
                request, closing = self._queue[0] if self._queue else None, self._closing
            if request is None and closing:
                break
            self._serve(request)
        if self._signing is not None:
            self._finish(self._signing)
        with self._changed:
            self._ended = True
        self._fail(self._taken(lambda _: True), StoreError("the log has been closed"))
        self._let_go()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _finish(self, signing: Signing) -> None:
        """Have signed what was recorded last; a signer that takes long is not waited for."""
        if self._checkpointing.uncovered:
            self._serve(None)
        if not signing.at_rest():
            signing.hurry()
        end = time.monotonic() + ANSWER_S
        while not signing.at_rest() and (left := end - time.monotonic()) > 0:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or signing.at_rest(), left)
                request = self._queue[0] if self._queue else None
            if request is not None:
                self._serve(request)
        signing.close()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _serve(self, request: Request | None) -> None:
        """Do what comes first in the queue; where that is nothing, a checkpoint is due."""
        try:
            if self._writer is None:
                self._writer = self._open_writer()
            match request:
                case None:
                    self._checkpointing.postpone()
                    self._commit(self._writer, asked=True)
                case Append():
                    self._commit(self._writer)
                case Rebuild():
                    self._rebuild(self._writer)
                case Mark():
                    self._mark(self._writer, request)
                case Keep():
                    self._keep(self._writer, request)
                case _:
                    assert_never(request)
        except Interrupted:
            # Nothing was taken off the queue: whoever waits, waits on, and the writer is opened anew.
            self._reopen()
        except Exception as exc:  # noqa: BLE001 - the waiting threads get it
            # The transaction did not begin. Whoever waits is told; the next append opens anew.
            self._fail(self._taken(lambda _: True), exc)
            self._reopen()

    def _mark(self, writer: Writing, request: Mark) -> None:
        self._queue.popleft()
        if not request.answer.set_running_or_notify_cancel():
            return
        try:
            request.answer.set_result(self._commit(writer, asked=True))
        except Exception as exc:  # noqa: BLE001 - the waiting thread gets it
            self._fail([request], StoreError(str(exc)) if isinstance(exc, Interrupted) else exc)
            self._reopen()

    def _keep(self, writer: Writing, request: Keep) -> None:
        self._queue.popleft()
        try:
            writer.keep(request.size, request.note)
        except Exception as exc:  # noqa: BLE001 - the thread that has it signed gets it
            request.answer.set_exception(StoreError(str(exc)))
            self._reopen()
        else:
            request.answer.set_result(None)

    def _rebuild(self, writer: Writing) -> None:
        request = self._queue.popleft()
        if not (isinstance(request, Rebuild) and request.answer.set_running_or_notify_cancel()):
            return
        until = time.monotonic() + LOST_PATIENCES * self._patience
        while True:
            try:
                same = writer.rebuild(request.progress)
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

    def _commit(self, writer: Writing, *, asked: bool = False) -> Point | None:
        """Commit what is queued, and have it signed where a checkpoint is due; give that place.

        Arguments:
            asked: a checkpoint is wanted in any case.
        """
        work, point = Together(), None
        try:
            point = self._see_through(writer, work, asked=asked)
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
        if work.settled or point is not None:
            self._on_commit()
        if self._signing is not None and point is not None:
            self._signing.ask(point)
        return point

    def _see_through(self, writer: Writing, work: Together, *, asked: bool) -> Point | None:
        """Commit what is queued, also when the database goes away in the middle of it; give the place to sign.

        1. The transaction is made. Only with the lock held is an append past recall.
        2. The database goes away before anything could be committed: the same is done again, guards included.
        3. It goes away while it commits: once it is back it is asked, with the lock held so that nobody
           can commit it any more, whether the entries are there. If they are, that is the answer.
        """
        until = 0.0
        checkpointing = self._checkpointing if self._signing is not None else None
        if checkpointing is not None:
            checkpointing.prepare(writer.reader)
        while True:
            try:
                with writer.transaction(self._coming()) as batch:
                    self._refuse_shorter(batch.head())
                    if not work.taken:
                        work.taken = [
                            r for r in self._taken(lambda r: isinstance(r, Append)) if isinstance(r, Append)
                        ]
                    work.put_into(batch)
                    if checkpointing is not None:
                        checkpointing.put_into(batch, writer.reader, asked=asked)
            except Interrupted as exc:
                if not work.taken:
                    raise
                until = until or time.monotonic() + LOST_PATIENCES * self._patience
                writer, committed = self._find_out(exc.sent, until)
                if committed:
                    break
            else:
                break
        self._end = batch.head()
        return checkpointing.committed() if checkpointing is not None else None

    def _refuse_shorter(self, head: Head) -> None:
        """Add nothing to a log that is not the one this process has added to: somebody put an old copy in its place.

        Raises:
            TamperError: it is shorter, or of the same length with another end.
        """
        if head.size > self._end.size or (head.size, head.leaf) == (self._end.size, self._end.leaf):
            return
        raise TamperError(
            f"the log had {self._end.size} entries when this process last wrote to it, and now has {head.size}: an old"
            " copy was put in its place, or a standby took over that lagged behind; end this process, keep the log, and"
            " see docs/how-to/restore-the-log.md"
        )

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

    def _taken(self, wanted: Callable[[Request], bool]) -> list[Request]:
        """Take requests from the front of the queue; those that were called back are dropped."""
        taken: list[Request] = []
        with self._changed:
            while self._queue and len(taken) < TOGETHER and wanted(self._queue[0]):
                request = self._queue.popleft()
                if request.answer.set_running_or_notify_cancel():
                    taken.append(request)
        return taken

    def _fail(self, requests: Sequence[Request], exc: Exception) -> None:
        for request in requests:
            # Each waiting thread gets an exception of its own: a traceback belongs to one raise.
            own = StoreError(str(exc)) if isinstance(exc, StoreError) else exc
            own.__cause__ = exc.__cause__
            request.answer.set_exception(own)

    def _reopen(self) -> None:
        """Let go of a connection that failed, so that the next append starts from a clean one."""
        self._checkpointing.forget()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
