"""The log in one SQLite file: the store for one machine, with as many processes as like."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mimrun.errors import LogError, StoreError
from mimrun.log import schema
from mimrun.log.batch import Sealed
from mimrun.log.chain import (
    SALT_SIZE,
    Claim,
    Head,
    IncidentHead,
    Place,
    StoredBlob,
    StoredRow,
    link,
    seal,
)
from mimrun.log.entry import FORMAT, Actor, Draft, LogEntry
from mimrun.log.kinds import Kind, LogGenesis
from mimrun.log.moment import utc_now, write_moment
from mimrun.log.reader import LogReader
from mimrun.log.sequencer import PATIENCE, Sequencer
from mimrun.log.store import Guard, Projector
from mimrun.log.turnstile import Turnstile
from mimrun.log.writer import LogWriter

LOOK_AGAIN: Final = 0.02
"""Seconds between two looks for what other processes have appended."""


class SqliteStore:
    """The incident log in an SQLite file on a local disk. Safe from several threads and processes.

    Readers and the writer open when they are first needed; one that only reads needs no right to write.

    Arguments:
        path: the database file.
        projectors: what to fold entries through.
        clock: gives the present moment.
        entropy: gives so many random bytes, for the salts of blobs.
        patience: seconds an append waits for other processes before it is given up.

    Raises:
        StoreError: there is no log (see `create_log`), or this version cannot read it.
    """

    def __init__(
        self,
        path: Path,
        *,
        projectors: Sequence[Projector] = (),
        clock: Callable[[], datetime] = utc_now,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        patience: float = PATIENCE,
    ) -> None:
        self.path = path
        self._projectors = {projector.name: projector for projector in projectors}
        self._entropy = entropy
        self._reader = LogReader(path)
        self._news = threading.Condition()
        self._sequencer = Sequencer(
            lambda: LogWriter(path, projectors, clock), self._tell_followers, patience
        )

    @property
    def log(self) -> str:
        """The origin: which log this is."""
        return self._reader.log

    def append(self, drafts: Sequence[Draft], *, guard: Guard | None = None) -> tuple[LogEntry, ...]:
        """Record drafts, all or none, durably; see `Store.append`."""
        if not drafts:
            return ()
        # Hashing long output happens here, in the caller's thread, and not in the one all wait for.
        sealed = [
            Sealed(draft, tuple(seal(blob, self._entropy(SALT_SIZE)) for blob in draft.blobs))
            for draft in drafts
        ]
        return self._sequencer.append(sealed, guard)

    def entries(
        self,
        *,
        run: str | None = None,
        inc: str | None = None,
        after: int = 0,
        kinds: Collection[Kind] | None = None,
    ) -> Iterator[LogEntry]:
        """Entries behind `after`, in order; see `Store.entries`."""
        return self._reader.entries(run=run, inc=inc, after=after, kinds=kinds)

    def entry(self, seq: int) -> LogEntry:
        """One entry; see `Store.entry`."""
        return self._reader.entry(seq)

    def blob(self, entry: LogEntry, name: str) -> bytes | None:
        """The content of one of an entry's blobs; see `Store.blob`."""
        return self._reader.blob(entry, name)

    def head(self) -> Head:
        """The end of the log as it is now."""
        return self._reader.head()

    def follow(
        self, after: int, timeout: float, *, run: str | None = None, inc: str | None = None
    ) -> tuple[LogEntry, ...]:
        """Entries behind `after`, waiting until there is one; see `Store.follow`."""
        end = time.monotonic() + timeout
        while True:
            size = self._reader.size()
            if size > after:
                found = tuple(self._reader.entries(run=run, inc=inc, after=after))
                if found:
                    return found
                after = size
            left = end - time.monotonic()
            if left <= 0:
                return ()
            with self._news:
                self._news.wait(min(left, LOOK_AGAIN))

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key; see `Store.projection`."""
        projector = self._projector(name)
        state = self._reader.state(name, key)
        return projector.empty() if state is None else state

    def projections(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Keys that start with the prefix, sorted, with their states."""
        self._projector(name)
        return self._reader.states(name, prefix)

    def rebuild(self) -> bool:
        """Fold the whole log again; True when nothing differed; see `Store.rebuild`."""
        return self._sequencer.rebuild()

    def rows(self, after: int = 0, *, inc: str | None = None) -> Iterator[StoredRow]:
        """Every stored entry behind `after`, or those of an incident, in order, unchecked."""
        return self._reader.rows(after, inc=inc)

    def leaves(self, size: int) -> Iterator[bytes]:
        """The stored leaf hashes of the first `size` entries, unchecked."""
        return self._reader.leaves(size)

    def stored_blob(self, commit: str) -> StoredBlob | None:
        """The blob stored under a commitment, unchecked."""
        return self._reader.stored_blob(commit)

    def keeps_blobs(self) -> bool:
        """Blobs are in this file."""
        return True

    def claim(self) -> Claim:
        """What the file says about the end of the log, apart from the entries."""
        return self._reader.claim()

    def faults(self) -> tuple[str, ...]:
        """What SQLite finds wrong with the file."""
        return self._reader.faults()

    def close(self) -> None:
        """Finish what was asked for, and let go of the files. May be called twice."""
        self._reader.close()
        self._sequencer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _projector(self, name: str) -> Projector:
        if name not in self._projectors:
            raise LogError(f"the log was opened without a projector {name!r}")
        if not self._reader.is_folded(name):
            # Entries were written without this projector; an append of nothing folds them.
            self._sequencer.append((), None)
        return self._projectors[name]

    def _tell_followers(self) -> None:
        with self._news:
            self._news.notify_all()


