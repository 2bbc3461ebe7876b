"""The applied table: a statement that is never committed twice, and a lost answer that is found out."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from builders.database import a_call, a_pair, await_true, connected, rows, target_of, through_cutter
from pydantic import ValidationError

from connectors.postgres import Postgres, applied
from connectors.postgres.actions import Execute, PostgresSettings, Query
from connectors.postgres.session import Session
from mimrun.connector import Effect, Failed, Finding, Ok, Unknown
from mimrun.lab.postgres import PostgresPair

pytestmark = pytest.mark.needs("postgres")


@pytest.fixture(scope="module")
def pair() -> Iterator[PostgresPair]:
    with a_pair("127.0.43") as pair:
        pair.primary.sql("create schema ops; create table ops.notes(id serial, note text)")
        pair.primary.sql(applied.ddl(note("x")))
        yield pair


@pytest.fixture
def primary(pair: PostgresPair) -> Iterator[Postgres]:
    with connected(pair.primary) as postgres:
        yield postgres


def note(text: str, **more: Any) -> Execute:
    sql = "insert into ops.notes(note) values (%s) returning note"
    return Execute(**{"sql": sql, "params": (text,), "applied_table": "ops.mimrun_applied", **more})


def count(postgres: Postgres, text: str) -> int:
    found = postgres.perform(
        Query(sql="select count(*) as n from ops.notes where note = %s", params=(text,)), a_call()
    )
    return int(rows(found)[0]["n"])


def finding(postgres: Postgres, action: Execute, key: str) -> Finding:
    return postgres.probe(action, a_call(key=key)).finding


def test_statement_with_a_key_is_committed_once_and_answers_the_same_again(primary: Postgres) -> None:
    action = note("once")
    assert action.effect_class() is Effect.PROBE
    assert finding(primary, action, "k-once") is Finding.NOT_APPLIED
    first = primary.perform(action, a_call(key="k-once"))
    second = primary.perform(action, a_call(key="k-once", attempt=2))
    assert isinstance(first, Ok)
    assert (first.changed, first.data["rows"], first.data["status"]) == (
        True,
        [{"note": "once"}],
        "INSERT 0 1",
    )
    assert second == first
    assert count(primary, "once") == 1
    probed = primary.probe(action, a_call(key="k-once"))
    assert (probed.finding, probed.data, probed.outcome) == (Finding.APPLIED, first.data, first)
    found = primary.check(action, a_call(key="k-once"))
    assert (found.changes, "not run again" in found.detail) == (False, True)
    # Another step is another key.
    assert isinstance(primary.perform(action, a_call(key="k-other")), Ok)
    assert count(primary, "once") == 2


def test_statement_that_fails_leaves_no_key(primary: Postgres) -> None:
    action = note("x", sql="insert into ops.notes(id, note) values (1/(select 0), %s)")
    outcome = primary.perform(action, a_call(key="k-fails"))
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert finding(primary, action, "k-fails") is Finding.NOT_APPLIED


@pytest.mark.parametrize(
    ("word", "forward", "committed"),
    [
        (b"insert into ops.notes", True, False),
        (b'mimrun_applied" (key', True, False),
        (b"commit", False, False),
        (b"commit", True, True),
    ],
)
def test_lost_answer_is_found_out(
    pair: PostgresPair, primary: Postgres, word: bytes, forward: bool, committed: bool
) -> None:
    text = key = f"k-lost-{len(word)}-{forward}"
    with through_cutter(pair.primary, word, forward=forward) as cut:
        outcome = cut.perform(note(text), a_call(key=key))
    assert isinstance(outcome, Unknown if word == b"commit" else Failed)
    assert finding(primary, note(text), key) is (Finding.APPLIED if committed else Finding.NOT_APPLIED)
    assert isinstance(primary.perform(note(text), a_call(key=key, attempt=2)), Ok)
    assert count(primary, text) == 1


@contextmanager
def abandoned(pair: PostgresPair, action: Execute, key: str, *, frozen: bool) -> Iterator[Session]:
    """A transaction that has done everything but its commit, and whose client says nothing more."""
    session = Session(PostgresSettings.of(target_of(pair.primary)))
    session.open()
    connection = session.connection
    call = a_call(key=key)
    connection.execute(f"begin; {session.bounds(call)}")
    assert applied.take(connection, action, call) is None
    connection.execute(action.sql, list(action.params or ()), prepare=True)
    applied.keep(connection, action, call, Ok(changed=True, data={"rows": []}))
    pid = connection.info.backend_pid
    if frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield session
    finally:
        if frozen:
            os.kill(pid, signal.SIGCONT)
        session.close()


def test_transaction_on_its_way_is_in_doubt_until_it_has_ended(
    pair: PostgresPair, primary: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applied, "PATIENCE", 100)
    with abandoned(pair, note("way"), "k-way", frozen=False) as session:
        pid = session.connection.info.backend_pid
        probed = primary.probe(note("way"), a_call(key="k-way"))
        assert probed.finding is Finding.UNKNOWN
        assert probed.reason == f"another session is at work with this step's key: server process {pid}"
        # Nor may anybody begin it again meanwhile.
        again = primary.perform(note("way"), a_call(key="k-way", attempt=2))
        assert isinstance(again, Unknown), again
        # Other keys are not held up.
        assert isinstance(primary.perform(note("beside"), a_call(key="k-beside")), Ok)
    await_true(lambda: finding(primary, note("way"), "k-way") is Finding.NOT_APPLIED)
    assert count(primary, "way") == 0


def test_commit_that_lies_before_a_frozen_server_process_is_not_overlooked(
    pair: PostgresPair, primary: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applied, "PATIENCE", 100)
    with abandoned(pair, note("late"), "k-late", frozen=True) as session:
        # 1. The commit is sent and the client is gone; the server process has not read it yet.
        session.connection.pgconn.send_query(b"commit")
        session.connection.pgconn.flush()
        with socket.socket(fileno=os.dup(session.connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_WR)
        # 2. A probe that said "not applied" now would have the statement run twice.
        assert finding(primary, note("late"), "k-late") is Finding.UNKNOWN
    # 3. The server process goes on, commits, and only then finds that nobody listens.
    await_true(lambda: finding(primary, note("late"), "k-late") is Finding.APPLIED)
    assert isinstance(primary.perform(note("late"), a_call(key="k-late", attempt=2)), Ok)
    assert count(primary, "late") == 1


def test_probe_that_waits_sees_a_commit_that_comes_meanwhile(pair: PostgresPair, primary: Postgres) -> None:
    with abandoned(pair, note("soon"), "k-soon", frozen=False) as session:
        timer = threading.Timer(0.3, lambda: session.connection.execute("commit"))
        timer.start()
        assert finding(primary, note("soon"), "k-soon") is Finding.APPLIED
        timer.join()


def test_race_of_many_sessions_commits_once(pair: PostgresPair, primary: Postgres) -> None:
    """Sessions with the same key, each of which loses its line at a moment of its own."""
    words = (b"begin", b"insert into ops", b'applied" (key', b"commit")

    def attempt(number: int) -> str:
        key = f"k-race-{number % 6}"
        word, forward = words[number % 4], bool(number // 4 % 2)
        with through_cutter(pair.primary, word, forward=forward) as cut, connected(pair.primary) as sound:
            cut.perform(note(key), a_call(key=key))
            for _ in range(20):
                found = finding(sound, note(key), key)
                if found is Finding.APPLIED:
                    return key
                if found is Finding.NOT_APPLIED:
                    sound.perform(note(key), a_call(key=key))
        return key

    with ThreadPoolExecutor(6) as pool:
        keys = set(pool.map(attempt, range(36)))
    assert {key: count(primary, key) for key in keys} == dict.fromkeys(keys, 1)


def test_statement_that_may_reach_outside_is_only_ever_found_applied(primary: Postgres) -> None:
    action = note("f", sql="with n as (insert into ops.notes(note) values (%s)) select 1 as one")
    assert finding(primary, action, "k-outside") is Finding.UNKNOWN
    assert rows(primary.perform(action, a_call(key="k-outside"))) == [{"one": 1}]
    assert finding(primary, action, "k-outside") is Finding.APPLIED


def test_table_is_made_only_when_asked_for(pair: PostgresPair, primary: Postgres) -> None:
    missing = note("made", applied_table="ops.made_here")
    refused = primary.perform(missing, a_call(key="k-made"))
    assert isinstance(refused, Failed)
    assert refused.clean
    assert 'run: create table "ops"."made_here" (key text primary key' in refused.reason
    assert finding(primary, missing, "k-made") is Finding.NOT_APPLIED
    making = note("made", applied_table="ops.made_here", create_applied_table=True)
    assert primary.check(making, a_call(key="k-made")).changes is None
    assert pair.primary.sql("select to_regclass('ops.made_here') is null") == "t"

    def make(number: int) -> object:
        with connected(pair.primary) as postgres:
            return postgres.perform(making, a_call(key=f"k-made-{number}"))

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(make, range(4)))
    assert all(isinstance(outcome, Ok) for outcome in outcomes), outcomes
    assert count(primary, "made") == 4


@pytest.mark.parametrize(
    "ddl",
    [
        "create unlogged table ops.unfit (key text primary key, answer jsonb)",
        "create table ops.unfit (key text, answer jsonb)",
        "create table ops.unfit (key text, other int, answer jsonb, primary key (key, other))",
        "create view ops.unfit as select 'x' as key, null::jsonb as answer",
    ],
)
def test_table_that_would_forget_or_repeat_keys_is_refused(
    pair: PostgresPair, primary: Postgres, ddl: str
) -> None:
    pair.primary.sql(ddl)
    try:
        action = note("unfit", applied_table="ops.unfit")
        outcome = primary.perform(action, a_call(key="k-unfit"))
        assert isinstance(outcome, Failed)
        assert (outcome.clean, "not fit to hold keys" in outcome.reason) == (True, True)
        assert finding(primary, action, "k-unfit") is Finding.UNKNOWN
    finally:
        pair.primary.sql(f"drop {'view' if 'view' in ddl else 'table'} ops.unfit")
    assert count(primary, "unfit") == 0


def test_standby_cannot_tell(pair: PostgresPair) -> None:
    with connected(pair.standby) as standby:
        probed = standby.probe(note("x"), a_call(key="k-standby"))
    assert (probed.finding, "is a standby" in probed.reason) == (Finding.UNKNOWN, True)


def test_role_that_defaults_to_snapshots_still_sees_what_was_committed(
    pair: PostgresPair, primary: Postgres
) -> None:
    pair.primary.sql(f"alter role {pair.primary.user} set default_transaction_isolation = 'repeatable read'")
    try:
        with connected(pair.primary) as strict, abandoned(pair, note("rr"), "k-rr", frozen=False) as session:
            timer = threading.Timer(0.3, lambda: session.connection.execute("commit"))
            timer.start()
            assert finding(strict, note("rr"), "k-rr") is Finding.APPLIED
            timer.join()
    finally:
        pair.primary.sql(f"alter role {pair.primary.user} reset default_transaction_isolation")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"applied_table": "ops.t; drop table x"}, "string_pattern_mismatch"),
        ({"applied_table": 'ops."t"'}, "string_pattern_mismatch"),
        ({"applied_table": "a.b.c"}, "string_pattern_mismatch"),
        ({"applied_table": "pg_temp.t"}, "PostgreSQL's own"),
        ({"applied_table": "information_schema.t"}, "PostgreSQL's own"),
        ({"applied_table": "t", "transaction": False}, "needs a transaction"),
        ({"applied_table": None, "create_applied_table": True}, "needs applied_table"),
    ],
)
def test_table_that_is_none_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as error:
        note("x", **fields)
    assert says in str(error.value)


def test_table_without_a_schema_is_in_public() -> None:
    action = Execute(sql="delete from t", applied_table="select")
    assert applied.ddl(action).startswith('create table "public"."select" (')
    assert action.summary() == "delete from t  [applied once by public.select]"
    assert Execute(sql="delete from t").effect_class() is Effect.ONCE


def test_lock_of_a_key_stays_the_same_over_the_years() -> None:
    assert applied.lock_of("k") == 7679673480541602238
    assert applied.lock_of("l") != applied.lock_of("k")
