"""A log on a real hot standby: it can be read there as far as it has come, and nothing is added."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from builders.database import a_pair, await_true
from builders.log_places import BLOB_KEY, Schema, a_schema, server_address

from mimrun.errors import StoreError
from mimrun.lab.postgres import PostgresPair
from mimrun.log.holder import this_process
from mimrun.log.postgres.database import Database
from mimrun.log.postgres.lease import RowLeases
from mimrun.log.postgres.store import PostgresStore
from mimrun.log.proof.verify import verify
from tests.store.conftest import ACTOR, ORIGIN, Counter, note, started, ticking

pytestmark = pytest.mark.needs("postgres")


@pytest.fixture(scope="module")
def pair() -> Iterator[PostgresPair]:
    with a_pair("127.0.79") as pair:
        yield pair


@pytest.fixture
def schema(pair: PostgresPair) -> Iterator[Schema]:
    with a_schema(pair.primary) as schema:
        assert schema.create(ORIGIN, ACTOR, ticking())
        yield schema


def on_standby(pair: PostgresPair, schema: Schema, more: str = "&target_session_attrs=any") -> Database:
    """The log as who names the standby alone."""
    password = schema.database.password
    standby = Schema(pair.standby, schema.name).database
    return Database.of(f"{standby.url}?schema={schema.name}{more}", password)


def size_on(pair: PostgresPair, schema: Schema) -> int:
    with psycopg.connect(server_address(pair.standby), autocommit=True) as db:
        ((there,),) = db.execute("select to_regclass(%s) is not null", (f"{schema.name}.head",)).fetchall()
        if not there:
            return 0
        ((size,),) = db.execute(f"select coalesce(max(size), 0) from {schema.name}.head".encode()).fetchall()
        return int(size)


def test_a_log_on_a_standby_is_read_and_takes_nothing(pair: PostgresPair, schema: Schema) -> None:
    with schema.open(projectors=[Counter()]) as primary:
        primary.append([started(), note("gr\u00fcn")])
    await_true(lambda: size_on(pair, schema) == 3)
    database = on_standby(pair, schema)
    with PostgresStore(database, BLOB_KEY, projectors=[Counter()]) as store:
        entries = list(store.entries())
        assert [entry.seq for entry in entries] == [1, 2, 3]
        assert store.blob(entries[2], "text") == "gr\u00fcn".encode()
        assert store.projection("count/1", "run-1") == b"2:0;"
        assert verify(store).ok
        with pytest.raises(
            StoreError, match=r"cannot be written: .*it is a standby; name the primary"
        ) as refused:
            store.append([note("no")])
        assert refused.value.exit_code == 6
        with pytest.raises(StoreError, match="it is a standby; name the primary"):
            RowLeases(database, store.reader, this_process()).take("run-1")
        assert [entry.seq for entry in store.entries()] == [1, 2, 3]


def test_a_standby_that_is_named_by_mistake_is_refused_at_once_with_both_ways_out(
    pair: PostgresPair, schema: Schema
) -> None:
    await_true(lambda: size_on(pair, schema) == 1)
    with pytest.raises(StoreError, match=r"it is a standby: name the primary.*target_session_attrs=any"):
        PostgresStore(on_standby(pair, schema, ""), BLOB_KEY)


def test_of_both_that_are_named_the_primary_is_used(pair: PostgresPair, schema: Schema) -> None:
    one, two = pair.primary, pair.standby
    url = schema.database.url.replace(
        f"{one.host}:{one.port}", f"{two.host}:{two.port},{one.host}:{one.port}"
    )
    with PostgresStore(
        Database.of(f"{url}?schema={schema.name}", schema.database.password), BLOB_KEY
    ) as store:
        assert [entry.seq for entry in store.append([note("yes")])] == [2]


def test_a_standby_that_lags_gives_a_log_that_is_shorter_and_whole_and_then_the_rest(
    pair: PostgresPair, schema: Schema
) -> None:
    await_true(lambda: size_on(pair, schema) == 1)
    pair.standby.sql("select pg_wal_replay_pause()")
    try:
        await_true(lambda: pair.standby.sql("select pg_get_wal_replay_pause_state()") == "paused")
        with schema.open() as primary, PostgresStore(on_standby(pair, schema), BLOB_KEY) as store:
            primary.append([note("late")])
            assert [entry.seq for entry in store.entries()] == [1]
            assert verify(store).ok
            assert store.follow(1, 0.3) == ()
            pair.standby.sql("select pg_wal_replay_resume()")
            assert [entry.seq for entry in store.follow(1, 30)] == [2], (
                "it looks by itself: a standby tells nobody"
            )
    finally:
        pair.standby.sql("select pg_wal_replay_resume()")
