"""Bringing a log of an earlier layout up to date, in its own file; killed at any moment, it is whole.

1. Nobody else may have the file open: our lock is taken, and SQLite's own for as long as this lasts.
2. In one transaction the tables become those of this version, and every blob is encrypted. The layout's
   number stays: until the third step is done, the log is opened by nobody but this.
3. The file is written anew (VACUUM), with what was freed overwritten, and the write-ahead log is emptied, so
   that nothing of the plain text is left in either. Then the layout's number is set.

Killed before the end of the second step, the log is as it was; behind it, this goes on with the third.
"""

from __future__ import annotations

import re
import sqlite3
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mimrun.errors import StoreError
from mimrun.log.blob_key import BlobKeyPlace
from mimrun.log.encrypting import Progress, encrypt_blobs, no_progress
from mimrun.log.sqlite import schema
from mimrun.log.sqlite.turnstile import Turnstile

WAIT_MS: Final = 2000
"""How long a program that is about to close the log is waited for."""
_NAMED: Final = re.compile(r"create (?:table|index|trigger) (\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Migrated:
    """What was done.

    Arguments:
        before: the layout that the log had; the same as now where nothing was to be done.
        blobs: how many blobs there are, where they were encrypted now.
    """

    before: int
    blobs: int = 0


def migrate(path: Path, blob_key: BlobKeyPlace, progress: Progress = no_progress) -> Migrated:
    """Bring the log in a file up to date. Every entry and hash stays.

    Arguments:
        path: the database file.
        blob_key: where the key of its blobs is to be; it is made where there is none.
        progress: told of entries that are done, and of how many there are.

    Raises:
        StoreError: there is no log, others have it open, or it is not what was recorded; it is as it was.
    """
    if not path.exists():
        raise StoreError(f"there is no log at {path}; `mimrun init` makes one")
    try:
        with _alone(path) as db:
            before = _layout(db, path)
            if before == schema.SCHEMA:
                return Migrated(before)
            blobs = 0
            if not db.execute("select 1 from sqlite_schema where name = 'data_key'").fetchone():
                blobs = _convert(db, path, blob_key.make().key, progress)
            _clean(db)
            return Migrated(before, blobs)
    except schema.FAILURES as exc:
        raise schema.explain(exc, path, "brought up to date") from exc


@contextmanager
def _alone(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file for nobody but us."""
    in_use = f"others have the log {path} open: end them (`fuser {path}` names them; `mimrun down`), then try again"
    try:
        turnstile = Turnstile(path)
    except OSError as exc:
        raise StoreError(f"the log {path} cannot be written: {exc}; see the modes of its folder") from exc
    try:
        if not turnstile.try_enter():
            raise StoreError(in_use)
        uri = "file:" + urllib.parse.quote(str(path.absolute())) + "?mode=rw"
        db = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            db.execute(f"pragma busy_timeout = {WAIT_MS}")
            # Before the first look at the file: then SQLite lets nobody else in until it is closed.
            db.execute("pragma locking_mode = exclusive")
            db.execute("pragma journal_mode = wal").fetchall()
            db.execute("pragma synchronous = full")
            db.execute("pragma secure_delete = on")
            db.execute("pragma trusted_schema = off")
            db.execute("begin immediate")
            db.execute("rollback")
            yield db
        except sqlite3.OperationalError as exc:
            if getattr(exc, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise StoreError(in_use) from exc
            raise
        finally:
            db.close()
    finally:
        turnstile.close()


def _layout(db: sqlite3.Connection, path: Path) -> int:
    (application,) = db.execute("pragma application_id").fetchone()
    (layout,) = db.execute("pragma user_version").fetchone()
    if application == schema.APPLICATION_ID and 1 <= layout <= schema.SCHEMA:
        return int(layout)
    schema.check_format(db, path)
    raise StoreError(f"{path} has layout {layout}, which never was one; use a copy")


def _convert(db: sqlite3.Connection, path: Path, blob_key: bytes, progress: Progress) -> int:
    def execute(statement: str, /, *given: object) -> list[Any]:
        return db.execute(statement, given).fetchall()

    db.execute("begin exclusive")
    try:
        log, log_format = db.execute("select log, format from origin").fetchone()
        for (name,) in execute("select name from sqlite_schema where type = 'trigger'"):
            db.execute(f"drop trigger {name}")
        db.execute("drop table origin")
        db.execute("alter table blob rename to plain_blob")
        _make_missing(db, triggers=False)
        db.execute("insert into origin (id, log, format) values (1, ?, ?)", (log, log_format))
        count = encrypt_blobs(execute, blob_key, progress)
        _make_missing(db, triggers=True)
        _refuse_other_tables(db, path)
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.rollback()
        raise
    return count


def _make_missing(db: sqlite3.Connection, *, triggers: bool) -> None:
    there = {name for (name,) in db.execute("select name from sqlite_schema").fetchall()}
    for statement in schema.statements(schema.TABLES):
        named = _NAMED.search(statement)
        if named is not None and named[1] not in there and ("trigger" in named[0].lower()) == triggers:
            db.execute(statement)


def _refuse_other_tables(db: sqlite3.Connection, path: Path) -> None:
    actual = dict(db.execute("select name, sql from sqlite_schema").fetchall())
    expected = schema.definitions()
    other = sorted(
        str(name) for name in actual.keys() | expected.keys() if actual.get(name) != expected.get(name)
    )
    if other:
        raise StoreError(
            f"{path} has tables that mimrun did not make so ({', '.join(other)}); use a copy of the log"
        )


def _clean(db: sqlite3.Connection) -> None:
    db.execute("vacuum")
    db.execute("pragma wal_checkpoint(truncate)").fetchall()
    db.execute(f"pragma user_version = {schema.SCHEMA}")
    db.execute("pragma wal_checkpoint(truncate)").fetchall()
