"""Blobs where they lie: encrypted under a key for each incident, and never to be seen in a file."""

from __future__ import annotations

import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from builders.log_places import BLOB_KEY, File, Place, Schema, kill_sessions, server_address

from mimrun.errors import BlobKeyError, RefusedError, StoreError, TamperError
from mimrun.log.blob_key import BlobKeyPlace
from mimrun.log.cipher import CANARY
from mimrun.log.moment import utc_now
from mimrun.log.proof.verify import verify
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sqlite.store import SqliteStore, create_log, refuse_plain
from mimrun.log.store import View
from tests.store.conftest import ACTOR, ORIGIN, Counter, note, started

WORDS = "what nobody is to read on the disk"
HEX = b"5e" * 32


def raw(path: Path) -> bytes:
    """Everything that lies in the log's folder, but for the key."""
    return b"".join(
        file.read_bytes()
        for file in sorted(path.parent.iterdir())
        if file.is_file() and file.suffix != ".key"
    )


def test_what_is_recorded_lies_nowhere_in_plain(path: Path) -> None:
    with SqliteStore(path, projectors=[Counter()]) as store:
        store.append([note(f"{WORDS} {n}", f"INC-{n % 3}", "run-1") for n in range(300)])
        open_ = raw(path)
        assert path.with_name("log.db-wal").stat().st_size > 0
    for files in (open_, raw(path)):
        assert b"INC-2" in files
        assert b"incident.note" in files
        assert WORDS.encode() not in files
        assert CANARY not in files
        assert bytes.fromhex(path.with_name("blob.key").read_text()) not in files
    with SqliteStore(path) as store:
        assert store.blob(store.entry(301), "text") == f"{WORDS} 299".encode()
        assert verify(store).ok


@pytest.mark.needs("postgres")
def test_what_is_recorded_lies_nowhere_in_plain_in_postgresql(schema: Schema) -> None:
    with schema.open() as store:
        store.append([note(f"{WORDS} {n} of {schema.name}", f"INC-{n % 3}") for n in range(30)])
    with psycopg.connect(server_address(schema.server), autocommit=True) as db:
        db.execute("checkpoint")
    seen, planted = 0, f"of {schema.name}".encode()
    for folder, _, files in os.walk(schema.server.data_dir):
        for name in files:
            data = (Path(folder) / name).read_bytes()
            assert planted not in data, name
            seen += b"incident.note" in data
    assert seen, "the files of the server have been looked at"


def test_each_incident_has_a_key_that_all_processes_use(place: Place, store: SequencedStore) -> None:
    store.append([note("a", "INC-1"), note("b", "INC-2"), note("c", "INC-1"), note("d", "")])
    with place.open() as other:
        other.append([note("e", "INC-1"), note("f", "INC-3")])
        store.append([note("g", "INC-3")])
        assert [other.blob(entry, "text") for entry in other.entries(after=1)] == [
            b"%c" % c for c in b"abcdefg"
        ]
    rows = place.execute("select inc, count(*) from data_key group by inc order by inc")
    assert [tuple(row) for row in rows] == [("", 2), ("INC-1", 1), ("INC-2", 1), ("INC-3", 1)]
    used = place.execute("select count(distinct key) from blob")
    assert [tuple(row) for row in used] == [(4,)]


def test_two_processes_that_make_a_key_at_once_keep_both(place: Place, store: SequencedStore) -> None:
    with place.open() as other, ThreadPoolExecutor(2) as pool:
        for n in range(5):
            both = [pool.submit(one.append, [note(f"{n}", f"INC-{n}")]) for one in (store, other)]
            assert {entry.inc for one in both for entry in one.result()} == {f"INC-{n}"}
        for one in (store, other):
            assert sorted(one.blob(entry, "text") or b"" for entry in one.entries(after=1)) == [
                b"%d" % (n // 2) for n in range(10)
            ]
        assert verify(store).ok


def test_an_append_that_is_refused_leaves_no_key_and_the_next_one_works(
    place: Place, store: SequencedStore
) -> None:
    def no(view: View) -> None:
        raise RefusedError("not now")

    with pytest.raises(RefusedError):
        store.append([note("x")], guard=no)
    assert [tuple(row) for row in place.execute("select count(*) from data_key")] == [(1,)]
    store.append([note("y")])
    store.append([note("z")])
    assert [tuple(row) for row in place.execute("select count(*) from data_key")] == [(2,)]
    assert store.blob(store.entry(3), "text") == b"z"


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[BlobKeyPlace, str]]:
    """What may be wrong with a key, and what is said about it."""
    (tmp_path / "other.key").write_text("ab" * 32 + "\n")
    (tmp_path / "no.key").write_text("hunter2\n")
    monkeypatch.delenv("TEST_NO_KEY", raising=False)
    return {
        "missing": (
            BlobKeyPlace(tmp_path / "gone.key"),
            r"is missing: put back .*gone.key, .*MIMRUN_BLOB_KEY",
        ),
        "wrong": (
            BlobKeyPlace(tmp_path / "other.key"),
            r"other.key is not the one of the log .* take the blob.key of",
        ),
        "none": (BlobKeyPlace(tmp_path / "no.key"), r"no.key holds is no key of a log's blobs"),
        "secret": (BlobKeyPlace(tmp_path / "gone.key", "env:TEST_NO_KEY"), "no variable TEST_NO_KEY"),
    }


