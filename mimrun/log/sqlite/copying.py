"""An SQLite file as the place that a log is copied into, and as the one that it leaves."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from mimrun.errors import StoreError
from mimrun.log.chain import Head
from mimrun.log.cipher import WrappedKey
from mimrun.log.copying import Page
from mimrun.log.moment import write_moment
from mimrun.log.reading import read_head
from mimrun.log.sqlite import schema
from mimrun.log.sqlite.turnstile import Turnstile


class SqliteReceiver:
    """A log in a file, being filled. Nobody else adds to it meanwhile.

    Arguments:
        path: the file; it is made where there is none.

    Raises:
        StoreError: it cannot be made, or others write it.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.name = path, str(path)
        try:
            self._turnstile = Turnstile(path)
            if not self._turnstile.try_enter():
                self._turnstile.close()
                raise StoreError(f"others write the log {path}; end them, then try again")
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660))
        except OSError as exc:
            raise StoreError(f"no log can be made at {path}: {exc}") from exc
        try:
            self._db = schema.connect(path, "rw")
        except schema.FAILURES as exc:
            self._turnstile.close()
            raise schema.explain(exc, path, "opened for writing") from exc

    def begin(self, log: str, log_format: str, canary: WrappedKey) -> tuple[str, Head]:
        """Make the tables where there are none; see `Receiver.begin`."""
        db = self._db
        try:
            if schema.is_blank(db):
                with self._transaction():
                    schema.create(db, log, log_format, canary)
            there = schema.check_format(db, self._path)
            return there, self._head()
        except schema.FAILURES as exc:
            raise schema.explain(exc, self._path, "made") from exc

    def put(self, before: Head, page: Page) -> None:
        """Store a page; see `Receiver.put`."""
        try:
            with self._transaction():
                if self._head() != before:
                    raise StoreError(f"somebody else adds to {self.name}; end that, then try again")
                # Where this log was marked as one that goes on elsewhere, it comes back now.
                ((moved,),) = self._db.execute("select moved from origin").fetchall()
                self._db.execute("update origin set moved = ''")
                self._insert(page)
                self._db.execute("update origin set moved = ?", (moved,))
        except schema.FAILURES as exc:
            raise schema.explain(exc, self._path, "written") from exc

    def open(self) -> None:
        """Let it be added to; see `Receiver.open`."""
        self._db.execute("update origin set moved = ''")

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        self._db.close()
        self._turnstile.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.rollback()
            raise
        self._db.execute("commit")

    def _head(self) -> Head:
        rows = self._db.execute("select size, leaf, ts, frontier from head").fetchall()
        return read_head(rows, self.name) if rows else Head()

    def _insert(self, page: Page) -> None:
        db = self._db
        db.executemany(
            "insert into entry (seq, data, leaf, kind, inc, run) values (?, ?, ?, ?, ?, ?)", page.rows
        )
        for key in page.keys:
            if not db.execute("select 1 from data_key where id = ?", (key.id,)).fetchone():
                schema.insert_key(db, key)
        db.executemany(
            'insert into blob ("commit", key, data) values (?, ?, ?)',
            [(blob.commit, blob.key, blob.data) for blob in page.blobs],
        )
        if page.redactions:
            schema.erase(db, page.redactions)
        db.executemany(
            "insert into incident_head (inc, iseq, leaf) values (?, ?, ?)"
            " on conflict (inc) do update set iseq = excluded.iseq, leaf = excluded.leaf",
            [(inc, head.iseq, head.leaf) for inc, head in page.incidents.items()],
        )
        db.executemany(
            "insert into checkpoint (size, note) values (?, ?) on conflict do nothing", page.checkpoints
        )
        if page.rows:
            head = page.head
            db.execute(
                "insert into head (id, size, leaf, ts, frontier) values (1, ?, ?, ?, ?) on conflict (id) do update"
                " set size = excluded.size, leaf = excluded.leaf, ts = excluded.ts, frontier = excluded.frontier",
                (head.size, head.leaf, write_moment(head.ts), head.frontier.encode()),
            )


@contextmanager
def hold_sqlite(path: Path) -> Iterator[Callable[[str], None]]:
    """Keep everybody from adding to the log in a file; see `mimrun.log.copying.Hold`.

    Raises:
        StoreError: it cannot be written.
    """
    turnstile = Turnstile(path)
    try:
        turnstile.enter()
        db = schema.connect(path, "rw")
        try:
            db.execute("begin immediate")

            def mark(place: str) -> None:
                """Say where it goes on; from then on nothing is added here, by whoever has it open."""
                db.execute("update origin set moved = ?", (place,))
                db.execute("commit")

            yield mark
        except schema.FAILURES as exc:
            raise schema.explain(exc, path, "written") from exc
        finally:
            _let_go(db)
            turnstile.leave()
    finally:
        turnstile.close()


def _let_go(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.rollback()
    db.close()
