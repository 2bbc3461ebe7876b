"""What only a server can do to a log: go away at the worst moment, be full of other sessions, have roles."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psycopg
import pytest
from builders.log_places import BLOB_KEY, Schema, a_schema, kill_sessions
from builders.old_log import old_postgres_log

from mimrun.errors import RefusedError, SettingsError, StoreError
from mimrun.lab import process
from mimrun.lab.postgres_server import CLIENT, Instance
from mimrun.log.moment import utc_now
from mimrun.log.postgres import writer
from mimrun.log.postgres.database import Database
from mimrun.log.postgres.store import PostgresStore, create_log
from mimrun.log.proof.verify import verify
from mimrun.log.store import View
from tests.store.conftest import ACTOR, ORIGIN, Counter, note, started, ticking

pytestmark = pytest.mark.needs("postgres")

COMMIT = b"\0commit\0"
"""The statement, as it stands in a message to the server."""


class Line:
    """Stands before a server and, once it is armed, cuts the line on which a word is said."""

    def __init__(self, server: Instance) -> None:
        self.server, self.word, self.forward, self.cuts = server, b"", False, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ends: list[socket.socket] = []
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def arm(self, word: bytes, *, forward: bool) -> None:
        """Cut the next line on which the word is said: before the server hears it, or after it has answered."""
        self.word, self.forward = word, forward

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection((self.server.host, self.server.port))
                self.ends += [client, server]
                for one, other in ((client, server), (server, client)):
                    self.threads.append(
                        threading.Thread(target=self.carry, args=(one, other), kwargs={"said": one is client})
                    )
                    self.threads[-1].start()

    def carry(self, one: socket.socket, other: socket.socket, *, said: bool) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 20):
                if said and self.word and self.word in data:
                    self.word, self.cuts = b"", self.cuts + 1
                    if self.forward:
                        # Nothing of the answer is carried: the client is gone before the server knows.
                        one.shutdown(socket.SHUT_RDWR)
                        other.sendall(data)
                        time.sleep(0.05)
                    break
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Let no new line come about; those that are there stay."""
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.threads[0].join(10)
        self.listener.close()

    def close(self) -> None:
        """Cut everything."""
        self.refuse()
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)
        for end in self.ends:
            end.close()


@contextmanager
def a_line(schema: Schema) -> Iterator[tuple[Line, Database]]:
    line = Line(schema.server)
    url = f"postgresql://{CLIENT}@127.0.0.1:{line.port}/postgres?schema={schema.name}&sslmode=disable"
    try:
        yield line, Database.of(url, schema.database.password)
    finally:
        line.close()


@pytest.mark.parametrize("forward", [False, True], ids=["never-arrived", "committed-unheard"])
def test_an_append_whose_commit_got_no_answer_is_recorded_once(schema: Schema, forward: bool) -> None:
    evaluated = []
    with (
        a_line(schema) as (line, database),
        PostgresStore(database, BLOB_KEY, projectors=[Counter()]) as store,
    ):
        line.arm(COMMIT, forward=forward)
        entries = store.append([started(), note("x", run="run-1")], guard=evaluated.append)
        assert line.cuts == 1
        assert [entry.seq for entry in entries] == [2, 3]
        assert tuple(store.entries(run="run-1")) == entries
        # What was committed is not judged again; what was not is done as a whole once more.
        assert len(evaluated) == (1 if forward else 2)
        assert store.append([started()])[0].seq == 4
        assert store.projection("count/1", "run-1") == b"2:0;3:1;4:0;"
        assert verify(store).ok
        assert store.rebuild()


def test_a_session_that_is_ended_between_lock_and_commit_is_replaced_unnoticed(schema: Schema) -> None:
    killed: list[int] = []

    def ended(view: View) -> None:
        if not killed:
            killed.append(kill_sessions(schema.server, ["writer"]))
        view.projection("count/1", "run-1")

    with schema.open(projectors=[Counter()]) as store:
        assert [entry.seq for entry in store.append([started()], guard=ended)] == [2]
        assert killed == [1]
        assert store.head().size == 2
        assert verify(store).ok


def test_a_refusal_stays_a_refusal_when_the_line_is_cut_before_it_is_known(schema: Schema) -> None:
    first = threading.Event()

    def refuse(view: View) -> None:
        if not first.is_set():
            first.set()
            kill_sessions(schema.server, ["writer", "reader"])
        if view.projection("count/1", "run-1") == b"":
            raise RefusedError("not begun")

    with schema.open(projectors=[Counter()]) as store:
        with pytest.raises(RefusedError, match="not begun"):
            store.append([started()], guard=refuse)
        assert store.head().size == 1


