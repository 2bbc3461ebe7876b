"""Between its commit and the disk an entry can still be lost: nobody is told of it before, and it is done again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from builders.log_places import Schema

from mimrun.errors import RefusedError, StoreError
from mimrun.lab import process
from mimrun.lab.postgres_server import Instance
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.postgres import writer
from mimrun.log.postgres.flush import FLUSH, SETTLED, WAIT
from mimrun.log.postgres.message import Statement
from mimrun.log.postgres.store import PostgresStore
from mimrun.log.proof.verify import verify
from mimrun.log.store import View
from tests.store.conftest import Counter, note, started
from tests.store.signers import begin
from tests.store.test_postgres import await_true

pytestmark = pytest.mark.needs("postgres")

ENDLESS = Statement("", "select pg_sleep(600)")
"""In the place of what waits for the disk: committed, and not flushed, for as long as a test likes."""
BEHIND = "select pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()"


class Window:
    """A server that has committed an entry and not written it to disk."""

    def __init__(self, schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
        self.schema, self.server, self._monkeypatch = schema, schema.server, monkeypatch

    @contextmanager
    def append(self, store: PostgresStore, guards: list[View]) -> Iterator[Future[tuple[LogEntry, ...]]]:
        """Append an entry, and give its answer when it has been committed and not flushed."""
        (log_writer,) = self.server.sql(
            "select pid from pg_stat_activity where backend_type = 'walwriter'"
        ).split()
        # The server would otherwise write to disk by itself, within a fifth of a second.
        os.kill(int(log_writer), signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(1) as pool:
                self._monkeypatch.setattr(writer, "FLUSHED", ENDLESS)
                answer = pool.submit(store.append, [note("in the window")], guard=guards.append)
                await_true(lambda: self.schema.execute("select size from head") == [(3,)])
                self._monkeypatch.undo()
                assert not answer.done()
                assert self.server.sql(BEHIND) == "t"
                yield answer
        finally:
            with suppress(ProcessLookupError):
                os.kill(int(log_writer), signal.SIGCONT)

    def lose_power(self) -> None:
        """End the server with everything that it has not written, and start it again."""
        postmaster = process.postmaster(self.server.data_dir)
        assert postmaster is not None
        process.crash(postmaster)
        self.server.control("pg-start")


@pytest.fixture
def window(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> Window:
    return Window(schema, monkeypatch)


def test_an_entry_that_vanished_with_the_server_is_judged_and_recorded_anew(
    schema: Schema, window: Window
) -> None:
    guards: list[View] = []
    with schema.open(projectors=[Counter()]) as store:
        store.append([started()])
        with window.append(store, guards) as answer:
            (vanished,) = schema.execute("select leaf from entry where seq = 3")
            window.lose_power()
            (entry,) = answer.result(60)
        assert (entry.seq, entry.leaf()) != (3, vanished[0])
        # It had been judged once for what is gone, and once for what is there.
        assert len(guards) == 2
        assert [one.seq for one in store.entries()] == [1, 2, 3]
        assert store.blob(entry, "text") == b"in the window"
        assert verify(store).ok
        assert store.rebuild()


def test_what_vanished_is_not_among_the_ends_that_a_checkpoint_is_made_of(
    schema: Schema, window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with schema.open() as store, schema.open() as other:
        begin(store, tmp_path)
        with window.append(other, []) as theirs, ThreadPoolExecutor(1) as pool:
            # This looks at all incidents, also at the end that is about to vanish, and vanishes itself.
            monkeypatch.setattr(writer, "FLUSHED", ENDLESS)
            ours = pool.submit(store.append, [started(inc="INC-2")])
            await_true(lambda: schema.execute("select size from head") == [(4,)])
            monkeypatch.undo()
            window.lose_power()
            assert {theirs.result(60)[0].seq, ours.result(60)[0].seq} == {3, 4}
        signed = store.checkpoint()
        assert signed is not None
        assert [heads.seq for heads in store.entries(kinds={Kind.LOG_HEADS})] == [signed.size] == [5]
        report = verify(store)
        assert report.ok, report


LOOKS: dict[str, Callable[[PostgresStore], object]] = {
    "head": lambda store: store.head().size == 3,
    "entries": lambda store: [entry.seq for entry in store.entries(after=2)] == [3],
    "entry": lambda store: store.entry(3).seq == 3,
    "rows": lambda store: [row.seq for row in store.rows(2)] == [3],
    "leaves": lambda store: len(list(store.leaves(3))) == 3,
    "claim": lambda store: store.claim().size == 3,
    "follow": lambda store: [entry.seq for entry in store.follow(2, 30)] == [3],
    "projection": lambda store: store.projection("count/1", "run-1") == b"2:0;",
    "projections": lambda store: list(store.projections("count/1")) == [("run-1", b"2:0;")],
    "blob": lambda store: store.reader.query("select count(*) from blob") == [(1,)],
}


@pytest.mark.parametrize("look", LOOKS)
def test_whoever_looks_waits_for_the_disk(schema: Schema, window: Window, look: str) -> None:
    with schema.open(projectors=[Counter()]) as store, schema.open(projectors=[Counter()]) as other:
        store.append([started()])
        other.head()
        with window.append(store, []) as answer:
            end = schema.server.sql("select pg_current_wal_insert_lsn()")
            assert LOOKS[look](other)
            assert schema.server.sql(f"select pg_current_wal_flush_lsn() >= '{end}'") == "t"
            # Nothing new has come since: it is not waited for again.
            assert writes_nothing(schema.server, lambda: LOOKS[look](other))
            schema.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)'"
            )
            assert answer.result(60)[0].seq == 3


def writes_nothing(server: Instance, look: Callable[[], object]) -> bool:
    """Whether looking adds nothing to the server's own log; its other processes may do so now and then."""
    for _ in range(5):
        before = server.sql("select pg_current_wal_insert_lsn()")
        look()
        if server.sql("select pg_current_wal_insert_lsn()") == before:
            return True
    return False


