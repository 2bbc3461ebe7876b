"""The tables of the log in SQLite, how a connection is set, and what SQLite's errors mean for a person."""

from __future__ import annotations

import sqlite3
import urllib.parse
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from mimrun.errors import StoreError
from mimrun.log.cipher import WrappedKey

APPLICATION_ID: Final = 0x4D494D4C
"""`MIML`, in the header of the file, so that `file` and we know what it is."""
SCHEMA: Final = 2
"""Layout of the tables. A file with a higher one was made by a newer mimrun."""
FAILURES: Final = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises; the second where a damaged file puts its own bytes into a message."""
WAL_PAGES: Final = 1000
"""Pages of write-ahead log after which a commit folds it into the database."""
WAL_SIZE: Final = 16 * 1024 * 1024
"""Bytes to which a write-ahead log that grew beyond them (behind a slow reader) is cut."""
LOCK_PATIENCE_MS: Final = 5000
"""How long SQLite waits for a program that is not mimrun and holds the file locked."""

TABLES: Final = """
create table origin (                       -- one row: which log this is
    id     integer primary key check (id = 1),
    log    text not null,
    format text not null,
    moved  text not null default ''         -- where it goes on; then nothing is added here
);
create table entry (                        -- the log itself; `data` is the canonical form
    seq  integer primary key,
    data blob not null,
    leaf blob not null,
    kind text not null,                     -- kind, inc and run only find entries; `data` is the truth
    inc  text not null,
    run  text not null
);
create index entry_inc on entry (inc, seq) where inc <> '';
create index entry_run on entry (run, seq) where run <> '';
create table data_key (                     -- what blobs are encrypted under, itself encrypted
    id      blob not null unique,
    inc     text not null,
    wrapped blob not null
);
create index data_key_inc on data_key (inc);
create table blob (                         -- content that an entry commits to, encrypted with its salt
    "commit" blob not null unique,
    key      blob not null,
    data     blob not null
);
create index blob_key on blob (key);
create table redaction (                    -- what was erased, and the entry that says so
    "commit" blob not null unique,
    seq      integer not null
);
create table checkpoint (                   -- signed heads of the log, as notes
    size integer primary key,
    note text not null
);
create table head (                         -- one row: the end of the log; follows from `entry`
    id       integer primary key check (id = 1),
    size     integer not null,
    leaf     text not null,
    ts       text not null,
    frontier blob not null
);
create table incident_head (                -- the end of each incident's chain; follows from `entry`
    inc  text primary key,
    iseq integer not null,
    leaf text not null
) without rowid;
create table projector (                    -- how far each projector has folded
    name text primary key,
    size integer not null
) without rowid;
create table projection (                   -- folded states; follow from `entry`
    name  text not null,
    key   text not null,
    state blob not null,
    primary key (name, key)
) without rowid;

create trigger entry_not_updated before update on entry
    begin select raise(abort, 'the log is append-only'); end;
create trigger entry_not_deleted before delete on entry
    begin select raise(abort, 'the log is append-only'); end;
-- `insert or replace` fires no delete trigger, so the place of a new entry is checked as well.
create trigger entry_in_place before insert on entry
    when new.seq <> (select coalesce(max(seq), 0) + 1 from entry)
    begin select raise(abort, 'the log is append-only'); end;
create trigger entry_not_moved before insert on entry
    when (select moved from origin) <> ''
    begin select raise(abort, 'this log goes on elsewhere: see `mimrun doctor`'); end;
create trigger data_key_not_updated before update on data_key
    begin select raise(abort, 'the log is append-only'); end;
create trigger data_key_not_deleted before delete on data_key
    when old.id = x'0000000000000000' or exists (select 1 from blob where key = old.id)
    begin select raise(abort, 'the log is append-only'); end;
create trigger data_key_in_place before insert on data_key
    when exists (select 1 from data_key where id = new.id)
    begin select raise(abort, 'the log is append-only'); end;
