"""A real PostgreSQL pair: reading, changing, lost answers, promotion, rewind."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders.database import a_call, a_pair, await_true, connected, rows, target_of, through_cutter
from pydantic import ValidationError

from connectors.postgres import Postgres, replication
from connectors.postgres.actions import Execute, PostgresSettings, Promote, Query, Replication, Rewind
from connectors.postgres.session import Session
from mimrun.connector import Call, Effect, Failed, Finding, Ok, Unknown
from mimrun.lab import process
from mimrun.lab.postgres import PostgresPair
from mimrun.lab.postgres_server import append

pytestmark = pytest.mark.needs("postgres")


@pytest.fixture(scope="module")
def pair() -> Iterator[PostgresPair]:
    with a_pair("127.0.41") as pair:
        yield pair


@pytest.fixture
def fresh() -> Iterator[PostgresPair]:
    with a_pair("127.0.42") as pair:
        yield pair


@pytest.fixture
def primary(pair: PostgresPair) -> Iterator[Postgres]:
    with connected(pair.primary) as postgres:
        yield postgres


@pytest.fixture
def standby(pair: PostgresPair) -> Iterator[Postgres]:
    with connected(pair.standby) as postgres:
        yield postgres


def test_rows_come_as_objects_that_the_log_can_keep(primary: Postgres) -> None:
    sql = """
    select 1 as n, 9007199254740993::bigint as big, 12.50 as price, 3::numeric as whole, 0.5::float8 as half,
      'NaN'::float8 as nan, true as yes, null as nothing, 'x' as x, '\\x6869'::bytea as raw,
      '2026-11-21 22:05:06.5+01'::timestamptz as at, 'infinity'::timestamptz as ever, '2026-02-03'::date as day,
      '1 day 02:00'::interval as took, '{"a": [1.5, {"b": null}]}'::jsonb as doc, array[1,2] as list,
      '0/16B3748'::pg_lsn as lsn, '127.0.0.1'::inet as ip, int4range(1,3) as span, row(1,'a') as pair,
      'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as id, 1 as n, 2 as "größe", '100%' as percent
    """
    assert rows(primary.perform(Query(sql=sql), a_call())) == [
        {
            "n": 1, "big": "9007199254740993", "price": "12.50", "whole": 3, "half": "0.5", "nan": "NaN", "yes": True,
            "nothing": None, "x": "x", "raw": "6869", "at": "2026-11-21T21:05:06.5Z", "ever": "infinity",
            "day": "2026-02-03", "took": "1 day 02:00:00", "doc": {"a": ["1.5", {"b": None}]}, "list": [1, 2],
            "lsn": "0/16B3748", "ip": "127.0.0.1", "span": "[1, 3)", "pair": ["1", "a"],
            "id": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "n_2": 1, "gr\\xf6\\xdfe": 2, "percent": "100%",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "params", "found"),
    [
        ("select %s::text || '; drop table x' as v", ("a'b",), "a'b; drop table x"),
        ("select %(n)s::int + 1 as v", {"n": 41}, 42),
        ("select %s::jsonb -> 'a' as v", ({"a": [1]},), [1]),
        ("select %s::jsonb #>> '{1,b}' as v", ([1, {"b": "x"}],), "x"),
        ("select 3 = any(%s::int[]) as v", ([1, 3],), True),
    ],
)
def test_values_never_become_part_of_the_statement(
    primary: Postgres, sql: str, params: Any, found: Any
) -> None:
    assert rows(primary.perform(Query(sql=sql, params=params), a_call())) == [{"v": found}]
    assert rows(primary.perform(Execute(sql=sql, params=params), a_call())) == [{"v": found}]


def test_many_rows_are_cut(primary: Postgres) -> None:
    outcome = primary.perform(Query(sql="select generate_series(1, 100000000) as n"), a_call(10))
    assert isinstance(outcome, Ok)
    assert (outcome.data["rowcount"], outcome.data["truncated"]) == (1000, True)
    wide = primary.perform(Query(sql="select repeat('x', 100000) from generate_series(1, 9)"), a_call())
    assert (wide.data["rowcount"], wide.data["truncated"]) == (2, True)
    none = primary.perform(Query(sql="select 1 where false"), a_call())
    assert (none.data["rows"], none.data["truncated"]) == ([], False)


@pytest.mark.parametrize(
    "sql",
    [
        "with gone as (delete from pg_depend returning 1) select * from gone",
        "select 1; create table sneaked(i int)",
        "explain analyze delete from pg_depend",
        "select 1 into sneaked",
    ],
)
def test_query_that_would_change_something_is_refused_by_the_server(primary: Postgres, sql: str) -> None:
    outcome = primary.perform(Query(sql=sql), a_call())
    assert isinstance(outcome, Failed), outcome
    assert outcome.clean
    assert rows(primary.perform(Query(sql="select to_regclass('sneaked') as t"), a_call())) == [{"t": None}]


@pytest.mark.parametrize(
    "sql",
    [
        "insert into t values (1)",
        "copy (select 1) to program 'id'",
        "/* select */ drop table t",
        "select pg_promote()",
        "SELECT PG_TERMINATE_BACKEND (1)",
        "select nextval('s')",
        "commit",
        "",
    ],
)
def test_query_that_is_none_is_refused_by_its_model(sql: str) -> None:
    with pytest.raises(ValidationError):
        Query(sql=sql)


def test_error_says_code_and_place_and_has_done_nothing(primary: Postgres) -> None:
    outcome = primary.perform(Query(sql="select nothing from pg_class"), a_call())
    assert outcome == Failed(
        'postgres: column "nothing" does not exist (SQLSTATE 42703, at character 8)',
        clean=True,
        data={"sqlstate": "42703"},
    )
    assert isinstance(primary.perform(Query(sql="select 1"), a_call()), Ok)


def test_execute_commits_and_counts(primary: Postgres) -> None:
    assert primary.perform(Execute(sql="create table counted(i int)"), a_call()).changed
    inserted = primary.perform(Execute(sql="insert into counted values (1), (2) returning i"), a_call())
    assert inserted == Ok(
        True, {"rows": [{"i": 1}, {"i": 2}], "rowcount": 2, "truncated": False, "status": "INSERT 0 2"}
    )
    none = primary.perform(Execute(sql="update counted set i = 0 where i > %s", params=(9,)), a_call())
    assert isinstance(none, Ok)
    assert not none.changed
    assert rows(primary.perform(Query(sql="select count(*) as n from counted"), a_call())) == [{"n": 2}]


@pytest.mark.parametrize(
    ("sql", "clean"),
    [
        ("insert into pg_class values (1)", True),
        ("creat table x()", True),
        ("insert into nowhere values (1); select 1", True),
        ("select 1/0", False),
        ("do $$ begin perform 1/0; end $$", False),
        ("do $$ begin execute 'creat table x()'; end $$", False),
    ],
)
def test_failed_statement_is_clean_where_a_rollback_takes_all_of_it_back(
    primary: Postgres, sql: str, clean: bool
) -> None:
    outcome = primary.perform(Execute(sql=sql), a_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean is clean
    assert outcome.reason.endswith("rolled back")


def test_deferred_error_at_commit_is_rolled_back(primary: Postgres) -> None:
    table = "create table parent(i int primary key, p int references parent deferrable initially deferred)"
    primary.perform(Execute(sql=table), a_call())
    outcome = primary.perform(Execute(sql="insert into parent values (1, 2)"), a_call())
    assert isinstance(outcome, Failed)
    assert (outcome.clean, outcome.data["sqlstate"]) == (True, "23503")


def test_second_statement_is_an_error_and_not_an_action(primary: Postgres) -> None:
    outcome = primary.perform(
        Execute(sql="create table one_of_two(i int); create table two_of_two(i int)"), a_call()
    )
    assert isinstance(outcome, Failed)
    assert outcome.clean
    found = primary.perform(Query(sql="select to_regclass('one_of_two') as t"), a_call())
    assert rows(found) == [{"t": None}]


def test_statement_outside_of_transactions(primary: Postgres) -> None:
    inside = primary.perform(Execute(sql="alter system set work_mem = '5MB'"), a_call())
    assert isinstance(inside, Failed)
    assert inside.clean
    alone = primary.perform(Execute(sql="alter system set work_mem = '5MB'", transaction=False), a_call())
    assert alone == Ok(True, {"rows": [], "rowcount": 0, "truncated": False, "status": "ALTER SYSTEM"})
    assert isinstance(primary.perform(Execute(sql="alter system reset all", transaction=False), a_call()), Ok)
    half = "do $$ begin create table half_done(i int); commit; execute 'creat table x()'; end $$"
    broken_off = primary.perform(Execute(sql=half, transaction=False), a_call())
    assert isinstance(broken_off, Failed)
    assert (broken_off.clean, broken_off.data["sqlstate"]) == (False, "42601")
    found = primary.perform(Query(sql="select to_regclass('half_done')::text as t"), a_call())
    assert rows(found) == [{"t": "half_done"}]
    failed = primary.perform(Execute(sql="vacuum nowhere", transaction=False), a_call())
    assert isinstance(failed, Failed)
    assert not failed.clean


def test_lost_answer_to_the_commit_is_in_doubt(pair: PostgresPair, primary: Postgres) -> None:
    primary.perform(Execute(sql="create table doubtful(i int)"), a_call())
    with through_cutter(pair.primary, b"commit", forward=True) as cut:
        outcome = cut.perform(Execute(sql="insert into doubtful values (1)"), a_call())
    assert isinstance(outcome, Unknown)
    # Unknown is the only honest word: this one was committed.
    await_true(lambda: rows(primary.perform(Query(sql="select i from doubtful"), a_call())) == [{"i": 1}])


def test_line_lost_before_the_commit_has_done_nothing(pair: PostgresPair, primary: Postgres) -> None:
    primary.perform(Execute(sql="create table untouched(i int)"), a_call())
    for forward in (True, False):
        with through_cutter(pair.primary, b"insert into", forward=forward) as cut:
            outcome = cut.perform(Execute(sql="insert into untouched values (1)"), a_call())
        assert isinstance(outcome, Failed), outcome
        assert outcome.clean
        assert "no commit was sent" in outcome.reason
    assert rows(primary.perform(Query(sql="select i from untouched"), a_call())) == []


def test_line_lost_in_a_statement_that_may_reach_outside_is_in_doubt(pair: PostgresPair) -> None:
    for action in (
        Execute(sql="select 42"),
        Query(sql="select 42"),
        Execute(sql="select 42", transaction=False),
    ):
        with through_cutter(pair.primary, b"select 42", forward=True) as cut:
            assert isinstance(cut.perform(action, a_call()), Unknown)


def test_session_ended_by_an_administrator_is_made_anew(pair: PostgresPair, primary: Postgres) -> None:
    (mine,) = rows(primary.perform(Query(sql="select pg_backend_pid() as pid"), a_call()))
    with connected(pair.primary) as other:
        other.perform(Execute(sql="select pg_terminate_backend(%s, 5000)", params=(mine["pid"],)), a_call())
    # Seen before anything is asked, so that a change is not in doubt for a connection that died idle.
    assert isinstance(primary.perform(Execute(sql="create table after_all(i int)"), a_call()), Ok)


def test_deadline_is_told_to_the_server(primary: Postgres) -> None:
    begun = time.monotonic()
    outcome = primary.perform(Query(sql="select pg_sleep(30)"), a_call(1))
    assert isinstance(outcome, Failed)
    assert (outcome.clean, outcome.data["sqlstate"]) == (True, "57014")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("clean", [True, False])
def test_stop_by_a_person_cancels_on_the_server(primary: Postgres, clean: bool) -> None:
    primary.open()
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    sql = "create table slept as select pg_sleep(30)::text" if clean else "select pg_sleep(30)"
    begun = time.monotonic()
    outcome = primary.perform(Execute(sql=sql), a_call(stop=stop))
    assert isinstance(outcome, Failed)
    assert outcome.clean is clean
    assert outcome.reason.startswith("postgres: stopped by a person: canceling statement")
    assert time.monotonic() - begun < 5
    busy = Query(
        sql="select count(*) as n from pg_stat_activity where state = 'active' and right(query, 12) = %s",
        params=(sql[-12:],),
    )
    assert rows(primary.perform(busy, a_call())) == [{"n": 0}]


def test_server_that_hangs_is_hung_up_on(pair: PostgresPair) -> None:
    with connected(pair.primary) as postgres:
        (mine,) = rows(postgres.perform(Query(sql="select pg_backend_pid() as pid"), a_call()))
        os.kill(mine["pid"], signal.SIGSTOP)
        try:
            begun = time.monotonic()
            outcome = postgres.perform(Execute(sql="select 1"), a_call(0.5))
        finally:
            os.kill(mine["pid"], signal.SIGCONT)
    assert isinstance(outcome, Failed), outcome
    assert (outcome.clean, "no commit was sent" in outcome.reason) == (True, True)
    assert time.monotonic() - begun < 3


def test_nobody_there_is_unreachable(pair: PostgresPair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with connected(pair.primary, postgres_host="127.0.0.1", postgres_port=port) as postgres:
        outcome = postgres.perform(Query(sql="select 1"), a_call())
    assert isinstance(outcome, Failed)
    assert (outcome.clean, outcome.unreachable) == (True, True)


@pytest.mark.parametrize(
    ("vars", "says"),
    [
        ({"postgres_password_file": "", "postgres_password_env": "WRONG"}, "password authentication failed"),
        ({"postgres_user": "nobody_here"}, "password authentication failed"),
        ({"postgres_database": "nowhere"}, 'database "nowhere" does not exist'),
        ({"postgres_password_file": "/nonexistent"}, "/nonexistent"),
        ({"postgres_sslmode": "require"}, "SSL"),
    ],
)
def test_login_that_is_refused_has_done_nothing(
    pair: PostgresPair, vars: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG", "hunter2-hunter2")
    with connected(pair.primary, **vars) as postgres:
        outcome = postgres.perform(Query(sql="select 1"), a_call())
        assert isinstance(outcome, Failed)
        assert (outcome.clean, outcome.unreachable) == (True, False)
        assert says in outcome.reason
        assert "hunter2" not in repr((outcome, postgres.settings))


def test_replication_shows_both_sides(pair: PostgresPair, primary: Postgres, standby: Postgres) -> None:
    one = primary.perform(Replication(), a_call()).data
    two = standby.perform(Replication(), a_call()).data
    assert one.keys() == two.keys()
    assert (one["role"], one["timeline"], one["source"], one["lag_bytes"]) == ("primary", 1, None, None)
    (replica,) = one["replicas"]
    assert (replica["name"], replica["state"]) == (pair.standby.name, "streaming")
    assert isinstance(replica["lag_bytes"], int)
    assert (two["role"], two["timeline"], two["replay_paused"]) == ("standby", 1, False)
    assert (two["source"]["host"], two["source"]["status"]) == (pair.primary.host, "streaming")
    assert isinstance(two["lag_bytes"], int)
    assert one["system_identifier"] == two["system_identifier"]


def test_primary_needs_no_promotion(primary: Postgres) -> None:
    assert primary.check(Promote(), a_call()).changes is False
    assert primary.probe(Promote(), a_call()).finding is Finding.APPLIED
    outcome = primary.perform(Promote(), a_call())
    assert isinstance(outcome, Ok)
    assert not outcome.changed


def test_promotion_without_the_right_is_refused(pair: PostgresPair) -> None:
    login = {
        "postgres_user": pair.standby.client_user,
        "postgres_password_file": str(pair.standby.client_password_file),
    }
    with connected(pair.standby, **login) as postgres:
        outcome = postgres.perform(Promote(), a_call())
        assert isinstance(outcome, Failed)
        assert outcome.clean
        assert "permission denied for function pg_promote" in outcome.reason
        # Without the right to look, a promotion that is on its way would not be seen.
        assert postgres.probe(Promote(), a_call()).finding is Finding.UNKNOWN


@pytest.mark.parametrize("paused", [False, True])
def test_standby_that_nobody_promotes_is_proven_to_be_one(standby: Postgres, paused: bool) -> None:
    function = "pg_wal_replay_pause" if paused else "pg_wal_replay_resume"
    standby.perform(Execute(sql=f"select {function}()"), a_call())
    probed = standby.probe(Promote(), a_call())
    state = standby.perform(Replication(), a_call())
    standby.perform(Execute(sql="select pg_wal_replay_resume()"), a_call())
    assert probed.finding is Finding.NOT_APPLIED, probed
    assert state.data["replay_paused"] is paused
    assert "would promote a standby on timeline 1" in standby.check(Promote(), a_call()).detail


def test_promotion_on_its_way_is_in_doubt_for_the_probe(pair: PostgresPair, standby: Postgres) -> None:
    # The request lies there; nobody has told the server to look. As between the two halves of pg_promote.
    request = pair.standby.data_dir / "promote"
    request.touch()
    try:
        probed = standby.probe(Promote(), a_call())
    finally:
        request.unlink()
    assert probed.finding is Finding.UNKNOWN
    assert probed.reason == "a promotion has been asked for and not begun"


class Straddling(Session):
    """Looks at a promotion out of one transaction that was begun in recovery and goes on after its end."""

    def one(self, sql: str, call: Call) -> tuple[object, ...]:
        if "pg_promote" not in sql:
            found = super().one(sql, call)
            self.connection.rollback()
            return found
        self.connection.execute("begin")
        assert super().one("select pg_is_in_recovery(), current_setting('transaction_read_only')", call) == (
            True,
            "on",
        )
        other = Session(self.settings)
        other.open()
        try:
            answer = other.one(sql, call)
            await_true(lambda: other.one("select pg_is_in_recovery()", call) == (False,))
        finally:
            other.close()
        assert super().one("select pg_is_in_recovery(), current_setting('transaction_read_only')", call) == (
            False,
            "on",
        )
        return answer


def test_promotion_seen_out_of_a_transaction_of_before_is_no_failure(fresh: PostgresPair) -> None:
    session = Straddling(PostgresSettings.of(target_of(fresh.standby)))
    session.open()
    try:
        outcome = replication.promote(session, Promote(), a_call())
    finally:
        session.close()
    assert isinstance(outcome, Ok), outcome
    assert (outcome.changed, outcome.data["role"]) == (True, "primary")


def test_promotion_of_a_server_whose_settings_refuse_writes_is_a_failure(fresh: PostgresPair) -> None:
    two = fresh.standby
    append(two, "postgresql.conf", "default_transaction_read_only = on\n")
    assert two.sql("select pg_reload_conf()") == "t"
    await_true(lambda: two.sql("show default_transaction_read_only") == "on")
    with connected(two) as standby:
        outcome = standby.perform(Promote(), a_call())
        assert isinstance(outcome, Failed), outcome
        assert not outcome.clean
        assert "is promoted, but sessions are read-only by its settings" in outcome.reason
        written = standby.perform(Execute(sql="create table refused(i int)"), a_call())
        assert isinstance(written, Failed)
        assert "25006" in written.reason


def listing(data: Path) -> set[tuple[str, int, int]]:
    """Name every file of a data folder, with its size and the time of its last change."""
    return {
        (str(path), (stat := path.lstat()).st_size, stat.st_mtime_ns)
        for path in data.rglob("*")
        if path.is_file()
    }


def test_check_gives_no_transaction_a_number_and_promotes_nobody(
    pair: PostgresPair, primary: Postgres, standby: Postgres
) -> None:
    primary.perform(Execute(sql="create table if not exists looked_at(i int)"), a_call())
    actions = [
        Query(sql="select 1"),
        Execute(sql="insert into looked_at values (1)"),
        Execute(sql="insert into looked_at values (1)", applied_table="t", create_applied_table=True),
        Execute(sql="truncate looked_at"),
        Replication(),
        Promote(),
        Rewind(data_dir="/nonexistent"),
    ]
    # A transaction that writes anything at all gets a number. Autovacuum takes one now and then, too.
    counter = "select pg_snapshot_xmax(pg_current_snapshot())"
    for _ in range(3):
        before = pair.primary.sql(counter)
        found = [server.check(action, a_call()) for server in (primary, standby) for action in actions]
        if pair.primary.sql(counter) == before:
            break
    else:
        raise AssertionError("a check writes")
    assert {type(one.changes) for one in found} == {bool, type(None)}
    assert all(one.detail for one in found)
    assert pair.standby.in_recovery()


def test_failover_and_the_way_back(fresh: PostgresPair) -> None:
    one, two = fresh.primary, fresh.standby
    one.sql("create table kept(i int); insert into kept values (1)")
    with connected(two) as standby:
        await_true(
            lambda: rows(standby.perform(Query(sql="select to_regclass('kept') as t"), a_call()))[0]["t"]
        )
        fresh.kill_primary()
        # 1. The standby answers without its primary.
        orphan = standby.perform(Replication(), a_call()).data
        assert (orphan["role"], orphan["timeline"], orphan["system_identifier"] is not None) == (
            "standby",
            1,
            True,
        )
        # 2. It is promoted and takes writes at once.
        promoted = standby.perform(Promote(), a_call())
        assert isinstance(promoted, Ok), promoted
        assert (promoted.changed, promoted.data["role"], promoted.data["timeline"]) == (True, "primary", 2)
        assert standby.perform(Execute(sql="insert into kept values (2)"), a_call()).changed
        assert standby.probe(Promote(), a_call()).finding is Finding.APPLIED
        # 3. The old primary comes back by mistake and takes a write that will be lost.
        one.control("pg-start")
        one.sql("insert into kept values (666)")
        rewind = Rewind(data_dir=str(one.data_dir), bin_dir=str(one.binaries.folder))
        refused = standby.perform(rewind, a_call())
        assert isinstance(refused, Failed)
        assert refused.clean
        assert "a server runs in" in refused.reason
        server = process.postmaster(one.data_dir)
        assert server is not None
        process.crash(server)
        # 4. It is turned back and follows. Its crash is recovered from first.
        files = listing(one.data_dir)
        assert standby.check(rewind, a_call()).changes is None
        assert listing(one.data_dir) == files
        assert standby.probe(rewind, a_call()).finding is Finding.UNKNOWN
        call = a_call(60)
        done = standby.perform(rewind, call)
        assert isinstance(done, Ok), (done, call.output.stderr.text())
        assert (done.changed, done.data["rewound"]) == (True, True)
        assert (one.data_dir / "standby.signal").stat().st_uid == one.account.uid
        one.control("pg-start")
        await_true(
            lambda: (
                one.in_recovery() and one.sql("select string_agg(i::text, ' ' order by i) from kept") == "1 2"
            )
        )
        # 5. Its own target is a primary; a standby is none to follow.
        one.control("pg-stop")
        assert standby.probe(rewind, a_call()).finding is Finding.APPLIED
        again = standby.perform(rewind, a_call())
        assert isinstance(again, Ok), again
        assert (again.changed, again.data["rewound"]) == (False, False)
        assert "no rewind required" in str(again.data["said"])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"data_dir": "/nonexistent"}, "cannot look into /nonexistent"),
        ({"data_dir": "/tmp"}, "is no data folder"),
        ({"data_dir": "/tmp", "bin_dir": "/nonexistent"}, "no pg_rewind in /nonexistent"),
    ],
)
def test_rewind_of_what_is_no_data_folder_is_refused(
    pair: PostgresPair, primary: Postgres, fields: dict[str, Any], says: str
) -> None:
    outcome = primary.perform(Rewind(**{"bin_dir": str(pair.primary.binaries.folder), **fields}), a_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert says in outcome.reason


def test_effects() -> None:
    assert {a.verb: a.effect for a in Postgres.actions} == {
        "query": Effect.READ,
        "execute": Effect.ONCE,
        "promote": Effect.PROBE,
        "replication": Effect.READ,
        "rewind": Effect.PROBE,
    }


@pytest.mark.parametrize(
    ("sql", "params", "says"),
    [
        ("update planned set i = %s where i < 3", (9,), "would write planned; the planner expects about "),
        ("insert into planned select generate_series(1, 3)", None, "would write planned; the planner expects about 3 "),
        ("delete from planned; select 1", None, "it would fail now: cannot insert multiple commands"),
        ("delete from nowhere", None, 'it would fail now: relation "nowhere" does not exist'),
        ("select nextval('planned_seq')", None, "would run; what the functions in it change is not known"),
        ("alter table planned add j int", None, "would run; the server does not tell beforehand"),
    ],
)  # fmt: skip
def test_check_has_a_statement_planned_and_changes_nothing(
    primary: Postgres, sql: str, params: Any, says: str
) -> None:
    for make in ("create table if not exists planned(i int)", "create sequence if not exists planned_seq"):
        primary.perform(Execute(sql=make), a_call())
    state = Query(
        sql="select (select count(*) from planned) as n, (select last_value from planned_seq) as s,"
        " (select is_called from planned_seq) as c"
    )
    before = rows(primary.perform(state, a_call()))
    found = primary.check(Execute(sql=sql, params=params), a_call())
    after = rows(primary.perform(state, a_call()))
    assert found.changes is None
    assert found.detail.startswith(says)
    assert found.fails == says.startswith("it would fail now")
    assert after == before