def test_what_somebody_has_seen_is_there_after_a_loss_of_power_and_is_not_recorded_twice(
    schema: Schema, window: Window
) -> None:
    guards: list[View] = []
    with schema.open(projectors=[Counter()]) as store, schema.open() as other:
        store.append([started()])
        with window.append(store, guards) as answer:
            seen = other.head()
            window.lose_power()
            (entry,) = answer.result(60)
        assert (entry.seq, entry.leaf().hex()) == (3, seen.leaf)
        assert len(guards) == 1
        assert other.head() == seen
        assert verify(store).ok


def test_a_refusal_comes_when_what_it_rests_on_is_on_disk(schema: Schema, window: Window) -> None:
    def refuse(view: View) -> None:
        raise RefusedError(f"there are {view.head().size}")

    with schema.open() as store, schema.open() as other:
        store.append([started()])
        with window.append(store, []) as answer:
            end = schema.server.sql("select pg_current_wal_insert_lsn()")
            with pytest.raises(RefusedError, match="there are 3"):
                other.append([started()], guard=refuse)
            assert schema.server.sql(f"select pg_current_wal_flush_lsn() >= '{end}'") == "t"
            window.lose_power()
            assert answer.result(60)[0].seq == 3


def test_a_wait_for_a_standby_that_somebody_ends_is_begun_again(schema: Schema) -> None:
    waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and application_name like 'mimrun {}'"

    def standbys(names: str) -> None:
        schema.server.sql(f"alter system set synchronous_standby_names = '{names}'")
        schema.server.sql("select pg_reload_conf()")

    with schema.open() as store, schema.open() as other, ThreadPoolExecutor(2) as pool:
        store.append([started()])
        standbys("nobody")
        try:
            await_true(lambda: schema.server.sql("show synchronous_standby_names") == "nobody")
            answer = pool.submit(store.append, [started()])
            for _ in range(3):
                await_true(lambda: schema.server.sql(waits.format("writer")) == "1")
                schema.server.sql(
                    "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'"
                )
            looked = pool.submit(other.head)
            await_true(lambda: schema.server.sql(waits.format("reader")) == "1")
            schema.server.sql(
                "select pg_cancel_backend(pid) from pg_stat_activity"
                " where wait_event = 'SyncRep' and application_name = 'mimrun reader'"
            )
            await_true(lambda: schema.server.sql(waits.format("reader")) == "1")
            assert not answer.done()
            assert not looked.done()
        finally:
            standbys("")
        assert answer.result(60)[0].seq == 3
        assert looked.result(60).size == 3


@pytest.mark.parametrize(
    ("server_s", "ours"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")],
)
def test_a_session_waits_for_the_disk_whatever_the_role_is_set_to(
    schema: Schema, server_s: str, ours: str
) -> None:
    with schema.database.connect("test", synchronous_commit=server_s) as db:
        db.execute(WAIT.encode())
        assert db.execute("show synchronous_commit").fetchall() == [(ours,)]
        for statement in (FLUSH, SETTLED):
            before = db.execute("select pg_current_wal_insert_lsn()").fetchall()[0][0]
            db.execute(statement.encode())
            flushed = db.execute("select pg_current_wal_flush_lsn() > %s::pg_lsn", (before,)).fetchall()
            assert flushed == [(True,)]


def test_a_server_that_will_not_say_what_is_on_disk_gets_no_answer_out_of_an_append(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    with schema.open(patience=0.3) as store:
        store.append([started()])
        monkeypatch.setattr(writer, "FLUSHED", Statement("", "select 1/0"))
        with pytest.raises(StoreError, match=r"nobody knows yet whether entry 3 .* recorded") as refusal:
            store.append([started()])
        assert refusal.value.exit_code == 6
        monkeypatch.undo()
    with schema.open() as store:
        # It was, and from now on it is known.
        assert store.head().size == 3
        assert store.append([started()])[0].seq == 4


def test_a_log_whose_end_is_gone_is_still_read_and_said_to_be_damaged(schema: Schema) -> None:
    with schema.open() as store:
        store.append([started()])
        schema.execute("delete from head")
        assert [entry.seq for entry in store.entries()] == [1, 2]
        report = verify(store)
        assert not report.ok
        assert "the end of the log" in str(report)
