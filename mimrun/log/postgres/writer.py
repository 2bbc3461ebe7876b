"""Writing the log in PostgreSQL: the one connection of this process that may.

Whoever appends holds the end of the log locked, so that one transaction at a time, of all processes on all
machines, adds entries. A snapshot is taken anew for each statement (READ COMMITTED), so what is read
behind the lock is the newest there is. SERIALIZABLE would not do: whoever waited for the lock would then go on
with what was there before, and fail on the primary key.

A transaction is two trips to the server: lock and look; then everything that is written, with the commit, and
with the waiting for the disk, which comes after the lock was let go of; see `mimrun.log.postgres.flush`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg

from mimrun.errors import MimrunError, StoreError
from mimrun.log.batch import Batch
from mimrun.log.blob_key import BlobKey, BlobKeyPlace, NoKey
from mimrun.log.chain import Head, IncidentHead
from mimrun.log.entry import Draft
from mimrun.log.moved import goes_on_elsewhere
from mimrun.log.postgres.change import COMMIT, statements
from mimrun.log.postgres.database import Database, explain, is_gone
from mimrun.log.postgres.flush import FLUSH, WAIT, Flushed, Vigil
from mimrun.log.postgres.look import PREPARE, Keys, Seen, read_seen, take_hold
from mimrun.log.postgres.message import Messages, Statement
from mimrun.log.postgres.reader import PostgresReader
from mimrun.log.store import Projector
from mimrun.log.writing import Interrupted, Sent, Writing

IDLE_S: Final = 8
"""Seconds after which the server ends a transaction whose process says nothing: frozen, or cut off."""
MARK: Final = 8
"""Random bytes that tell the entries of one transaction from those of any other."""
ELSEWHERE: Final = "this log goes on elsewhere"
"""What the trigger says that refuses entries in a log that was taken to another place."""
FLUSHED: Final = Statement("mim_flush", FLUSH)
"""Waits for the disk."""


class PostgresWriter(Writing):
    """Transactions on the log in a PostgreSQL database. Used by one thread.

    Arguments:
        database: where it is; it holds a log.
        projectors: what to fold entries through.
        clock: gives the present moment; None takes the server's, which is one for all machines.
        patience: seconds to wait for another session that holds the log.
        flushed: told what is on disk.
        blob_key: the key of its blobs, or where it is.

    Raises:
        StoreError: the server cannot be reached, or takes no writes.
    """

    def __init__(
        self,
        database: Database,
        projectors: Sequence[Projector],
        clock: Callable[[], datetime] | None,
        *,
        patience: float,
        flushed: Flushed,
        blob_key: BlobKeyPlace | BlobKey | NoKey,
    ) -> None:
        reader = PostgresReader(database, patience=patience, flushed=None, blob_key=blob_key)
        super().__init__(reader, projectors)
        self._clock, self._name, self._flushed = clock, database.name, flushed
        self.channel = channel_of(database)
        self._others = False
        self._keys: Keys | None = None
        self._seen: Seen | None = None
        session = {
            # The appends that wait are told so a little earlier, by the sequencer: provably unrecorded.
            "lock_timeout": int((patience + 1) * 1000),
            "idle_in_transaction_session_timeout": IDLE_S * 1000,
            "default_transaction_isolation": "read committed",
        }
        try:
            self._db = database.connect("writer", **session)
        except (psycopg.Error, MimrunError) as exc:
            self._reader.close()
            raise _told(exc, self._name) from exc.__cause__ or exc
        self._messages, self._vigil = Messages(self._db), Vigil(self._db)
        try:
            self._db.execute(f"{WAIT}; {PREPARE}".encode())
        except psycopg.Error as exc:
            self.close()
            raise _told(exc, self._name) from exc

    @contextmanager
    def transaction(self, coming: Sequence[Draft] = ()) -> Iterator[Batch]:
        """Hold the log for writing; see `Writing.transaction`."""
        sent: Sent | None = None
        try:
            try:
                head, clock = self._lock(coming)
                batch = self._begin(head, self._clock or clock)
                yield batch
                sent = Sent(head.size + 1, secrets.token_bytes(MARK)) if batch.linked else None
                self._send(batch, sent)
            except BaseException as exc:
                self._forget()
                self._roll_back(exc)
                raise
            self._remember(batch)
        except psycopg.Error as exc:
            if is_gone(exc, self._db):
                raise Interrupted(sent, str(explain(exc, self._name, "written"))) from exc
            if ELSEWHERE in str(exc):
                raise goes_on_elsewhere(self._reader) from exc
            raise explain(exc, self._name, "written") from exc

    def has(self, sent: Sent) -> bool:
        """Whether a transaction of which no answer came was committed; see `Writing.has`.

        The old session may still be about to commit. It held the end of the log locked, so once this one
        does, it has ended one way or the other.
        """
        try:
            self._lock()
            rows = self._db.execute(
                "select mark from entry where seq = %s", (sent.seq,), binary=True
            ).fetchall()
            self._db.execute("rollback")
            if rows != [(sent.mark,)]:
                return False
            # It may have been committed without having reached the disk.
            self._require_flushed(self._messages.send([FLUSHED])[0], sent)
        except psycopg.Error as exc:
            self._roll_back(exc)
            if is_gone(exc, self._db):
                raise Interrupted(sent, str(explain(exc, self._name, "read"))) from exc
            raise explain(exc, self._name, "read") from exc
        return True

    def keep(self, size: int, note: str) -> None:
        """Store a checkpoint; see `Writing.keep`."""
        statement = "insert into checkpoint (size, note) values (%s, %s) on conflict do nothing"
        try:
            self._db.execute(statement, (size, note))
        except psycopg.Error as exc:
            if is_gone(exc, self._db):
                raise Interrupted(None, str(explain(exc, self._name, "written"))) from exc
            raise explain(exc, self._name, "written") from exc

    def stored_incident_head(self, inc: str) -> IncidentHead:
        """The end of an incident's chain on record."""
        rows = self._ask("select iseq, leaf from incident_head where inc = %s", inc)
        return IncidentHead(*rows[0]) if rows else IncidentHead()

    def stored_state(self, name: str, key: str) -> bytes | None:
        """A folded state on record."""
        rows = self._ask("select state from projection where name = %s and key = %s", name, key)
        return rows[0][0] if rows else None

    def states(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Folded states on record whose key starts with the prefix, sorted by key."""
        statement = "select key, state from projection where name = %s and key >= %s and starts_with(key, %s) order by key"
        yield from self._ask(statement, name, prefix, prefix)

    def drop(self, name: str, key: str) -> None:
        """Remove a state that no entry has touched."""
        self._ask("delete from projection where name = %s and key = %s returning key", name, key)

    def _unmark(self) -> None:
        """Take away a mark that says that the log goes on elsewhere; only who owns the tables may."""
        try:
            self._db.execute("update origin set moved = ''")
        except psycopg.Error as exc:
            raise explain(exc, self._name, "written") from exc

    def close(self) -> None:
        """Let go of the connections."""
        self._reader.close()
        self._db.close()

    def _lock(self, coming: Sequence[Draft] = ()) -> tuple[Head, Callable[[], datetime]]:
        """Begin a transaction, get hold of the end of the log, and give it, with the server's clock.

        While others write as well, what is remembered is of no use: then what belongs to the entries that
        are coming is fetched in the same trip, which keeps the log locked for a shorter time.
        """
        self._keys = Keys.of(coming) if self._others else None
        seen = self._seen = read_seen(self._messages.ask(take_hold(self._projectors, self._keys)), self._name)
        asked = time.monotonic()
        self._others = self._head is not None and seen.head.leaf != self._head.leaf
        return seen.head, lambda: seen.now + timedelta(seconds=time.monotonic() - asked)

    def _send(self, batch: Batch, sent: Sent | None) -> None:
        """Commit, which lets go of the lock, and then wait for the disk together with others."""
        change = batch.change
        # Also who is refused is not told of what a crash could take back. What this process has waited for
        # before, and nothing else, needs no waiting.
        waits = sent is not None or change.incidents or change.states or self._head is None
        writing = [*statements(batch, sent, [*self._projectors], self.channel), COMMIT]
        answers = self._messages.send([*writing, FLUSHED] if waits else writing)
        for answer in answers[: len(writing)]:
            if isinstance(answer, psycopg.Error):
                raise answer
        if (done := answers[len(writing) - 1]) != "COMMIT":
            raise StoreError(f"the log {self._name} cannot be written: the server answered {done}")
        if waits:
            self._require_flushed(answers[-1], sent)
            self._flushed.note(change.head.size)

    def _require_flushed(self, answer: str | psycopg.Error | None, sent: Sent | None) -> None:
        """See that the disk, and standbys that the server waits for, have been waited for."""
        if isinstance(answer, psycopg.Error):
            why = explain(answer, self._name, "written")
        elif self._vigil.cut_short:
            self._vigil.cut_short = False
            why = StoreError(f"the log {self._name}: the waiting for a standby was ended by an administrator")
        else:
            return
        if sent is None:
            raise why
        # It is committed, but might still be lost: it is looked for, and waited for again.
        raise Interrupted(sent, str(why))

    def _ask(self, statement: str, *given: object) -> list[Any]:
        """All rows of a query in the transaction. Guards ask, so what the server says comes out in our words."""
        try:
            return self._db.execute(statement.encode(), given, binary=True).fetchall()
        except psycopg.Error as exc:
            if is_gone(exc, self._db):
                raise Interrupted(None, str(explain(exc, self._name, "read"))) from exc
            raise explain(exc, self._name, "read") from exc

    def _recall(self) -> None:
        """Take up what was fetched with the end of the log."""
        keys, seen = self._keys, self._seen
        if keys is None or seen is None:
            return
        self._incidents = dict.fromkeys(keys.incidents, IncidentHead()) | seen.incidents
        self._states = seen.states
        self._absent = {(name, run) for name in self._projectors for run in keys.runs} - self._states.keys()

    def _folded(self) -> dict[str, int]:
        if self._keys is None or self._seen is None:
            return super()._folded()
        return self._seen.folded

    def _take_time(self) -> None:
        """Folding a long log anew is quiet for longer than a frozen process may be."""
        self._db.execute("set local idle_in_transaction_session_timeout = 0")

    def _roll_back(self, why: BaseException) -> None:
        """End a transaction that came to nothing; on a connection that is gone the server has done so itself."""
        if isinstance(why, Interrupted) or is_gone(why, self._db):
            self._db.close()
            return
        with suppress(psycopg.Error):
            self._db.execute("rollback")


def _told(exc: Exception, name: str) -> Exception:
    return explain(exc, name, "opened for writing") if isinstance(exc, psycopg.Error) else exc


def channel_of(database: Database) -> str:
    """Name what is notified of appends."""
    return f"mimrun_log_{database.schema}"[:63]
