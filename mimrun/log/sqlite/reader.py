"""Reading the log in SQLite: a connection that cannot write."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mimrun.errors import StoreError
from mimrun.log.blob_key import BlobKey, BlobKeyPlace, NoKey
from mimrun.log.reading import Reading
from mimrun.log.sqlite import schema


class LogReader(Reading):
    """The log in an SQLite file. Safe from several threads.

    Arguments:
        path: the database file.
        frozen: True for a copy on read-only media: nothing may write it while it is open.
        blob_key: the key of its blobs; that of the file beside it where none is given. Without it entries are read.

    Raises:
        StoreError: there is no such file, or it is not a log that this version can read.
    """

    def __init__(
        self, path: Path, *, frozen: bool = False, blob_key: BlobKeyPlace | BlobKey | NoKey | None = None
    ) -> None:
        super().__init__(str(path))
        self.path, self._frozen = path, frozen
        self._lock = threading.Lock()
        if not path.exists():
            raise StoreError(f"there is no log at {path}; `mimrun init` makes one")
        try:
            self._db: sqlite3.Connection | None = schema.connect(path, "frozen" if frozen else "ro")
        except schema.FAILURES as exc:
            raise schema.explain(exc, path, "opened") from exc
        try:
            self.log = schema.check_format(self._db, path)
            self.take_key(blob_key or BlobKeyPlace.beside(path))
        except schema.FAILURES as exc:
            self.close()
            raise schema.explain(exc, path, "read") from exc
        except StoreError:
            self.close()
            raise

    @contextmanager
    def at_one_moment(self) -> Iterator[LogReader]:
        """The log as it is at one moment; see `Reading.at_one_moment`."""
        with closing(LogReader(self.path, frozen=self._frozen, blob_key=self.key)) as still:
            still.query("begin")
            yield still

    def faults(self) -> tuple[str, ...]:
        """What SQLite finds wrong with the file: pages, and indexes that do not fit their tables."""
        found = [str(row[0]) for row in self.query("pragma integrity_check(20)")]
        faults = [] if found == ["ok"] else found
        actual = {row[0]: row[1] for row in self.query("select name, sql from sqlite_schema")}
        expected = schema.definitions()
        names = sorted(actual.keys() | expected.keys(), key=str)
        wrong = [str(name) for name in names if actual.get(name) != expected.get(name)]
        return (*faults, *schema.not_as_made(wrong))

    def query(self, statement: str, *given: object) -> list[Any]:
        """All rows of a short query; see `Reading.query`."""
        with self._lock:
            if self._db is None:
                raise StoreError(f"the log {self.path} has been closed")
            try:
                return self._db.execute(statement, given).fetchall()
            except schema.FAILURES as exc:
                raise schema.explain(exc, self.path, "read") from exc

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None