WRONG = pytest.mark.parametrize("what", ["missing", "wrong", "none", "secret"])


@WRONG
def test_without_its_key_a_log_is_read_and_its_blobs_say_what_is_missing(
    place: Place, store: SequencedStore, wrong: dict[str, tuple[BlobKeyPlace, str]], what: str
) -> None:
    store.append([note("one"), note("two", run="run-1"), started()])
    key, said = wrong[what]
    with place.open(blob_key=key, projectors=[Counter()]) as keyless:
        assert [entry.seq for entry in keyless.entries()] == [1, 2, 3, 4]
        assert keyless.projection("count/1", "run-1") == store.projection("count/1", "run-1") != b""
        assert keyless.head() == store.head()
        with pytest.raises(
            BlobKeyError, match=f"blob 'text' of log entry 2 cannot be read: .*{said}"
        ) as told:
            keyless.blob(keyless.entry(2), "text")
        assert "hunter2" not in str(told.value)
    assert store.blob(store.entry(2), "text") == b"one"


@WRONG
def test_without_its_key_nothing_is_added_to_a_log_and_no_second_key_made(
    place: Place, store: SequencedStore, wrong: dict[str, tuple[BlobKeyPlace, str]], what: str
) -> None:
    store.append([note("one")])
    key, said = wrong[what]
    before = place.execute("select id, inc, wrapped from data_key order by id")
    with place.open(blob_key=key) as keyless:
        for drafts in ([note("two")], [note("three", "INC-NEW")], [started()]):
            with pytest.raises(BlobKeyError, match=f"nothing is added to the log .*{said}"):
                keyless.append(drafts)
        with pytest.raises(BlobKeyError, match=said):
            keyless.checkpoint()
    assert place.create(ORIGIN, ACTOR, utc_now) is False
    assert store.head().size == 2
    assert place.execute("select id, inc, wrapped from data_key order by id") == before
    assert key.path is None or not key.path.exists() or what != "missing"
    store.append([note("four")])
    assert store.blob(store.entry(3), "text") == b"four"


@WRONG
def test_without_its_key_a_log_is_verified_and_its_blobs_are_said_not_to_be(
    place: Place, store: SequencedStore, wrong: dict[str, tuple[BlobKeyPlace, str]], what: str
) -> None:
    store.append([note("one"), note("two"), started()])
    key, said = wrong[what]
    with place.open(blob_key=key) as keyless:
        report = verify(keyless)
        assert (report.flaws, report.ok, report.unread, report.blobs) == ((), False, 2, 0)
        assert report.root == verify(store).root
        assert "every entry is intact, and the content of 2 blobs was not compared" in str(report)
        assert re.search(
            f"(?s)not proven: .*that blobs hold what was recorded .2 of them.: .*{said}", str(report)
        ), str(report)
        assert (report.as_json()["ok"], report.as_json()["unread"]) == (False, 2)


@WRONG
def test_without_its_key_a_blob_that_is_gone_and_an_entry_that_was_changed_are_found(
    place: Place, store: SequencedStore, wrong: dict[str, tuple[BlobKeyPlace, str]], what: str
) -> None:
    store.append([note("one"), note("two"), note("three")])
    unfence(place)
    place.execute(f'delete from blob where "commit" = {literal(place, store, 2)}')
    place.execute("update entry set run = 'run-9' where seq = 3")
    with place.open(blob_key=wrong[what][0]) as keyless:
        report = verify(keyless)
    found = {flaw.seq: flaw.check for flaw in report.flaws if flaw.seq}
    assert found == {2: "blob", 3: "column"}, str(report)
    assert report.unread == 1
    assert "not intact" in str(report)
    assert "the content of one blob was not compared" in str(report)


