"""Appending: order, links, guards, following, and what is refused."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders.log_places import Place

from mimrun.errors import InputError, LogError, RefusedError, StoreError
from mimrun.log.entry import NOTHING, Draft
from mimrun.log.kinds import Kind, ManualField, ManualRequested
from mimrun.log.proof.verify import verify
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sqlite.store import SqliteStore, create_log
from mimrun.log.store import View
from tests.store.conftest import ACTOR, ORIGIN, Counter, note, started, ticking


def test_a_log_begins_with_its_genesis(store: SequencedStore) -> None:
    (first,) = store.entries()
    assert (first.seq, first.kind, first.log, first.prev) == (1, Kind.LOG_GENESIS, ORIGIN, NOTHING)
    assert store.log == ORIGIN
    assert store.head().size == 1


def test_a_log_is_begun_once(place: Place) -> None:
    assert not place.create("another", ACTOR, ticking())
    with place.open() as store:
        assert store.log == ORIGIN


def test_entries_come_back_as_they_were_appended(store: SequencedStore) -> None:
    appended = store.append([started(), note("half of the rows are gone"), started("run-2", "INC-2")])
    assert [entry.seq for entry in appended] == [2, 3, 4]
    assert [entry.iseq for entry in appended] == [1, 2, 1]
    assert tuple(store.entries(after=1)) == appended
    assert tuple(store.entries(run="run-1")) == appended[:1]
    assert tuple(store.entries(inc="INC-1")) == appended[:2]
    assert tuple(store.entries(inc="")) == tuple(store.entries())[:1]
    assert tuple(store.entries(inc="INC-1", kinds=[Kind.INCIDENT_NOTE])) == appended[1:2]
    assert tuple(store.entries(kinds=[])) == ()
    assert store.entry(3) == appended[1]
    assert verify(store).ok


def test_blobs_come_back_by_name(store: SequencedStore) -> None:
    (entry,) = store.append([note("half of the rows are gone")])
    assert store.blob(entry, "text") == b"half of the rows are gone"
    assert store.blob(entry, "stdout") is None
    (again,) = store.append([note("half of the rows are gone")])
    assert again.blobs[0].commit != entry.blobs[0].commit  # the salt is new each time


def test_appending_nothing_is_nothing(store: SequencedStore) -> None:
    assert store.append([]) == ()
    assert store.head().size == 1


def test_an_entry_that_is_not_there_is_said_so(store: SequencedStore) -> None:
    with pytest.raises(LogError, match="has no entry 7; it has 1 to 1"):
        store.entry(7)


def test_time_on_record_never_goes_backwards(place: Place) -> None:
    early = iter([datetime(2027, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)])
    with place.open(clock=lambda: next(early)) as store:
        first, second = store.append([started(), started()])
    assert first.ts == second.ts == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_list_of_drafts_is_recorded_whole_or_not_at_all(store: SequencedStore) -> None:
    fields = tuple(ManualField(name=f"field {n}", type="string", required=True) for n in range(400))
    with pytest.raises(LogError, match="16384 is the most"):
        store.append([started(), Draft(ACTOR, ManualRequested(role="x", fields=fields))])
    assert store.head().size == 1
    assert [entry.seq for entry in store.append([started()])] == [2]
    assert verify(store).ok


def test_a_guard_sees_the_log_and_refuses(store: SequencedStore) -> None:
    def only_once(view: View) -> None:
        if view.projection("count/1", "run-1"):
            raise RefusedError(f"run-1 has been started already, at size {view.head().size}")

    store.append([started()], guard=only_once)
    with pytest.raises(RefusedError, match="already, at size 2"):
        store.append([started()], guard=only_once)
    assert store.head().size == 2


def test_of_many_threads_a_guard_lets_exactly_one_through(store: SequencedStore) -> None:
    def only_once(view: View) -> None:
        if view.projection("count/1", "run-1"):
            raise RefusedError("taken")

    def attempt(_: int) -> bool:
        try:
            store.append([started()], guard=only_once)
        except RefusedError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(64))) == 1
    assert len(list(store.entries(run="run-1"))) == 1


def test_a_guard_sees_all_keys_with_what_is_pending(store: SequencedStore) -> None:
    seen: list[list[str]] = []
    store.append([started("run-2"), started("run-1"), started("other")])
    store.append([], guard=None)
    store.append(
        [started("run-3")],
        guard=lambda view: seen.append([key for key, _ in view.projections("count/1", "run-")]),
    )
    assert seen == [["run-1", "run-2"]]


def test_a_guard_that_calls_the_store_is_told_not_to(store: SequencedStore) -> None:
    with pytest.raises(RuntimeError, match="may only look at its view"):
        store.append([started()], guard=lambda view: store.append([started()]))
    assert store.append([started()])[0].seq == 2


def test_one_refused_append_does_not_touch_those_that_share_its_transaction(store: SequencedStore) -> None:
    def append(number: int) -> int:
        def refuse(view: View) -> None:
            if number % 3 == 0:
                raise RefusedError("every third")

        try:
            return len(store.append([started(f"run-{number}"), note("x")], guard=refuse))
        except RefusedError:
            return 0

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(append, range(60))) == 80
    assert store.head().size == 81
    assert verify(store).ok
    assert store.rebuild()


def test_threads_append_without_a_gap(store: SequencedStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(lambda n: store.append([started(f"run-{n % 3}"), note("x")]), range(100)))
    assert sorted(e.seq for pair in entries for e in pair) == list(range(2, 202))
    assert all(second.seq == first.seq + 1 for first, second in entries)
    assert verify(store).ok


def test_following_waits_for_what_comes(store: SequencedStore) -> None:
    assert [entry.seq for entry in store.follow(0, 0)] == [1]
    assert store.follow(1, 0.01) == ()
    timer = threading.Timer(0.05, lambda: store.append([note("x", "INC-2"), started()]))
    timer.start()
    found = store.follow(1, 30, run="run-1")
    timer.join()
    assert [entry.seq for entry in found] == [3]
    assert [entry.seq for entry in store.follow(1, 30, inc="INC-2")] == [2]


def test_following_sees_what_another_store_appends(place: Place, store: SequencedStore) -> None:
    with place.open() as other:
        other.append([started()])
        assert [entry.seq for entry in store.follow(1, 30)] == [2]
        store.append([started()])
        assert [entry.seq for entry in other.follow(2, 30)] == [3]
    assert verify(store).ok


def test_a_store_that_is_closed_says_so_and_closes_twice(place: Place) -> None:
    store = place.open()
    store.append([started()])
    store.close()
    store.close()
    with pytest.raises(StoreError, match="has been closed"):
        store.append([started()])
    with pytest.raises(StoreError, match="has been closed"):
        store.head()


@pytest.mark.parametrize(
    "statement",
    [
        "update entry set data = 'x' where seq = 2",
        "update entry set run = 'other' where seq = 2",
        "delete from entry where seq = 2",
        "delete from entry",
        "insert or replace into entry select * from entry where seq = 2",
        "insert into entry select seq + 2, data, leaf, kind, inc, run from entry where seq = 2",
        "replace into entry select seq - 1, data, leaf, kind, inc, run from entry where seq = 2",
        "update blob set data = 'x'",
        "delete from blob",
        "insert or replace into blob select \"commit\", key, 'x' from blob",
    ],
)
def test_the_database_itself_is_append_only(path: Path, statement: str) -> None:
    store = SqliteStore(path)
    store.append([note("x", run="run-1")])
    db = sqlite3.connect(path)
    try:
        with pytest.raises(sqlite3.IntegrityError, match="the log is append-only"):
            db.execute(statement)
    finally:
        db.close()
    assert verify(store).ok
    store.close()


def test_a_missing_file_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no log at .*log\.db; `mimrun init` makes one"):
        SqliteStore(tmp_path / "log.db")


def test_no_log_is_made_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="see that the folder exists"):
        create_log(tmp_path / "nowhere" / "log.db", ORIGIN, ACTOR)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"these are my notes, not a log" * 100)
    with pytest.raises(StoreError, match="the file is not a database"):
        SqliteStore(path)
    with pytest.raises(StoreError, match="the file is not a database"):
        create_log(path, ORIGIN, ACTOR)
    assert path.read_bytes().startswith(b"these are my notes")


def test_another_program_s_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    db = sqlite3.connect(path)
    db.execute("create table mine (x)")
    db.close()
    for use in (lambda: SqliteStore(path).close(), lambda: create_log(path, ORIGIN, ACTOR)):
        with pytest.raises(StoreError, match="not a log of mimrun"):
            use()


def test_a_log_of_a_newer_mimrun_is_refused(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("pragma user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="a newer mimrun made it"):
        SqliteStore(path)


def test_a_log_that_its_maker_never_finished_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.touch()
    with pytest.raises(StoreError, match="not a log of mimrun"):
        SqliteStore(path)
    assert create_log(path, ORIGIN, ACTOR, clock=ticking())
    with SqliteStore(path) as store:
        assert verify(store).ok


def test_a_foreign_lock_is_waited_for_and_then_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimrun.log.sqlite.schema.LOCK_PATIENCE_MS", 50)
    shell = sqlite3.connect(path, isolation_level=None)
    with SqliteStore(path, projectors=[Counter()]) as store:
        shell.execute("begin immediate")
        with pytest.raises(StoreError, match="another program holds it locked"):
            store.append([started()])
        shell.execute("rollback")
        shell.close()
        assert store.append([started()])[0].seq == 2


def test_a_process_that_holds_the_log_too_long_is_given_up_on_with_nothing_recorded(place: Place) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold(view: View) -> None:
        entered.set()
        leave.wait(30)

    with place.open() as slow, place.open(patience=0.1) as store:
        holder = threading.Thread(target=slow.append, args=([started("slow")],), kwargs={"guard": hold})
        holder.start()
        assert entered.wait(30)
        with pytest.raises(StoreError, match=r"has held (its lock|it) for 0\.1 s"):
            store.append([started("given-up")])
        leave.set()
        holder.join()
        assert store.append([started("later")])[0].seq == 3
        assert list(store.entries(run="given-up")) == []


def test_a_wrong_projector_name_is_said_so(store: SequencedStore) -> None:
    with pytest.raises(LogError, match="without a projector 'gates'"):
        store.projection("gates", "x")
    with pytest.raises(LogError, match="without a projector 'gates'"):
        store.append([started()], guard=lambda view: view.projection("gates", "x"))
    assert not issubclass(LogError, InputError)
