"""Writing the log in PostgreSQL: the one connection of this process that may.

Whoever appends holds the row of the log's end locked, so that one transaction at a time, of all processes on
all machines, adds entries. A snapshot is taken anew for each statement (READ COMMITTED), so what is read
behind the lock is the newest there is. SERIALIZABLE would not do: whoever waited for the lock would then go on
with what was there before, and fail on the primary key.

A transaction is two trips to the server: lock and look; then everything that is written, with the commit.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from mimrun.errors import MimrunError, StoreError
from mimrun.log.batch import Batch
from mimrun.log.blob_key import BlobKey, BlobKeyPlace
from mimrun.log.chain import Head, IncidentHead
from mimrun.log.cipher import CANARY_ID
from mimrun.log.entry import Draft
from mimrun.log.moment import write_moment
from mimrun.log.postgres.database import Database, explain, is_gone
from mimrun.log.postgres.reader import PostgresReader
from mimrun.log.reading import read_head
from mimrun.log.store import Projector
from mimrun.log.writing import Interrupted, Sent, Writing

IDLE_S: Final = 8
"""Seconds after which the server ends a transaction whose process says nothing: frozen, or cut off."""
MARK: Final = 8
"""Random bytes that tell the entries of one transaction from those of any other."""

_LOCK: Final = (
    "begin; select id from head for update;"
    # A statement of its own: its snapshot is taken when the lock is held, and its moment read then.
    " select size, leaf, ts, frontier, clock_timestamp() from head"
)
_INSERT: Final = (
    "insert into entry (seq, data, leaf, kind, inc, run, mark) select *, %b::bytea from"
    " unnest(%b::int8[], %b::bytea[], %b::bytea[], %t::text[], %t::text[], %t::text[])"
)

_ERASE: Final = (
    'insert into redaction ("commit", seq) values (%b, %s)',
    'delete from blob where "commit" = %b',
)
_DROP_KEYS: Final = (
    "delete from data_key where id <> %b and not exists (select 1 from blob where key = data_key.id)"
)
"""What encrypts nothing any more: every key is stored together with a blob."""


class Keys(NamedTuple):
    """What entries that are coming are likely to touch."""

    incidents: list[str]
    runs: list[str]

    @classmethod
    def of(cls, drafts: Sequence[Draft]) -> Keys:
        """Give the keys of drafts."""
        return cls(sorted({d.inc for d in drafts if d.inc}), sorted({d.run for d in drafts if d.run}))

    def statement(self, projectors: Sequence[str]) -> str:
        """Ask for how far projectors are, for the incidents' ends, and for the runs' states."""
        names, incidents, runs = (
            ", ".join(map(_quoted, values)) or "null" for values in (projectors, self.incidents, self.runs)
        )
        return (
            "; select name, size from projector"  # noqa: S608 - quoted by the driver
            f"; select inc, iseq, leaf from incident_head where inc in ({incidents})"
            f"; select name, key, state from projection where name in ({names}) and key in ({runs})"
        )


def _quoted(value: str) -> str:
    return sql.Literal(value).as_string()


class PostgresWriter(Writing):
    """Transactions on the log in a PostgreSQL database. Used by one thread.

    Arguments:
        database: where it is; it holds a log.
        projectors: what to fold entries through.
        clock: gives the present moment; None takes the server's, which is one for all machines.
        patience: seconds to wait for another session that holds the log.
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
        blob_key: BlobKeyPlace | BlobKey,
    ) -> None:
        super().__init__(PostgresReader(database, patience=patience, blob_key=blob_key), projectors)
        self._clock, self._name = clock, database.name
        self.channel = channel_of(database)
        self._others = False
        self._fetched: tuple[Keys, list[list[Any]]] | None = None
        session = {
            # The appends that wait are told so a little earlier, by the sequencer: provably unrecorded.
            "lock_timeout": int((patience + 1) * 1000),
            "idle_in_transaction_session_timeout": IDLE_S * 1000,
            "default_transaction_isolation": r"read\ committed",
        }
        try:
            self._db = database.connect("writer", **session)
        except (psycopg.Error, MimrunError) as exc:
            self._reader.close()
            raise _told(exc, self._name) from exc.__cause__ or exc
        try:
            # What is stronger (a standby must have applied it) is left as it is.
            self._db.execute(
                "select set_config('synchronous_commit', 'on', false)"
                " where current_setting('synchronous_commit') <> 'remote_apply'"
            )
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
        except psycopg.Error as exc:
            self._roll_back(exc)
            if is_gone(exc, self._db):
                raise Interrupted(sent, str(explain(exc, self._name, "read"))) from exc
            raise explain(exc, self._name, "read") from exc
        return rows == [(sent.mark,)]

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

    def close(self) -> None:
        """Let go of the connections."""
        self._reader.close()
        self._db.close()

    def _lock(self, coming: Sequence[Draft] = ()) -> tuple[Head, Callable[[], datetime]]:
        """Begin a transaction, get hold of the end of the log, and give it, with the server's clock.

        While others write as well, what is remembered is of no use: then what belongs to the entries that
        are coming is fetched in the same trip, which keeps the log locked for a shorter time.
        """
        # One message, so one trip. Not a pipeline: behind one, the server at times forgets to end a
        # transaction that is idle for too long (seen with PostgreSQL 18).
        statement, keys = _LOCK, Keys.of(coming)
        if self._others:
            statement += keys.statement([*self._projectors])
        cursor = self._db.execute(statement.encode())
        found = [cursor.fetchall()] if cursor.description else []
        while cursor.nextset():
            found.append(cursor.fetchall() if cursor.description else [])
        _, rows, *fetched = found[-5:] if self._others else found[-2:]
        self._fetched = (keys, fetched) if self._others else None
        asked = time.monotonic()
        head = read_head([row[:4] for row in rows], self._name)
        self._others = self._head is not None and head.leaf != self._head.leaf
        now: datetime = rows[0][4]
        return head, lambda: now + timedelta(seconds=time.monotonic() - asked)

    def _send(self, batch: Batch, sent: Sent | None) -> None:
        change, db = batch.change, self._db
        with db.pipeline():
            if sent is not None:
                self._send_entries(batch, sent)
                head = change.head
                db.execute(
                    "update head set size = %s, leaf = %s, ts = %s, frontier = %s",
                    (head.size, head.leaf, write_moment(head.ts), head.frontier.encode()),
                )
                db.execute("select pg_notify(%s, '')", (self.channel,))
            if change.incidents:
                ends = change.incidents.values()
                db.execute(
                    "insert into incident_head (inc, iseq, leaf)"
                    " select * from unnest(%t::text[], %b::int8[], %t::text[])"
                    " on conflict (inc) do update set iseq = excluded.iseq, leaf = excluded.leaf",
                    ([*change.incidents], [end.iseq for end in ends], [end.leaf for end in ends]),
                )
            if change.states:
                places = change.states.keys()
                db.execute(
                    "insert into projection (name, key, state)"
                    " select * from unnest(%t::text[], %t::text[], %b::bytea[])"
                    " on conflict (name, key) do update set state = excluded.state",
                    ([name for name, _ in places], [key for _, key in places], [*change.states.values()]),
                )
            if self._projectors:
                db.execute(
                    "insert into projector (name, size) select unnest(%t::text[]), %s::int8"
                    " on conflict (name) do update set size = excluded.size where projector.size <> excluded.size",
                    ([*self._projectors], change.head.size),
                )
            done = db.execute("commit")
        if done.statusmessage != "COMMIT":
            raise StoreError(
                f"the log {self._name} cannot be written: the server answered {done.statusmessage}"
            )

    def _send_entries(self, batch: Batch, sent: Sent) -> None:
        linked = batch.linked
        entries = [one.entry for one in linked]
        columns = (
            [entry.seq for entry in entries],
            [one.data for one in linked],
            [one.leaf for one in linked],
            [entry.kind.value for entry in entries],
            [entry.inc for entry in entries],
            [entry.run for entry in entries],
        )
        self._db.execute(_INSERT, (sent.mark, *columns))
        for key in batch.keys.values():
            self._db.execute(
                "insert into data_key (id, inc, wrapped) values (%b, %s, %b) on conflict do nothing",
                (key.id, key.inc, key.wrapped),
            )
        for blob in batch.blobs:
            self._db.execute(
                'insert into blob ("commit", key, data) values (%b, %b, %b)',
                (blob.commit, blob.key, blob.data),
            )
        for said in batch.redactions:
            commit = bytes.fromhex(said.commit)
            self._db.execute(_ERASE[0], (commit, said.seq))
            self._db.execute(_ERASE[1], (commit,))
        if batch.redactions:
            self._db.execute(_DROP_KEYS, (CANARY_ID,))

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
        if self._fetched is None:
            return
        keys, (_, incidents, states) = self._fetched
        self._incidents = dict.fromkeys(keys.incidents, IncidentHead())
        self._incidents |= {inc: IncidentHead(iseq, leaf) for inc, iseq, leaf in incidents}
        self._states = {(name, key): state for name, key, state in states}
        self._absent = {(name, run) for name in self._projectors for run in keys.runs} - self._states.keys()

    def _folded(self) -> dict[str, int]:
        if self._fetched is None:
            return super()._folded()
        return dict(self._fetched[1][0])

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