def test_the_key_is_a_file_for_its_owner_or_a_secret_and_then_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    path = tmp_path / "one" / "log.db"
    create_log(path, ORIGIN, ACTOR)
    key = path.with_name("blob.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert re.fullmatch("[0-9a-f]{64}\n", key.read_text())
    assert [file.name for file in path.parent.glob(".blob*")] == []
    (tmp_path / "two").mkdir()
    other = tmp_path / "two" / "log.db"
    monkeypatch.setenv("TEST_KEY", HEX.decode())
    place = BlobKeyPlace(other.with_name("blob.key"), "env:TEST_KEY")
    create_log(other, ORIGIN, ACTOR, blob_key=place)
    assert not other.with_name("blob.key").exists()
    with SqliteStore(other, blob_key=place) as store:
        store.append([note("x")])
        assert store.blob(store.entry(2), "text") == b"x"


def test_two_that_make_a_key_at_once_have_the_same(tmp_path: Path) -> None:
    place = BlobKeyPlace(tmp_path / "blob.key")
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: place.make().key, range(16)))
    assert set(keys) == {place.read().key}
    assert [file.name for file in tmp_path.iterdir()] == ["blob.key"]


def test_a_blob_of_which_the_key_is_gone_and_one_that_was_moved_are_said_to_be_so(
    place: Place, store: SequencedStore
) -> None:
    store.append([note("one", "INC-1"), note("two", "INC-2"), note("three", "INC-2")])
    unfence(place)
    place.execute("delete from data_key where inc = 'INC-1'")
    (two,), (three,) = (
        place.execute(f'select data from blob where "commit" = {literal(place, store, n)}') for n in (3, 4)
    )
    assert two != three
    place.execute(
        f'update blob set data = (select b.data from blob b where b."commit" = {literal(place, store, 4)})'
        f' where "commit" = {literal(place, store, 3)}'
    )
    with place.open() as other:
        with pytest.raises(TamperError, match=r"blob 'text' of log entry 2 .* its data key is missing"):
            other.blob(other.entry(2), "text")
        with pytest.raises(TamperError, match=r"blob 'text' of log entry 3 .* what is stored was changed"):
            other.blob(other.entry(3), "text")
        assert other.blob(other.entry(4), "text") == b"three"
        found = {flaw.seq: str(flaw) for flaw in verify(other).flaws}
    assert "its data key is missing" in found[2]
    assert "what is stored was changed" in found[3]
    assert "the entry itself is" in found[2]


def unfence(place: Place) -> None:
    """Take down what keeps the tables from being changed."""
    if isinstance(place, File):
        for (name,) in place.execute("select name from sqlite_schema where type = 'trigger'"):
            place.execute(f"drop trigger {name}")
        return
    for kind in ("entry", "blob", "data_key"):
        place.execute(f"alter table {kind} disable trigger all")


def literal(place: Place, store: SequencedStore, seq: int) -> str:
    """An entry's commitment, as the database writes bytes."""
    commit = store.entry(seq).blobs[0].commit
    return f"x'{commit}'" if isinstance(place, File) else f"'\\x{commit}'"


def test_no_blob_is_stored_under_a_key_that_is_not_there(place: Place, store: SequencedStore) -> None:
    store.append([note("one")])
    nothing = "x'00000000000000ff'" if isinstance(place, File) else "decode('00000000000000ff', 'hex')"
    with pytest.raises(Exception, match="the data key is gone"):
        place.execute(f"insert into blob select key, {nothing}, data from blob")


@pytest.mark.parametrize(
    "statement",
    [
        "update data_key set inc = 'INC-2' where inc = 'INC-1'",
        "delete from data_key where inc = 'INC-1'",
        "delete from data_key where inc = ''",
        "delete from blob",
        "update blob set key = data",
        'insert into redaction select "commit", 2 from blob',
        'insert into redaction select "commit", 1 from blob',
    ],
)
def test_the_database_itself_keeps_blobs_and_keys(
    place: Place, store: SequencedStore, statement: str
) -> None:
    store.append([note("one")])
    with pytest.raises(Exception, match="the log is append-only"):
        place.execute(statement)
    assert store.blob(store.entry(2), "text") == b"one"


def test_a_log_whose_canary_lies_in_plain_is_not_begun(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"SQLite format 3\0" + CANARY)
    with pytest.raises(StoreError, match="holds in plain what was to be encrypted"):
        refuse_plain(path)


@pytest.mark.needs("postgres")
def test_the_key_is_read_once_and_outlives_a_lost_connection(schema: Schema, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(os.environ[BLOB_KEY.reference.removeprefix("env:")])
    with schema.open(blob_key=BlobKeyPlace(file)) as store:
        store.append([note("one")])
        file.unlink()
        assert kill_sessions(schema.server, ["writer", "reader"]) >= 2
        store.append([note("two"), started()])
        assert [store.blob(store.entry(seq), "text") for seq in (2, 3)] == [b"one", b"two"]