def create_log(path: Path, log: str, actor: Actor, *, clock: Callable[[], datetime] = utc_now) -> bool:
    """Begin a log in a new file, or do nothing when there is one; safe when two processes try at once.

    Arguments:
        path: the database file; its folder exists.
        log: the origin, unique among all logs: `mim.example.org/prod`, or something random.
        actor: who begins it.
        clock: gives the present moment.

    Returns:
        Whether a log was made.

    Raises:
        StoreError: it cannot be made here, or the file is something else.
    """
    try:
        turnstile = Turnstile(path)
    except OSError as exc:
        raise StoreError(
            f"no log can be made at {path}: {exc}; see that the folder exists and may be written"
        ) from exc
    try:
        turnstile.enter()
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660))
            _sync_folder(path.parent)
            return _begin(path, log, actor, clock)
        except OSError as exc:
            raise StoreError(f"no log can be made at {path}: {exc}") from exc
        except schema.FAILURES as exc:
            raise schema.explain(exc, path, "made") from exc
        finally:
            turnstile.leave()
    finally:
        turnstile.close()


def _begin(path: Path, log: str, actor: Actor, clock: Callable[[], datetime]) -> bool:
    db = schema.connect(path, "rw")
    try:
        if not schema.is_blank(db):
            schema.check_format(db, path)
            return False
        draft = Draft(actor=actor, body=LogGenesis(format=FORMAT))
        first = link(draft, (), Place(log, Head(), IncidentHead()), clock())
        db.execute("begin immediate")
        schema.create(db, log, FORMAT)
        db.execute(
            "insert into entry (seq, data, leaf, kind, inc, run) values (1, ?, ?, ?, '', '')",
            (first.data, first.leaf, first.entry.kind.value),
        )
        db.execute(
            "insert into head (id, size, leaf, ts, frontier) values (1, 1, ?, ?, ?)",
            (first.head.leaf, write_moment(first.head.ts), first.head.frontier.encode()),
        )
        db.execute("commit")
        return True
    finally:
        db.close()


def _sync_folder(folder: Path) -> None:
    """Make the new file's name durable, not just its content."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
