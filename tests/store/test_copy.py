"""A log taken to another database: the same bytes, roots, checkpoints, blobs and erasures, whatever interrupts it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from builders.log_places import BLOB_KEY, CLIENT, GRANTS, Schema

from mimrun.errors import ErasedError, StoreError, TamperError
from mimrun.log import copying
from mimrun.log.blob_key import BlobKeyPlace
from mimrun.log.copying import Copied, copy_log, move_log
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import LogMoved, RedactApplied, RedactProposed
from mimrun.log.postgres.copying import PostgresReceiver, hold_postgres
from mimrun.log.postgres.store import PostgresStore
from mimrun.log.proof.verify import verify
from mimrun.log.reading import Reading
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sqlite.copying import SqliteReceiver, hold_sqlite
from mimrun.log.sqlite.reader import LogReader
from mimrun.log.sqlite.store import SqliteStore, create_log
from tests.store.conftest import ACTOR, ORIGIN, Counter, note, started, ticking

KEY = bytes.fromhex("5e" * 32)
pytestmark = pytest.mark.needs("postgres")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A log in a file, with the key that logs in the server have."""
    path = tmp_path / "log.db"
    create_log(path, ORIGIN, ACTOR, clock=ticking(), blob_key=BLOB_KEY)
    with SqliteStore(path, blob_key=BLOB_KEY) as store:
        fill(store, 40)
    return path


@pytest.fixture
def empty(schema: Schema) -> Schema:
    """A server without a log."""
    schema.drop()
    return schema


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PAGE_ENTRIES", 7)


def fill(store: SequencedStore, count: int) -> None:
    size = store.head().size
    entries = store.append([note(f"note {size + n}", f"INC-{n % 3}", "run-1") for n in range(count)])
    store.append([started()])
    erase(store, entries[3].seq)


def erase(store: SequencedStore, seq: int) -> None:
    entry = store.entry(seq)
    (ref,) = entry.blobs
    asked = RedactProposed(entry=seq, names=(ref.n,), reason="a name")
    (proposal,) = store.append([Draft(ACTOR, asked, inc=entry.inc)])
    body = RedactApplied(entry=seq, name=ref.n, commit=ref.commit, proposal=proposal.seq, reason="a name")
    store.append([Draft(Actor("person", "u:8", "cli", "local"), body, inc=entry.inc)])


@contextmanager
def reading(path: Path) -> Iterator[Reading]:
    reader = LogReader(path, blob_key=BLOB_KEY)
    try:
        yield reader
    finally:
        reader.close()


def leave(store: SequencedStore, place: str) -> None:
    """Say where the log goes on."""
    store.append([Draft(ACTOR, LogMoved(to=place))])


def into(empty: Schema, path: Path, stop_at: int = 0) -> Copied:
    with reading(path) as reader, PostgresReceiver(empty.owner, KEY) as receiver:
        return copy_log(reader, receiver, stopping(stop_at))


def stopping(at: int) -> Callable[[int, int], None]:
    def told(done: int, of: int) -> None:
        assert done <= of
        if at and done >= at:
            raise KeyboardInterrupt

    return told


def everything(store: Reading | SequencedStore) -> list[object]:
    reader = store if isinstance(store, Reading) else store._reader
    claim = reader.claim()
    return [
        [row[:6] for row in reader.rows()],
        [tuple(one) for one in reader.checkpoints()],
        sorted(map(tuple, reader.query('select "commit", key, data from blob'))),
        sorted(map(tuple, reader.query('select "commit", seq from redaction'))),
        sorted(
            row for row in map(tuple, reader.query("select id, inc, wrapped from data_key")) if any(row[0])
        ),
        (claim.size, claim.leaf, claim.root, claim.incidents, claim.blobs),
    ]


@contextmanager
def opened(empty: Schema) -> Generator[SequencedStore]:
    empty.execute(GRANTS.format(schema=empty.name, role=CLIENT))
    with empty.open(projectors=[Counter()]) as store:
        yield store


def checkpoints(path: Path, *sizes: int) -> None:
    with SqliteReceiver(path) as receiver:
        for size in sizes:
            receiver._db.execute("insert into checkpoint values (?, ?)", (size, f"note of {size}"))