def test_sessions_that_are_ended_at_random_lose_nothing_and_repeat_nothing(schema: Schema) -> None:
    killed = [0]
    done = threading.Event()

    def reap() -> None:
        while not done.wait(0.03):
            killed[0] += kill_sessions(schema.server, ["writer", "reader", "follower"])

    def work(number: int) -> list[int]:
        seqs: list[int] = []
        while len(seqs) < 20 or (killed[0] < 12 and not done.is_set()):
            seqs.append(store.append([note(f"{number}-{len(seqs)}")])[0].seq)
        return seqs

    with ThreadPoolExecutor(5) as pool, schema.open(projectors=[Counter()]) as store:
        reaper = pool.submit(reap)
        try:
            seqs = [seq for one in pool.map(work, range(4)) for seq in one]
        finally:
            done.set()
        reaper.result()
        assert killed[0] >= 12
        assert sorted(seqs) == list(range(2, len(seqs) + 2))
        assert store.head().size == len(seqs) + 1
        texts = [store.blob(entry, "text") for entry in store.entries(after=1)]
        assert len(set(texts)) == len(seqs)
        assert verify(store).ok
        assert store.rebuild()


def test_a_server_that_crashes_under_load_loses_nothing_acknowledged(server: Instance) -> None:
    restart_under_load(server, times=2, threads=4)


@pytest.mark.heavy
def test_a_server_that_crashes_again_and_again_loses_nothing_acknowledged(server: Instance) -> None:
    restart_under_load(server, times=25, threads=8)


def restart_under_load(server: Instance, times: int, threads: int) -> None:
    done = threading.Event()

    def work(store: PostgresStore, number: int) -> list[tuple[int, bytes]]:
        acknowledged, count = [], 0
        while not done.is_set():
            count += 1
            text = f"{number}-{count}"
            (entry,) = store.append([note(text)])
            acknowledged.append((entry.seq, text.encode()))
        return acknowledged

    with a_schema(server) as schema, ThreadPoolExecutor(threads) as pool:
        schema.create(ORIGIN, ACTOR, ticking())
        with schema.open(projectors=[Counter()]) as one, schema.open() as two:
            working = [pool.submit(work, (one, two)[n % 2], n) for n in range(threads)]
            try:
                for turn in range(times):
                    size = one.head().size
                    await_true(lambda size=size: one.head().size > size + 20)
                    crash(server)
                    time.sleep(0.1 * (turn % 3))
                    server.control("pg-start")
            finally:
                done.set()
            acknowledged = [pair for one_of in working for pair in one_of.result(60)]
            stored = {entry.seq: one.blob(entry, "text") for entry in one.entries(after=1)}
            assert {seq: stored[seq] for seq, _ in acknowledged} == dict(acknowledged)
            assert len(set(stored.values())) == len(stored) == len(acknowledged)
            assert verify(one).ok
            assert one.rebuild()


def crash(server: Instance) -> None:
    postmaster = process.postmaster(server.data_dir)
    assert postmaster is not None
    process.crash(postmaster)


def await_true(check: Callable[[], object], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)


@pytest.mark.parametrize("turn", range(3))
def test_a_process_that_is_frozen_in_its_transaction_holds_nobody_up_for_good(
    schema: Schema, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    monkeypatch.setattr(writer, "IDLE_S", 1)
    entered, leave = threading.Event(), threading.Event()

    def hold(view: View) -> None:
        entered.set()
        leave.wait(30)

    with schema.open() as slow, schema.open() as store, ThreadPoolExecutor(1) as pool:
        held = pool.submit(lambda: slow.append([started("slow")], guard=hold))
        assert entered.wait(30)
        assert store.append([started("other")])[0].seq == 2
        leave.set()
        # The frozen one finds itself thrown out, and does it again behind the other.
        assert held.result(30)[0].seq == 3
        assert verify(store).ok


def test_a_server_that_is_away_is_said_so_and_nothing_is_recorded(schema: Schema) -> None:
    with a_line(schema) as (line, database):
        store = PostgresStore(database, BLOB_KEY, patience=0.3)
        line.close()
        with pytest.raises(StoreError, match="see that the server runs") as refusal:
            store.append([started("away")])
        assert refusal.value.exit_code == 6
        with pytest.raises(StoreError, match="see that the server runs"):
            store.head()
        store.close()
        with pytest.raises(
            StoreError, match=r"postgresql://127\.0\.0\.1:\d+/postgres \(schema .*cannot be opened"
        ):
            PostgresStore(database, BLOB_KEY)
    with schema.open() as store:
        assert store.head().size == 1


def test_an_append_that_nobody_could_ask_about_is_said_to_be_unknown(schema: Schema) -> None:
    with a_line(schema) as (line, database):
        store = PostgresStore(database, BLOB_KEY, patience=0.2)
        store.append([started()])
        line.refuse()
        line.arm(COMMIT, forward=True)
        with pytest.raises(StoreError, match=r"nobody knows yet whether entry 3 .* recorded") as refusal:
            store.append([started()])
        assert refusal.value.exit_code == 6
        store.close()


def test_the_server_s_clock_is_on_record(schema: Schema) -> None:
    before = utc_now()
    with schema.open() as store:
        first, second = store.append([started(), started()])
    assert before <= first.ts <= second.ts <= utc_now()


@pytest.mark.parametrize(
    "statement",
    [
        "update entry set data = 'x' where seq = 2",
        "delete from entry",
        "truncate entry",
        "insert into entry select seq + 2, data, leaf, kind, inc, run, mark from entry where seq = 2",
        "insert into entry select * from entry where seq = 2 on conflict (seq) do update set data = 'x'",
        "update blob set data = 'x'",
        "delete from blob",
        "truncate blob",
    ],
)
def test_neither_the_role_nor_the_owner_changes_what_is_recorded(schema: Schema, statement: str) -> None:
    with schema.open() as store:
        store.append([note("x", run="run-1")])
        with pytest.raises(psycopg.errors.RaiseException, match="the log is append-only"):
            schema.execute(statement)
        with (
            schema.database.connect("test") as db,
            pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException)),
        ):
            db.execute(statement.encode())
        assert verify(store).ok