create trigger blob_not_updated before update on blob
    begin select raise(abort, 'the log is append-only'); end;
create trigger blob_not_deleted before delete on blob
    when not exists (select 1 from redaction where "commit" = old."commit")
    begin select raise(abort, 'the log is append-only'); end;
create trigger redaction_not_updated before update on redaction
    begin select raise(abort, 'the log is append-only'); end;
create trigger redaction_not_deleted before delete on redaction
    begin select raise(abort, 'the log is append-only'); end;
-- A blob may only go when an entry says so.
create trigger redaction_in_place before insert on redaction
    when exists (select 1 from redaction where "commit" = new."commit") or not exists (
        select 1 from entry where seq = new.seq and kind = 'redact.applied'
        and instr(cast(data as text), lower(hex(new."commit"))) > 0
    )
    begin select raise(abort, 'the log is append-only'); end;
create trigger checkpoint_not_updated before update on checkpoint
    begin select raise(abort, 'the log is append-only'); end;
create trigger checkpoint_not_deleted before delete on checkpoint
    begin select raise(abort, 'the log is append-only'); end;
create trigger blob_in_place before insert on blob
    when exists (select 1 from blob where "commit" = new."commit")
    begin select raise(abort, 'the log is append-only'); end;
create trigger blob_has_key before insert on blob
    when not exists (select 1 from data_key where id = new.key)
    begin select raise(abort, 'the data key is gone'); end;
"""


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open the file with the settings that the log needs.

    Arguments:
        path: the database file.
        mode: `rw` to write; `ro` to read; `frozen` to read a file that nothing writes, in a place where
            no file may be made beside it.

    Raises:
        sqlite3.Error: as SQLite says; see `explain`.
    """
    uri = "file:" + urllib.parse.quote(str(path.absolute()))
    uri += "?mode=ro&immutable=1" if mode == "frozen" else f"?mode={mode}"
    # The store serialises its threads itself; sqlite3's own check would forbid handing over at close.
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"pragma busy_timeout = {LOCK_PATIENCE_MS}")
        db.execute("pragma trusted_schema = off")
        db.execute("pragma cell_size_check = on")
        if mode == "rw":
            db.execute("pragma foreign_keys = on")
            db.execute("pragma journal_mode = wal")
            db.execute("pragma synchronous = full")
            # Checkpoints happen in the commit, so under the lock that keeps other writers out. The
            # write-ahead log is then begun anew in place: a file that need not grow is made durable
            # in four fifths of the time.
            db.execute(f"pragma wal_autocheckpoint = {WAL_PAGES}")
            db.execute(f"pragma journal_size_limit = {WAL_SIZE}")
    except FAILURES:
        db.close()
        raise
    return db


def create(db: sqlite3.Connection, log: str, log_format: str, canary: WrappedKey) -> None:
    """Make the tables of an empty log; the caller holds the transaction."""
    for statement in statements(TABLES):
        db.execute(statement)
    db.execute("insert into origin (id, log, format) values (1, ?, ?)", (log, log_format))
    insert_key(db, canary)
    db.execute(f"pragma application_id = {APPLICATION_ID}")
    db.execute(f"pragma user_version = {SCHEMA}")


def insert_key(db: sqlite3.Connection, key: WrappedKey) -> None:
    """Store a data key."""
    db.execute("insert into data_key (id, inc, wrapped) values (?, ?, ?)", (key.id, key.inc, key.wrapped))


def erase(db: sqlite3.Connection, redactions: Sequence[tuple[bytes, int]]) -> None:
    """Delete blobs, and data keys that encrypt nothing any more; the caller holds the transaction.

    Arguments:
        redactions: what each blob's entry commits to, and the entry that says that it is erased.
    """
    # What is deleted is overwritten, too, with zeros.
    db.execute("pragma secure_delete = on")
    try:
        for commit, seq in redactions:
            db.execute('insert into redaction ("commit", seq) values (?, ?)', (commit, seq))
            keys = db.execute('delete from blob where "commit" = ? returning key', (commit,)).fetchall()
            db.executemany(
                "delete from data_key where id = ? and not exists (select 1 from blob where key = ?)",
                [(key, key) for (key,) in keys],
            )
    finally:
        db.execute("pragma secure_delete = off")


