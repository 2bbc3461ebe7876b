"""Every connection that writes the log waits for the disk, whatever the server, the role or SQLite would do by itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest
from builders.log_places import BLOB_KEY, CLIENT, GRANTS, Schema
from builders.old_log import old_sqlite_log

from mimrun.log.copying import copy_log, move_log
from mimrun.log.entry import Draft
from mimrun.log.kinds import LogMoved, RedactApplied, RedactProposed
from mimrun.log.postgres.copying import PostgresReceiver, hold_postgres
from mimrun.log.postgres.store import migrate_log
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sqlite.copying import SqliteReceiver, hold_sqlite
from mimrun.log.sqlite.migrate import migrate
from mimrun.log.sqlite.reader import LogReader
from mimrun.log.sqlite.store import SqliteStore, create_log
from tests.store.conftest import ACTOR, ORIGIN, Counter, note, started, ticking
from tests.store.signers import begin

KEY = bytes.fromhex("5e" * 32)
FULL = 2
"""What `pragma synchronous` says: SQLite waits for the disk in each commit, also of the write-ahead log."""


class Watched(sqlite3.Connection):
    """A connection that takes note, with each statement that changes its file, of whether it waits for the disk."""

    waits: list[int]

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        # As if SQLite had been compiled with another default.
        super().execute("pragma synchronous = normal")

    def execute(self, statement: str, /, *given: Any) -> sqlite3.Cursor:
        self._look(statement)
        return super().execute(statement, *given)

    def executemany(self, statement: str, /, *given: Any) -> sqlite3.Cursor:
        self._look(statement)
        return super().executemany(statement, *given)

    def _look(self, statement: str) -> None:
        first = statement.split(maxsplit=1)[0].lower()
        (_, _, file), *_ = super().execute("pragma database_list").fetchall()
        if file and first in ("insert", "update", "delete", "commit", "vacuum", "create"):
            ((level,),) = super().execute("pragma synchronous").fetchall()
            self.waits.append(level)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each change waited for."""
    connect, found = sqlite3.connect, list[int]()
    monkeypatch.setattr(Watched, "waits", found, raising=False)
    monkeypatch.setattr("sqlite3.connect", lambda *given, **named: connect(*given, factory=Watched, **named))
    return found


def taken(waits: list[int]) -> list[int]:
    """What was noted since the last look."""
    found = [*waits]
    waits.clear()
    return found


def use(store: SequencedStore, folder: Path) -> None:
    """Do everything with a log that changes it."""
    begin(store, folder)
    (entry,) = store.append([note("a name")])
    asked = RedactProposed(entry=entry.seq, names=("text",), reason="a name")
    (proposal,) = store.append([Draft(ACTOR, asked, inc=entry.inc)])
    body = RedactApplied(
        entry=entry.seq, name="text", commit=entry.blobs[0].commit, proposal=proposal.seq, reason="a name"
    )
    store.append([Draft(ACTOR, body, inc=entry.inc)])
    assert store.checkpoint() is not None
    assert store.rebuild()
    store.append([Draft(ACTOR, LogMoved(to="elsewhere"))])


@pytest.mark.needs("postgres")
def test_every_connection_that_writes_a_file_waits_for_the_disk(
    waits: list[int], schema: Schema, tmp_path: Path
) -> None:
    path = tmp_path / "log.db"
    ways = {}
    create_log(path, ORIGIN, ACTOR, clock=ticking(), blob_key=BLOB_KEY)
    ways["making it"] = taken(waits)
    with SqliteStore(path, blob_key=BLOB_KEY, projectors=[Counter()]) as store:
        store.append([started()])
        ways["appending"] = taken(waits)
        use(store, tmp_path / "signer")
        ways["all that is done to it"] = taken(waits)
    schema.drop()
    with PostgresReceiver(schema.owner, KEY) as receiver:
        reader = LogReader(path, blob_key=BLOB_KEY)
        assert move_log(reader, receiver, lambda: hold_sqlite(path), "elsewhere")
        reader.close()
    ways["marking where it goes on"] = taken(waits)
    schema.execute(GRANTS.format(schema=schema.name, role=CLIENT))
    with schema.open() as there, SqliteReceiver(tmp_path / "back.db") as file:
        copy_log(there._reader, file)
        file.open()
    ways["copying into it"] = taken(waits)
    old_sqlite_log(tmp_path / "old.db", ORIGIN, [note("in plain")], ticking())
    taken(waits)
    migrate(tmp_path / "old.db", BLOB_KEY)
    ways["bringing it up to date"] = taken(waits)
    assert {name: set(levels) for name, levels in ways.items()} == {name: {FULL} for name in ways}


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """What commits wait for at the end of each session, by its purpose; roles and server would not wait."""
    found = dict[str, set[str]]()

    class Session(psycopg.Connection[Any]):
        def close(self) -> None:
            if not self.closed and self.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                (level,) = self.execute("show synchronous_commit").fetchone() or ("",)
                purpose = self.info.get_parameters()["application_name"].removeprefix("mimrun ")
                found.setdefault(purpose, set()).add(level)
            super().close()

    def connect(*where: str, **given: Any) -> psycopg.Connection[Any]:
        if where:  # a test's own
            return psycopg.Connection.connect(*where, **given)
        given["options"] = f"-c synchronous_commit=off {given.get('options') or ''}"
        return Session.connect(**given)

    monkeypatch.setattr("psycopg.connect", connect)
    return found


@pytest.mark.needs("postgres")
def test_every_session_that_writes_a_log_in_postgresql_waits_for_the_disk(
    settled: dict[str, set[str]], schema: Schema, tmp_path: Path
) -> None:
    with schema.open(projectors=[Counter()]) as store:
        use(store, tmp_path / "signer")
        with SqliteReceiver(tmp_path / "log.db") as file:
            assert move_log(store._reader, file, lambda: hold_postgres(schema.owner), "elsewhere")
    migrate_log(schema.owner, BLOB_KEY)
    reader = LogReader(tmp_path / "log.db", blob_key=BLOB_KEY)
    with PostgresReceiver(schema.owner, KEY) as receiver:
        copy_log(reader, receiver)
    reader.close()
    schema.drop()
    schema.create(ORIGIN, ACTOR, ticking())
    writes = {name: settled[name] for name in ("writer", "copy", "migrate", "init")}
    assert writes == {name: {"on"} for name in writes}