def test_everything_is_the_same_in_postgresql(source: Path, empty: Schema) -> None:
    done = into(empty, source)
    with reading(source) as reader, opened(empty) as store:
        assert everything(store) == everything(reader)
        assert (done.before, done.size, done.root) == (0, reader.size(), reader.head().root)
        report = verify(store)
        assert report.ok, str(report)
        with pytest.raises(ErasedError):
            store.blob(store.entry(5), "text")
        assert store.blob(store.entry(6), "text") == b"note 5"
        assert store.projection("count/1", "run-1").startswith(b"2:6;")
        assert store.rebuild()


def test_checkpoints_come_with_it_also_those_that_were_stored_later(source: Path, empty: Schema) -> None:
    checkpoints(source, 5, 12, 13, 14, 15, 16, 17, 18, 19, 44)
    into(empty, source)
    checkpoints(source, 43)
    into(empty, source)
    with reading(source) as reader, opened(empty) as store:
        assert everything(store) == everything(reader)
        assert [one.size for one in store.checkpoints()] == [5, *range(12, 20), 43, 44]


@pytest.mark.parametrize("at", [1, 8, 20, 36, 43])
def test_a_copy_that_is_broken_off_is_a_shorter_log_and_is_gone_on_with(
    source: Path, empty: Schema, at: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        into(empty, source, at)
    with opened(empty) as store:
        assert at <= store.head().size <= 44
        # What was erased since, and whose entry has not been copied, is all that can be missing.
        assert {flaw.seq for flaw in verify(store).flaws} <= {5}
    with SqliteStore(source, blob_key=BLOB_KEY) as store:
        erase(store, 3)  # it may have been copied already
        fill(store, 10)
    done = into(empty, source)
    assert done.before > 0
    with reading(source) as reader, opened(empty) as store:
        assert everything(store) == everything(reader)
        assert verify(store).ok
    again = into(empty, source)
    assert (again.before, again.size) == (done.size, done.size)


def test_only_the_beginning_of_the_same_log_is_gone_on_with(
    source: Path, empty: Schema, tmp_path: Path
) -> None:
    into(empty, source)
    with opened(empty) as store:
        store.append([note("of the copy")])
    with SqliteStore(source, blob_key=BLOB_KEY) as store:
        store.append([note("of the log")])
    with pytest.raises(StoreError, match="both were added to"):
        into(empty, source)
    with opened(empty) as store:
        store.append([note("more") for _ in range(9)])
    with pytest.raises(StoreError, match="both were added to"):
        into(empty, source)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "log.db"
    create_log(other, "another.example.org", ACTOR, blob_key=BLOB_KEY)
    with pytest.raises(StoreError, match=r"holds the log 'test.example.org/log' and not 'another"):
        into(empty, other)


def test_whoever_has_a_log_open_that_was_moved_is_told_where_it_goes_on(source: Path, empty: Schema) -> None:
    with SqliteStore(source, blob_key=BLOB_KEY, projectors=[Counter()]) as store:
        store.append([note("before")])
        into(empty, source)
        store.append([note("meanwhile")])
        leave(store, "postgresql://db/log")
        with reading(source) as reader, PostgresReceiver(empty.owner, KEY) as receiver:
            done = move_log(reader, receiver, lambda: hold_sqlite(source), "postgresql://db/log")
        assert done is not None
        assert done.size == store.head().size
        for _ in range(2):
            with pytest.raises(StoreError, match=r"it goes on at postgresql://db/log; set MIMRUN_STORE"):
                store.append([note("after")])
        assert verify(store).ok
        assert store.blob(store.entry(store.head().size - 1), "text") == b"meanwhile"
    with reading(source) as reader, opened(empty) as copy:
        assert everything(copy) == everything(reader)
        assert copy.append([note("there")])[0].seq == done.size + 1


def test_nobody_adds_to_a_log_while_it_is_handed_over(source: Path, empty: Schema) -> None:
    into(empty, source)
    ended = threading.Event()

    def append() -> None:
        with (
            SqliteStore(source, blob_key=BLOB_KEY) as store,
            pytest.raises(StoreError, match="it goes on at x"),
        ):
            store.append([note("late")])
        ended.set()

    with SqliteStore(source, blob_key=BLOB_KEY) as store:
        leave(store, "x")
    with hold_sqlite(source) as mark:
        thread = threading.Thread(target=append)
        thread.start()
        assert not ended.wait(0.2)
        mark("x")
    thread.join(20)
    assert ended.is_set()


def test_a_log_that_was_held_and_not_marked_goes_on(source: Path) -> None:
    with pytest.raises(TamperError), hold_sqlite(source):
        raise TamperError("they differ")
    with SqliteStore(source, blob_key=BLOB_KEY) as store:
        store.append([note("on")])


def test_a_log_to_which_somebody_adds_behind_the_word_that_it_moves_goes_on(
    source: Path, empty: Schema
) -> None:
    with SqliteStore(source, blob_key=BLOB_KEY) as store:
        leave(store, "x")
        store.append([note("behind it")])
        with reading(source) as reader, PostgresReceiver(empty.owner, KEY) as receiver:
            assert move_log(reader, receiver, lambda: hold_sqlite(source), "x") is None
        store.append([note("on")])
        assert store.moved() == ""


def test_a_log_comes_back_into_a_file_and_into_the_one_that_it_left(
    source: Path, empty: Schema, tmp_path: Path
) -> None:
    with SqliteStore(source, blob_key=BLOB_KEY) as store:
        leave(store, "postgresql://db/log")
    with reading(source) as reader, PostgresReceiver(empty.owner, KEY) as receiver:
        assert move_log(reader, receiver, lambda: hold_sqlite(source), "postgresql://db/log")
    with opened(empty) as store:
        (tmp_path / "back").mkdir()
        with SqliteReceiver(tmp_path / "back" / "log.db") as receiver:
            copy_log(store._reader, receiver)
        with reading(tmp_path / "back" / "log.db") as reader:
            assert everything(reader) == everything(store)
        with SqliteReceiver(source) as receiver:
            copy_log(store._reader, receiver)
        with SqliteStore(source, blob_key=BLOB_KEY) as file, pytest.raises(StoreError, match="it goes on at"):
            file.append([note("too early")])
        fill(store, 9)
        with SqliteReceiver(source) as receiver:
            copy_log(store._reader, receiver)
        with (
            SqliteStore(source, blob_key=BLOB_KEY) as file,
            pytest.raises(TamperError, match="a copy back into this log was broken off"),
        ):
            file.append([note("too early")])
        leave(store, "a file")
        with SqliteReceiver(source) as receiver:
            assert move_log(store._reader, receiver, lambda: hold_postgres(empty.owner), "a file")
        with pytest.raises(StoreError, match=r"it goes on at a file; set MIMRUN_STORE"):
            store.append([note("late")])
        assert verify(store).ok
    with SqliteStore(source, blob_key=BLOB_KEY, projectors=[Counter()]) as file:
        assert file.append([note("home")])[0].seq > 50
        assert verify(file).ok
        assert file.rebuild()
        assert file.faults() == ()


def test_a_role_that_does_not_own_the_log_cannot_close_it(
    source: Path, empty: Schema, tmp_path: Path
) -> None:
    into(empty, source)
    with opened(empty) as store:
        leave(store, "a file")
        with (
            SqliteReceiver(tmp_path / "new.db") as receiver,
            pytest.raises(StoreError, match="permission denied"),
        ):
            move_log(store._reader, receiver, lambda: hold_postgres(empty.database), "a file")
        store.append([note("on")])


def test_an_entry_that_was_changed_is_named_and_not_copied(source: Path, empty: Schema) -> None:
    with SqliteReceiver(source) as receiver:
        receiver._db.execute("drop trigger entry_not_updated")
        receiver._db.execute(
            "update entry set data = cast(replace(data, 'u:7', 'u:8') as blob) where seq = 20"
        )
    with pytest.raises(TamperError, match="log entry 20 is not what was recorded"):
        into(empty, source)
    with opened(empty) as store:
        assert store.head().size == 14


def test_another_blob_key_at_the_destination_is_refused(source: Path, empty: Schema, tmp_path: Path) -> None:
    into(empty, source)
    (tmp_path / "other.key").write_text("ab" * 32)
    with (
        PostgresStore(empty.owner, BlobKeyPlace(tmp_path / "other.key")) as store,
        pytest.raises(StoreError, match="is not the one of the log"),
    ):
        store.append([note("one more")])
