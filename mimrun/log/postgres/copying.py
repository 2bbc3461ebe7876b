"""A PostgreSQL database as the place that a log is copied into, and as the one that it leaves."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import psycopg

from mimrun.errors import StoreError
from mimrun.log.chain import Head
from mimrun.log.cipher import CANARY_ID, WrappedKey
from mimrun.log.copying import Page
from mimrun.log.moment import write_moment
from mimrun.log.postgres import schema
from mimrun.log.postgres.database import Database, explain
from mimrun.log.postgres.writer import MARK
from mimrun.log.reading import read_head


class PostgresReceiver:
    """A log in a database, being filled.

    Arguments:
        database: where it is, or is to be. The role owns it, or may make a schema in it.
        blob_key: the key of the blobs that come, for tables that still have some in plain.

    Raises:
        StoreError: the server cannot be reached.
    """

    def __init__(self, database: Database, blob_key: bytes) -> None:
        self._database, self.name, self._blob_key = database, database.name, blob_key
        try:
            self._db = database.connect_to_write("copy")
        except psycopg.Error as exc:
            raise explain(exc, self.name, "opened for writing") from exc

    def begin(self, log: str, log_format: str, canary: WrappedKey) -> tuple[str, Head]:
        """Make the tables where there are none; see `Receiver.begin`. They have a canary of their own, of the same key."""
        db = self._db
        try:
            with db.transaction():
                if not schema.is_current(db) and schema.migrate(
                    db, self._database.schema, lambda: self._blob_key
                ):
                    db.execute("insert into origin (id, log, format) values (1, %s, %s)", (log, log_format))
            row = db.execute("select log from origin").fetchone()
            return str(row[0]) if row else "", self._head()
        except psycopg.Error as exc:
            raise explain(exc, self.name, "made") from exc

    def put(self, before: Head, page: Page) -> None:
        """Store a page; see `Receiver.put`."""
        try:
            with self._db.transaction():
                if self._head(lock=True) != before:
                    raise StoreError(f"somebody else adds to {self.name}; end that, then try again")
                self._insert(page)
        except psycopg.Error as exc:
            raise explain(exc, self.name, "written") from exc

    def open(self) -> None:
        """Let it be added to; see `Receiver.open`."""
        self._db.execute("update origin set moved = '' where moved <> ''")

    def close(self) -> None:
        """Let go of the connection. May be called twice."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _head(self, *, lock: bool = False) -> Head:
        statement = "select size, leaf, ts, frontier from head"
        rows = self._db.execute((statement + " for update" * lock).encode()).fetchall()
        return read_head(rows, self.name) if rows else Head()

    def _insert(self, page: Page) -> None:
        # Where this log was marked as one that goes on elsewhere, it comes back now.
        moved = self._db.execute("select moved from origin").fetchone()
        self.open()
        self._insert_entries(page)
        with self._db.cursor() as cursor:
            cursor.executemany(
                "insert into incident_head (inc, iseq, leaf) values (%s, %s, %s)"
                " on conflict (inc) do update set iseq = excluded.iseq, leaf = excluded.leaf",
                [(inc, head.iseq, head.leaf) for inc, head in page.incidents.items()],
            )
            cursor.executemany(
                "insert into checkpoint (size, note) values (%s, %s) on conflict do nothing", page.checkpoints
            )
        if page.rows:
            head = page.head
            self._db.execute(
                "insert into head (id, size, leaf, ts, frontier) values (1, %s, %s, %s, %s) on conflict (id) do update"
                " set size = excluded.size, leaf = excluded.leaf, ts = excluded.ts, frontier = excluded.frontier",
                (head.size, head.leaf, write_moment(head.ts), head.frontier.encode()),
            )
        if moved is not None and moved[0]:
            self._db.execute("update origin set moved = %s", moved)

    def _insert_entries(self, page: Page) -> None:
        mark = secrets.token_bytes(MARK)
        entries = "copy entry (seq, data, leaf, kind, inc, run, mark) from stdin"
        with self._db.cursor() as cursor:
            with cursor.copy(entries) as copy:
                for row in page.rows:
                    copy.write_row((*row, mark))
            cursor.executemany(
                "insert into data_key (id, inc, wrapped) values (%s, %s, %s) on conflict do nothing",
                [(key.id, key.inc, key.wrapped) for key in page.keys],
            )
            with cursor.copy('copy blob ("commit", key, data) from stdin') as copy:
                for blob in page.blobs:
                    copy.write_row((blob.commit, blob.key, blob.data))
            for commit, seq in page.redactions:
                cursor.execute('insert into redaction ("commit", seq) values (%s, %s)', (commit, seq))
                cursor.execute('delete from blob where "commit" = %s', (commit,))
            if page.redactions:
                cursor.execute(
                    "delete from data_key where id <> %s and not exists"
                    " (select 1 from blob where key = data_key.id)",
                    (CANARY_ID,),
                )


@contextmanager
def hold_postgres(database: Database) -> Iterator[Callable[[str], None]]:
    """Keep everybody from adding to the log in a database; see `mimrun.log.copying.Hold`.

    Raises:
        StoreError: the role does not own it, so that it cannot say where the log goes on.
    """
    try:
        with database.connect_to_write("copy") as db, db.transaction():
            db.execute("select id from head for update")

            def mark(place: str) -> None:
                """Say where it goes on; from then on nothing is added here, by whoever has it open."""
                db.execute("update origin set moved = %s", (place,))

            yield mark
    except psycopg.Error as exc:
        raise explain(exc, database.name, "marked as one that goes on elsewhere") from exc
