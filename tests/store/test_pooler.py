"""A real PgBouncer before the server: with a session for each of us all is as without it; else we say what to set."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import psycopg
import pytest
from builders.database import await_true
from builders.log_places import Schema, a_schema, kill_sessions, server_address
from builders.pooler import a_pooler

from mimrun.errors import LeaseError, StoreError
from mimrun.lab.postgres_server import CLIENT, Instance
from mimrun.log.holder import this_process
from mimrun.log.postgres.lease import RowLeases
from mimrun.log.postgres.store import migrate_log
from mimrun.log.proof.verify import verify
from tests.store.conftest import ACTOR, ORIGIN, Counter, note, started, ticking

pytestmark = pytest.mark.needs("postgres", "pgbouncer")


@contextmanager
def pooled(schema: Schema, mode: str, **settings: object) -> Iterator[Schema]:
    """The log as it is reached through a pooler."""
    with a_pooler(schema.server, mode, **settings) as through:
        yield Schema(through, schema.name)


@pytest.mark.parametrize("settings", [{}, {"ignore_startup_parameters": "options,extra_float_digits"}])
def test_a_log_is_made_and_kept_through_a_pooler_of_sessions(
    server: Instance, settings: dict[str, str]
) -> None:
    with a_schema(server) as direct, pooled(direct, "session", **settings) as schema:
        assert schema.create(ORIGIN, ACTOR, ticking())
        with schema.open(projectors=[Counter()]) as store, schema.open(projectors=[Counter()]) as other:
            with ThreadPoolExecutor(8) as pool:
                many = pool.map(lambda n: (store, other)[n % 2].append([note(f"{n}")]), range(80))
                assert sorted(entry.seq for entries in many for entry in entries) == list(range(2, 82))
            store.append([started()])
            assert [entry.seq for entry in other.entries(run="run-1")] == [82]
            assert other.projection("count/1", "run-1") == b"82:0;"
            assert verify(other).ok
        assert migrate_log(schema.owner, schema.blob_key)[0] > 0


def test_a_follower_hears_at_once_through_a_pooler_of_sessions(schema: Schema) -> None:
    with pooled(schema, "session") as through, through.open() as follower, schema.open() as store:
        assert follower.follow(1, 0.2) == ()
        await_true(lambda: follower._bell.hears)
        timer = threading.Timer(0.1, lambda: store.append([started()]))
        timer.start()
        begun = time.monotonic()
        assert [entry.seq for entry in follower.follow(1, 30)] == [2]
        assert time.monotonic() - begun < 0.9, "it looks by itself each second"
        timer.join()


def test_a_lease_is_one_through_a_pooler_of_sessions_and_sessions_that_end_are_replaced(
    schema: Schema,
) -> None:
    with pooled(schema, "session") as through, through.open() as store:
        leases = RowLeases(through.database, store.reader, this_process())
        with leases.take("run-1") as lease:
            assert (lease.epoch, lease.held()) == (1, True)
            with pytest.raises(LeaseError):
                leases.take("run-1")
        assert not leases.is_held("run-1")
        store.append([note("before")])
        assert kill_sessions(schema.server, ["reader", "writer"]) >= 2
        store.append([note("behind")])
        assert [entry.seq for entry in store.entries(after=1)] == [2, 3]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("settings", [{}, {"server_round_robin": 1}, {"default_pool_size": 1}])
def test_a_pooler_that_shares_connections_is_refused_with_what_to_set(
    schema: Schema, mode: str, settings: dict[str, int]
) -> None:
    with pooled(schema, mode, **settings) as through:
        for _ in range(5):
            with pytest.raises(StoreError, match="set pool_mode = session for this database in PgBouncer"):
                through.open()
        with pytest.raises(StoreError, match="pool_mode = session"):
            through.create(ORIGIN, ACTOR, ticking())
        shown = server_address(through.server, CLIENT)
        with closing(psycopg.connect(shown, autocommit=True)) as somebody:
            ((path, zone),) = somebody.execute(
                "select current_setting('search_path'), current_setting('timezone')"
            )
            assert schema.name not in path, "nothing of ours is left in the sessions of others"
            assert "public" in path, (path, zone)


def test_a_pooler_that_shares_connections_is_refused_also_while_others_use_it(schema: Schema) -> None:
    stop = threading.Event()

    def work(address: str) -> None:
        with closing(psycopg.connect(address, autocommit=True, prepare_threshold=None)) as db:
            while not stop.is_set():
                db.execute("select pg_sleep(0.002)")
                stop.wait(0.002)

    with pooled(schema, "transaction") as through, ThreadPoolExecutor(4) as pool:
        others = [pool.submit(work, server_address(through.server, CLIENT)) for _ in range(4)]
        try:
            for _ in range(20):
                with pytest.raises(StoreError, match="pool_mode = session"):
                    through.open()
        finally:
            stop.set()
        for other in others:
            other.result(10)


def test_a_pool_that_has_one_session_left_is_not_taken_for_one_that_shares(schema: Schema) -> None:
    with pooled(schema, "session", default_pool_size=1) as through, through.database.connect("test") as db:
        assert db.execute("select current_setting('search_path')").fetchall() == [(schema.name,)]