def test_the_primary_key_keeps_out_who_takes_no_lock(schema: Schema) -> None:
    schema.execute("alter table entry disable trigger entry_in_place")
    copy = "insert into entry select seq, data, leaf, kind, inc, run, mark from entry where seq = 1"
    with pytest.raises(psycopg.errors.UniqueViolation):
        schema.execute(copy)


def test_a_fence_that_is_down_is_found(schema: Schema) -> None:
    with schema.open() as store:
        assert store.faults() == ()
        schema.execute("alter table entry disable trigger entry_not_changed")
        assert store.faults() == ("trigger entry_not_changed is missing or disabled",)
        schema.execute("alter table blob disable trigger blob_not_changed")
        assert store.faults() == ("2 triggers are missing or disabled: blob_not_changed, entry_not_changed",)
        schema.execute("update entry set data = data || 'x' where seq = 1")
        report = verify(store)
        assert not report.ok
        assert "entry 1" in str(report)


def test_a_follower_hears_at_once_and_goes_on_when_its_line_is_cut(schema: Schema) -> None:
    with schema.open() as store, schema.open() as other:
        assert other.follow(1, 0.2) == ()
        await_true(lambda: other._bell.hears)  # type: ignore[attr-defined]
        timer = threading.Timer(0.1, lambda: store.append([started()]))
        timer.start()
        begun = time.monotonic()
        assert [entry.seq for entry in other.follow(1, 30)] == [2]
        assert time.monotonic() - begun < 0.9  # it looks by itself each second
        timer.join()
        assert kill_sessions(schema.server, ["follower"]) == 1
        store.append([started()])
        assert [entry.seq for entry in other.follow(2, 30)] == [3]


def test_a_database_without_a_log_names_the_cure(server: Instance) -> None:
    with (
        a_schema(server) as schema,
        pytest.raises(StoreError, match=r"no log in .*; `mimrun init` makes one"),
    ):
        schema.open()


def test_a_log_of_a_newer_mimrun_is_refused_and_one_of_an_older_is_brought_up_to_date(schema: Schema) -> None:
    schema.execute("insert into layout (version, name) values (99, 'of the future')")
    for use in (schema.open, lambda: create_log(schema.owner, BLOB_KEY, "x", ACTOR)):
        with pytest.raises(StoreError, match="a newer mimrun made it"):
            use()
    schema.drop()
    old_postgres_log(schema, 1, ORIGIN, [], ticking())
    with pytest.raises(StoreError, match=r"has layout 1 .* `mimrun store migrate`, as the owner"):
        schema.open()
    assert not create_log(schema.owner, BLOB_KEY, "x", ACTOR)
    schema.create("x", ACTOR, ticking())
    with schema.open() as store:
        assert store.log == ORIGIN


def test_two_that_begin_a_log_at_once_begin_one(server: Instance) -> None:
    with a_schema(server) as schema, ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: create_log(schema.owner, BLOB_KEY, f"log-{n}", ACTOR), range(4)))
        assert made.count(True) == 1
        assert schema.execute("select count(*) from entry") == [(1,)]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgresql://me:hunter2@db/log", "a password stands in the address"),
        ("postgresql://me@db/log?password=hunter2", "a password stands in the address"),
        ("postgresql://me@db/log?schema=a%20b", "a schema is named with"),
        ("postgresql://me@db/log?nonsense=1", "cannot be read"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_and_no_password_repeated(address: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refusal:
        Database.of(address)
    assert "hunter2" not in str(refusal.value)


def test_messages_name_the_database_without_its_account() -> None:
    database = Database.of("postgresql://me@db1,db2:5433/log?sslmode=require")
    assert database.name == "postgresql://db1,db2:5433/log"
