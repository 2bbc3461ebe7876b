"""The log in a PostgreSQL database: the store for several machines."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import psycopg

from mimrun.errors import StoreError
from mimrun.log.blob_key import BlobKeyPlace
from mimrun.log.chain import Head, IncidentHead, Place, link
from mimrun.log.encrypting import Progress, no_progress
from mimrun.log.entry import FORMAT, Actor, Draft
from mimrun.log.kinds import LogGenesis
from mimrun.log.moment import utc_now, write_moment
from mimrun.log.postgres import schema
from mimrun.log.postgres.bell import PostgresBell
from mimrun.log.postgres.database import Database, explain
from mimrun.log.postgres.flush import Flushed
from mimrun.log.postgres.reader import PAUSE_S, PostgresReader
from mimrun.log.postgres.writer import MARK, PostgresWriter
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sequencer import PATIENCE, Sequencer
from mimrun.log.store import Projector

_HOLDER: Final = "find it with `select * from pg_stat_activity where application_name = 'mimrun writer'`, end it, then try again"


class PostgresStore(SequencedStore):
    """The incident log in a PostgreSQL database. Safe from several threads, processes and machines.

    A server that goes away is waited for. An append that was in the middle of it is looked for when the
    server is back, and is recorded once.

    Arguments:
        database: where it is.
        blob_key: where the key of its blobs is. Without it entries are read, and nothing is added.
        projectors: what to fold entries through.
        clock: gives the present moment; None takes the server's, which is one for all machines.
        entropy: gives so many random bytes, for salts, keys and nonces.
        patience: seconds an append waits for other sessions, and for the server.

    Raises:
        StoreError: the server cannot be reached, there is no log (see `create_log`), or this
            version cannot read it.
    """

    def __init__(
        self,
        database: Database,
        blob_key: BlobKeyPlace,
        *,
        projectors: Sequence[Projector] = (),
        clock: Callable[[], datetime] | None = None,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        patience: float = PATIENCE,
    ) -> None:
        self.database = database
        """Where the log is."""
        self._away: StoreError | None = None
        flushed = Flushed()
        self.reader = PostgresReader(database, patience=patience, flushed=flushed, blob_key=blob_key)
        bell, key = PostgresBell(database), self.reader.key

        def open_writer() -> PostgresWriter:
            """Open the writer; the reader was there, so a server that is not is expected back."""
            end = time.monotonic() + patience
            while True:
                try:
                    writer = PostgresWriter(
                        database, projectors, clock, patience=patience, flushed=flushed, blob_key=key
                    )
                    self._away = None
                    return writer
                except StoreError as exc:
                    self._away = exc
                    if not isinstance(exc.__cause__, psycopg.OperationalError) or time.monotonic() >= end:
                        raise
                    time.sleep(PAUSE_S)

        sequencer = Sequencer(open_writer, bell.ring, patience, self._keeps_waiting)
        super().__init__(self.reader, sequencer, bell, projectors=projectors, entropy=entropy)

    def _keeps_waiting(self, seconds: float) -> str:
        """Say what has kept an append waiting for so many seconds."""
        return str(self._away or f"another session has held it for {seconds:g} s; {_HOLDER}")


def create_log(
    database: Database,
    blob_key: BlobKeyPlace,
    log: str,
    actor: Actor,
    *,
    clock: Callable[[], datetime] = utc_now,
    progress: Progress = no_progress,
) -> bool:
    """Begin a log in a database, or bring its tables up to date; safe when two processes try at once.

    Arguments:
        database: where it is to be. The role owns it, or may make a schema in it.
        blob_key: where the key of its blobs is, or is to be made.
        log: the origin, unique among all logs.
        actor: who begins it.
        clock: gives the present moment.
        progress: told of entries that are brought up to date, and of how many there are.

    Returns:
        Whether a log was made.

    Raises:
        StoreError: it cannot be made here.
    """
    try:
        with database.connect_to_write("init") as db, db.transaction():
            # Who may only add to the log may ask whether it is there.
            if schema.is_current(db):
                return False
            if not schema.migrate(db, database.schema, lambda: blob_key.make().key, progress):
                return False
            draft = Draft(actor=actor, body=LogGenesis(format=FORMAT))
            first = link(draft, (), Place(log, Head(), IncidentHead()), clock())
            db.execute("insert into origin (id, log, format) values (1, %s, %s)", (log, FORMAT))
            db.execute(
                "insert into entry (seq, data, leaf, kind, inc, run, mark) values (1, %s, %s, %s, '', '', %s)",
                (first.data, first.leaf, first.entry.kind.value, secrets.token_bytes(MARK)),
            )
            db.execute(
                "insert into head (id, size, leaf, ts, frontier) values (1, 1, %s, %s, %s)",
                (first.head.leaf, write_moment(first.head.ts), first.head.frontier.encode()),
            )
            return True
    except psycopg.Error as exc:
        raise explain(exc, database.name, "made") from exc


def migrate_log(
    database: Database, blob_key: BlobKeyPlace, progress: Progress = no_progress
) -> tuple[int, int]:
    """Bring the tables of a log up to date; every entry and hash stays.

    Arguments:
        database: where it is. The role owns it.
        blob_key: where the key of its blobs is, or is to be made where they were in plain.
        progress: told of entries that are done, and of how many there are.

    Returns:
        the layout before, and now.

    Raises:
        StoreError: there is no log, a newer mimrun made it, or the role may not.
    """
    try:
        with database.connect_to_write("migrate") as db, db.transaction():
            before = schema.layout_of(db, database.name)
            schema.migrate(db, database.schema, lambda: blob_key.make().key, progress)
            return before, schema.layout_of(db, database.name)
    except psycopg.Error as exc:
        raise explain(exc, database.name, "brought up to date") from exc
