"""Reading the log in PostgreSQL: one connection, opened anew when the server was restarted.

What is read is on disk when it is given out: a crash of the server takes back nothing that anybody has seen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from typing import Any, Final

import psycopg

from mimrun.errors import MimrunError, StoreError
from mimrun.log.blob_key import BlobKey, BlobKeyPlace, NoKey
from mimrun.log.postgres import schema
from mimrun.log.postgres.database import Database, explain, is_gone
from mimrun.log.postgres.flush import SETTLED, SIZE, WAIT, Flushed, Vigil
from mimrun.log.reading import Reading

PAUSE_S: Final = 0.1
"""Seconds between two attempts to connect again."""


class PostgresReader(Reading):
    """The log in a PostgreSQL database. Safe from several threads.

    Arguments:
        database: where it is.
        patience: seconds for which a server that has gone away is waited for.
        flushed: what is known to be on disk. None for who writes: what it reads, it gives out when its own
            transaction is on disk.
        blob_key: the key of its blobs, or where it is. Without it entries are read.

    Raises:
        StoreError: the server cannot be reached, or there is no log in it that this version can read.
    """

    def __init__(
        self,
        database: Database,
        *,
        patience: float,
        flushed: Flushed | None,
        blob_key: BlobKeyPlace | BlobKey | NoKey,
    ) -> None:
        super().__init__(database.name)
        self.database, self._patience, self._flushed = database, patience, flushed
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._db: psycopg.Connection | None = None
        try:
            self._db = self._connect()
            self.log = schema.check_format(self._db, self.place)
            self.take_key(blob_key)
        except psycopg.Error as exc:
            self.close()
            raise explain(exc, self.place, "opened") from exc
        except MimrunError:
            self.close()
            raise

    def query(self, statement: str, *given: object) -> list[Any]:
        """All rows of a short query; see `Reading.query`."""
        with self._lock:
            end = 0.0
            while True:
                if self._closed.is_set():
                    raise StoreError(f"the log {self.place} has been closed")
                try:
                    if self._db is None:
                        self._db = self._connect()
                    return self._read(self._db, statement, given)
                except psycopg.Error as exc:
                    end = end or time.monotonic() + self._patience
                    if not is_gone(exc, self._db) or time.monotonic() >= end:
                        raise explain(exc, self.place, "read") from exc
                    self._drop()
                # The server is being restarted, or another takes its place.
                self._closed.wait(PAUSE_S)

    @contextmanager
    def at_one_moment(self) -> Iterator[PostgresReader]:
        """The log as it is at one moment; see `Reading.at_one_moment`. A server that goes away ends the moment."""
        with closing(PostgresReader(self.database, patience=0, flushed=None, blob_key=self.key)) as still:
            still.stand_still()
            yield still

    def faults(self) -> tuple[str, ...]:
        """Which of the fences around the log are down. Damage within is for the server's own tools to find."""
        triggers = self.query(
            "select tgname::text, tgenabled::text from pg_trigger"
            " where tgrelid = any(array(select to_regclass(name) from unnest(?::text[]) name)) and not tgisinternal",
            [*schema.FENCED],
        )
        keys = self.query(
            "select conrelid::regclass::text from pg_constraint"
            " where contype = 'p' and conrelid = any(array(select to_regclass(name) from unnest(?::text[]) name))",
            [*schema.FENCED],
        )
        return schema.faults(triggers, [name for (name,) in keys])

    def stand_still(self) -> None:
        """Let every query from here on see what the first one sees."""
        assert self._db is not None
        try:
            self._db.execute("begin isolation level repeatable read")
        except psycopg.Error as exc:
            raise explain(exc, self.place, "read") from exc

    def close(self) -> None:
        """Let go of the connection. May be called twice."""
        self._closed.set()
        with self._lock:
            self._drop()

    def _connect(self) -> psycopg.Connection:
        db = self.database.connect("reader", default_transaction_read_only="on")
        if self._flushed is not None:
            self._vigil = Vigil(db)
            db.execute(WAIT)
        return db

    def _read(self, db: psycopg.Connection, statement: str, given: Sequence[object]) -> list[Any]:
        """Read, and where that may be ahead of the disk, wait for it; all on one connection.

        Where the server goes away in between, all of it is done again: what was read may be gone.
        """
        if self._flushed is None:
            return db.execute(_ours(statement), given, binary=True).fetchall()
        known = self._flushed.size
        with db.pipeline():
            found = db.execute(_ours(statement), given, binary=True)
            # Looked at afterwards, so that it is not behind what was found.
            end = db.execute(SIZE, binary=True)
        rows, ((size,),) = found.fetchall(), end.fetchall()
        if size > known:
            self._flushed.note(self._settle(db))
        return rows

    def _settle(self, db: psycopg.Connection) -> int:
        """Wait until everything that can be seen now is on disk, and give how many entries that are."""
        while True:
            self._vigil.cut_short = False
            ((size, _),) = db.execute(SETTLED, binary=True).fetchall()
            if not self._vigil.cut_short:
                return int(size)

    def _drop(self) -> None:
        if self._flushed is not None:
            self._flushed.forget()
        if self._db is not None:
            self._db.close()
            self._db = None


@cache
def _ours(statement: str) -> bytes:
    """Write a statement's values as psycopg has them."""
    return statement.replace("?", "%s").encode()
