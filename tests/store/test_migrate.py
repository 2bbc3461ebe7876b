"""Logs of earlier layouts: brought up to date whole, with every hash, and nothing of them left in plain."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest
from builders.log_places import CLIENT, GRANTS, Schema, server_address
from builders.old_log import old_postgres_log, old_sqlite_log

from mimrun.errors import StoreError
from mimrun.log.blob_key import BlobKeyPlace
from mimrun.log.entry import Draft
from mimrun.log.postgres.schema import MIGRATIONS
from mimrun.log.postgres.store import PostgresStore, migrate_log
from mimrun.log.proof.verify import verify
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sqlite import schema as sqlite_schema
from mimrun.log.sqlite.migrate import migrate
from mimrun.log.sqlite.store import SqliteStore, create_log
from tests.store.conftest import ACTOR, ORIGIN, Counter, note, started, ticking

WORDS = "words of a person, in plain"


def drafts(count: int) -> list[Draft]:
    few = [note(f"{WORDS} {n} " + "x" * (n % 7) * 900, f"INC-{n % 3}", "run-1") for n in range(count)]
    return [started(), *few, note(f"{WORDS} of none", "")]


def old_log(path: Path, count: int = 60) -> None:
    old_sqlite_log(path, ORIGIN, drafts(count), ticking())


def bring(path: Path) -> None:
    migrate(path, BlobKeyPlace.beside(path))


def seen(path: Path) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """The entries and the end of a log, of whatever layout."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return (
            db.execute("select seq, data, leaf, kind, inc, run from entry order by seq").fetchall(),
            db.execute("select size, leaf, ts, frontier from head").fetchall(),
        )
    finally:
        db.close()


def check(store: SequencedStore, expected: Sequence[Draft]) -> None:
    report = verify(store)
    assert report.ok, str(report)
    for entry, draft in zip(store.entries(after=1), expected, strict=False):
        for blob in draft.blobs:
            assert store.blob(entry, blob.n) == blob.data
    assert store.append([note("after", "INC-1")])[0].seq == len(expected) + 2
    assert verify(store).ok


def plain_in(path: Path) -> list[str]:
    """The files beside a log in which the words can be read."""
    return [file.name for file in sorted(path.parent.iterdir()) if WORDS.encode() in file.read_bytes()]