@cache
def definitions() -> Mapping[str, str | None]:
    """How each table, index and trigger of a log is defined."""
    db = sqlite3.connect(":memory:")
    try:
        db.executescript(TABLES)
        return dict(db.execute("select name, sql from sqlite_schema").fetchall())
    finally:
        db.close()


def is_blank(db: sqlite3.Connection) -> bool:
    """Whether the file has no tables at all: just made, or its maker died before the first commit."""
    (tables,) = db.execute("select count(*) from sqlite_schema").fetchone()
    return int(tables) == 0


def check_format(db: sqlite3.Connection, path: Path) -> str:
    """Refuse a file that is not a log, or one that this version cannot read.

    Returns:
        The log's origin.

    Raises:
        StoreError: it is no log, or was made by a newer mimrun.
    """
    (application,) = db.execute("pragma application_id").fetchone()
    (schema,) = db.execute("pragma user_version").fetchone()
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite database but not a log of mimrun; name another file")
    if schema > SCHEMA:
        raise StoreError(
            f"{path} has layout {schema} and this mimrun knows up to {SCHEMA}: a newer mimrun made it; "
            "use that one"
        )
    if schema < SCHEMA:
        raise StoreError(
            f"{path} has layout {schema}, of an earlier mimrun, and this one needs {SCHEMA}: `mimrun store"
            " migrate` brings it up to date and keeps every entry and hash"
        )
    row = db.execute("select log from origin").fetchone()
    if row is None:
        raise StoreError(f"{path} does not say which log it is; it is damaged, use a copy")
    return str(row[0])


_MEANINGS: Final = {
    "SQLITE_FULL": "no space is left on its disk; free some, then go on",
    "SQLITE_BUSY": "another program holds it locked; end that program (a shell on the file?), then try again",
    "SQLITE_LOCKED": "another program holds it locked; end that program, then try again",
    "SQLITE_NOTADB": "the file is not a database; name another file or use a copy",
    "SQLITE_CORRUPT": "the file is damaged; keep it, and check it with `mimrun log verify`",
    "SQLITE_READONLY": "it may not be written; see its owner and mode, and those of its folder",
    "SQLITE_CANTOPEN": "it cannot be opened; see that it and its folder exist and may be written",
    "SQLITE_PERM": "it may not be opened; see its owner and mode",
    # A disk without space for the shared memory file, and a used up quota, are told as input/output errors.
    "SQLITE_IOERR": "its disk is full or has failed; free some space (see df and quota), else look at the "
    "system's log; then open the log anew",
    "SQLITE_CONSTRAINT": "the database refused a row; check it with `mimrun log verify`",
}


def explain(exc: Exception, path: Path, what: str) -> StoreError:
    """Say what an error of SQLite means.

    Arguments:
        exc: the error.
        path: the database file.
        what: what was being done: "written", "opened", "read".
    """
    name = getattr(exc, "sqlite_errorname", "")
    meaning = next((m for prefix, m in _MEANINGS.items() if name.startswith(prefix)), "look at its message")
    return StoreError(f"the log {path} cannot be {what}: {exc} ({name or type(exc).__name__}): {meaning}")


def not_as_made(names: Sequence[str]) -> tuple[str, ...]:
    """Say in one line which tables, indexes and triggers are other ones than were made, or gone."""
    if len(names) < 2:
        return tuple(f"{name} is not defined as it was made" for name in names)
    what = "tables, indexes and triggers are not defined as they were made"
    return (f"{len(names)} {what}: {', '.join(names)}",)


def statements(script: str) -> list[str]:
    """Split a script where SQLite says a statement is complete (triggers have semicolons inside)."""
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if current.strip() and sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