def test_a_log_of_the_first_layout_says_what_to_do_and_then_has_every_hash(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    old_log(path)
    before = seen(path)
    assert plain_in(path) == ["log.db"]
    for use in (lambda: SqliteStore(path), lambda: create_log(path, ORIGIN, ACTOR)):
        with pytest.raises(StoreError, match=r"has layout 1, of an earlier mimrun.* `mimrun store migrate`"):
            use()
    told: list[tuple[int, int]] = []
    done = migrate(path, BlobKeyPlace.beside(path), lambda *far: told.append(far))
    assert (done.before, done.blobs, told[-1]) == (1, 61, (63, 63))
    assert seen(path) == before
    assert plain_in(path) == []
    with SqliteStore(path, projectors=[Counter()]) as store:
        assert store.faults() == ()
        check(store, drafts(60))
        assert store.rebuild()
    again = migrate(path, BlobKeyPlace.beside(path))
    assert (again.before, again.blobs) == (sqlite_schema.SCHEMA, 0)


def test_what_was_deleted_and_what_the_write_ahead_log_still_has_is_not_left_in_plain(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    old_log(path)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("pragma journal_mode = wal")
    db.execute("pragma wal_autocheckpoint = 0")
    db.execute("create table scrap (words text)")
    db.executemany("insert into scrap values (?)", [(f"{WORDS} {n} " * 50,) for n in range(200)])
    db.execute("drop table scrap")
    # As a process leaves it that was killed: with its write-ahead log.
    for name in ("log.db", "log.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / f"kept-{name}")
    db.close()
    for name in ("log.db", "log.db-wal"):
        (tmp_path / f"kept-{name}").replace(tmp_path / name)
    assert plain_in(path) == ["log.db", "log.db-wal"]
    bring(path)
    assert plain_in(path) == []
    with SqliteStore(path) as store:
        check(store, drafts(60))


@pytest.mark.parametrize("beginning", [False, True], ids=["idle", "in-a-transaction"])
def test_it_is_refused_while_others_have_the_log_open(tmp_path: Path, *, beginning: bool) -> None:
    path = tmp_path / "log.db"
    old_log(path, 3)
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path), str(int(beginning))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdin is not None
    with other.stdout, other.stdin:
        assert other.stdout.readline() == "open\n"
        before = seen(path)
        with pytest.raises(StoreError, match=r"others have the log .* open: end them"):
            bring(path)
        other.stdin.close()
        assert other.wait(10) == 0
    assert seen(path) == before
    bring(path)
    with SqliteStore(path) as store:
        check(store, drafts(3))


_HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("begin immediate" if sys.argv[2] == "1" else "pragma user_version").fetchall()
db.execute("select count(*) from entry").fetchall()
print("open", flush=True)
sys.stdin.read()
"""


def test_a_log_with_other_tables_or_a_blob_too_many_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    old_log(path, 3)
    for statement, words in (
        ("create table mine (x)", r"tables that mimrun did not make so \(mine\)"),
        ("insert into blob values (x'aa', x'bb', x'cc')", "6 blobs .* speak of 5|5 blobs .* speak of 4"),
    ):
        db = sqlite3.connect(path)
        db.execute(statement)
        db.commit()
        db.close()
        before = seen(path)
        with pytest.raises(StoreError, match=words):
            bring(path)
        assert seen(path) == before
        db = sqlite3.connect(path)
        assert db.execute("pragma user_version").fetchone() == (1,)
        db.execute("drop table if exists mine")
        db.commit()
        db.close()


@pytest.mark.parametrize("name", ["none.db", "text.db", "other.db", "newer.db"])
def test_what_is_no_log_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.db").write_text("not a database at all, but long enough" * 100)
    for other, version in (("other.db", 0), ("newer.db", 99)):
        db = sqlite3.connect(tmp_path / other)
        db.execute("create table x (y)")
        db.execute(f"pragma application_id = {sqlite_schema.APPLICATION_ID if version else 7}")
        db.execute(f"pragma user_version = {version}")
        db.close()
    with pytest.raises(StoreError, match=r"no log at|not a database|not a log of mimrun|a newer mimrun"):
        bring(tmp_path / name)


def test_killed_anywhere_it_has_lost_nothing_and_goes_on(
    tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    master = tmp_path / "master.db"
    old_log(master, 700)
    before = seen(master)
    luck, kills = random.Random(7), 0
    whole = _migrate_and_kill(shutil.copy(master, tmp_path / "whole.db"), 60.0)
    assert whole > 0, "it ended by itself"
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        path = Path(shutil.copy(master, folder / "log.db"))
        while _migrate_and_kill(path, luck.uniform(0.02, whole)) < 0:
            kills += 1
            assert seen(path) == before
        assert seen(path) == before
        assert plain_in(path) == []
        with SqliteStore(path) as store:
            check(store, drafts(700))
    record_property("counted", f"migrations killed={kills}")
    assert kills >= 3, "it was killed often enough to say something"


def _migrate_and_kill(path: str | Path, after: float) -> float:
    """Bring a log up to date, and kill that after so many seconds; give how long it took, or -1 where it was killed."""
    argv = [sys.executable, str(Path(__file__).with_name("migrator.py")), str(path)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "begun\n"
        begun = time.monotonic()
        try:
            assert process.wait(after) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return -1.0
        return time.monotonic() - begun


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("layout", [1, 3])
def test_a_log_in_postgresql_is_brought_up_to_date_with_every_hash(schema: Schema, layout: int) -> None:
    schema.drop()
    old_postgres_log(schema, layout, ORIGIN, drafts(250), ticking())
    before = schema.execute("select seq, data, leaf from entry order by seq")
    with pytest.raises(StoreError, match=rf"has layout {layout} .* `mimrun store migrate`, as the owner"):
        schema.open()
    with pytest.raises(StoreError, match=r"permission denied|must be owner"):
        migrate_log(schema.database, schema.blob_key)
    told: list[tuple[int, int]] = []
    moved = migrate_log(schema.owner, schema.blob_key, lambda *far: told.append(far))
    assert (moved, told[-1]) == ((layout, len(MIGRATIONS)), (253, 253))
    assert migrate_log(schema.owner, schema.blob_key) == (len(MIGRATIONS), len(MIGRATIONS))
    assert schema.execute("select seq, data, leaf from entry order by seq") == before
    assert schema.execute(
        "select count(*) from blob where position(convert_to('words of', 'utf8') in data) > 0"
    ) == [(0,)]
    assert schema.execute("select to_regclass('plain_blob')") == [(None,)]
    schema.execute(GRANTS.format(schema=schema.name, role=CLIENT))
    with schema.open(projectors=[Counter()]) as store:
        assert store.faults() == ()
        check(store, drafts(250))
        assert store.rebuild()


@pytest.mark.needs("postgres")
def test_a_migration_in_postgresql_that_is_cut_off_has_changed_nothing(schema: Schema) -> None:
    schema.drop()
    old_postgres_log(schema, 3, ORIGIN, drafts(400), ticking())
    before = schema.execute("select * from blob order by 1")

    def cut(done: int, of: int) -> None:
        with psycopg.connect(server_address(schema.server), autocommit=True) as db:
            db.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'mimrun migrate'"
            )

    with pytest.raises(StoreError):
        migrate_log(schema.owner, schema.blob_key, cut)
    assert schema.execute("select * from blob order by 1") == before
    assert migrate_log(schema.owner, schema.blob_key)[0] == 3
    with PostgresStore(schema.owner, schema.blob_key) as store:
        check(store, drafts(400))


@pytest.mark.needs("postgres")
def test_where_there_is_no_log_none_is_brought_up_to_date(schema: Schema) -> None:
    schema.drop()
    with pytest.raises(StoreError, match="there is no log in"):
        migrate_log(schema.owner, schema.blob_key)
