"""Stopping what a real server does: cancelled, ended, or said not to be proven ended."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.database import a_call, a_pair, await_true, connected, rows

from connectors.postgres import Postgres, replication, rewind
from connectors.postgres.actions import Execute, Promote, Query, Rewind
from mimrun.connector import Call, Failed, Ok, Outcome, Unknown
from mimrun.lab.postgres import PostgresPair

pytestmark = pytest.mark.needs("postgres")

STUBBORN = """
create function stubborn() returns int language plpgsql as $$
begin
  loop
    begin perform pg_sleep(60); exception when query_canceled then null; end;
  end loop;
end $$
"""


@pytest.fixture(scope="module")
def pair() -> Iterator[PostgresPair]:
    with a_pair("127.0.44") as pair:
        pair.primary.sql(STUBBORN)
        pair.primary.sql("create table kept(i int)")
        yield pair


@pytest.fixture
def primary(pair: PostgresPair) -> Iterator[Postgres]:
    with connected(pair.primary) as postgres:
        postgres.open()
        yield postgres


def stopped(
    pair: PostgresPair, postgres: Postgres, action: Execute | Query, word: str
) -> tuple[Outcome, float]:
    """Perform an action, have it stopped once the server is at work with it, and count the seconds since."""
    stop, at = threading.Event(), [0.0]

    def press() -> None:
        await_true(lambda: active(pair, word) == "1")
        at[0] = time.monotonic()
        stop.set()

    presser = threading.Thread(target=press)
    presser.start()
    outcome = postgres.perform(action, a_call(stop=stop))
    presser.join()
    return outcome, time.monotonic() - at[0]


def active(pair: PostgresPair, word: str) -> str:
    return pair.primary.sql(
        f"select count(*) from pg_stat_activity where state = 'active' and query like '%{word}%'"
        " and pid <> pg_backend_pid()"
    )


def test_statement_is_cancelled_and_the_server_says_so(pair: PostgresPair, primary: Postgres) -> None:
    sql = "insert into kept select 1 from pg_sleep(61)"
    outcome, seconds = stopped(pair, primary, Execute(sql=sql), "pg_sleep(61)")
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert outcome.reason.startswith("postgres: stopped by a person: canceling statement")
    assert outcome.reason.endswith("rolled back")
    assert (active(pair, "pg_sleep(61)"), seconds < 1) == ("0", True)


@pytest.mark.parametrize(
    ("action", "clean"),
    [
        (Execute(sql="insert into kept select stubborn()"), True),
        (Execute(sql="select stubborn()"), None),
        (Execute(sql="select stubborn()", transaction=False), None),
        (Query(sql="select stubborn()"), None),
    ],
)
def test_statement_that_ignores_a_cancellation_has_its_process_ended_with_proof(
    pair: PostgresPair, primary: Postgres, action: Execute | Query, clean: bool | None
) -> None:
    pid = rows(primary.perform(Query(sql="select pg_backend_pid() as pid"), a_call()))[0]["pid"]
    outcome, seconds = stopped(pair, primary, action, "stubborn()")
    assert isinstance(outcome, Unknown if clean is None else Failed), outcome
    assert f"did not react to a cancellation; its server process {pid} is proven ended" in outcome.reason
    assert pair.primary.sql(f"select count(*) from pg_stat_activity where pid = {pid}") == "0"
    assert seconds < 2
    assert pair.primary.sql("select count(*) from kept") == "0"
    # The connector goes on with a new connection.
    assert isinstance(primary.perform(Query(sql="select 1"), a_call()), Ok)


def test_process_that_cannot_be_ended_is_said_not_to_be(pair: PostgresPair, primary: Postgres) -> None:
    stop = threading.Event()
    pid = rows(primary.perform(Query(sql="select pg_backend_pid() as pid"), a_call()))[0]["pid"]

    def freeze() -> None:
        await_true(lambda: active(pair, "pg_sleep(62)") == "1")
        os.kill(pid, signal.SIGSTOP)
        stop.set()

    freezer = threading.Thread(target=freeze)
    freezer.start()
    try:
        outcome = primary.perform(Execute(sql="select pg_sleep(62)"), a_call(stop=stop))
    finally:
        freezer.join()
        os.kill(pid, signal.SIGCONT)
    assert isinstance(outcome, Unknown)
    assert "whether the server goes on with it is not proven" in outcome.reason


def test_stop_ends_connecting_to_a_host_that_is_silent(pair: PostgresPair) -> None:
    # A full accept queue is the one silence that loopback has: the kernel drops further SYNs.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        queued = [socket.socket() for _ in range(3)]
        for client in queued:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        port, stop = server.getsockname()[1], threading.Event()
        threading.Timer(0.2, stop.set).start()
        for call, why in (
            (a_call(stop=stop), "stopped by a person"),
            (a_call(0.3), "the step's deadline came"),
        ):
            begun = time.monotonic()
            with connected(pair.primary, postgres_host="127.0.0.1", postgres_port=port) as postgres:
                outcome = postgres.perform(Execute(sql="select 1"), call)
            assert isinstance(outcome, Failed)
            assert (outcome.clean, outcome.unreachable) == (True, True)
            assert f"{why} before a connection was made" in outcome.reason
            assert time.monotonic() - begun < 1
        for client in queued:
            client.close()


def test_other_sessions_of_the_same_role_are_left_alone(pair: PostgresPair, primary: Postgres) -> None:
    with connected(pair.primary) as other:
        before = rows(other.perform(Query(sql="select pg_backend_pid() as pid"), a_call()))
        stopped(pair, primary, Execute(sql="select stubborn()"), "stubborn()")
        assert rows(other.perform(Query(sql="select pg_backend_pid() as pid"), a_call())) == before


def test_transaction_that_mimrun_left_behind_is_ended_by_the_server(
    pair: PostgresPair, primary: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.postgres.session.IDLE", 300)
    session = primary._session
    session.connection.execute(f"begin; {session.bounds(a_call())}; insert into kept values (7)")
    pid = session.connection.info.backend_pid
    await_true(lambda: pair.primary.sql(f"select count(*) from pg_stat_activity where pid = {pid}") == "0")


def test_promotion_that_is_stopped_before_it_was_asked_for_has_done_nothing(
    pair: PostgresPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    look = replication._before

    def look_and_stop(*given: object) -> object:
        found = look(*given)  # type: ignore[arg-type]  # handed on as it came
        stop.set()
        return found

    monkeypatch.setattr(replication, "_before", look_and_stop)
    with connected(pair.standby) as standby:
        outcome = standby.perform(Promote(), a_call(stop=stop))
        assert isinstance(outcome, Failed)
        assert outcome.clean
    assert pair.standby.in_recovery()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("sleep 60", "was stopped by a person; it is proven ended"),
        ("sleep 60 & echo begun; sleep 60", "was stopped by a person; it is proven ended"),
    ],
)
def test_program_that_rewinds_is_ended_with_proof(
    pair: PostgresPair, primary: Postgres, script: str, says: str
) -> None:
    stop = threading.Event()
    call = Call("run/1/x/0", time.monotonic() + 20, stop=stop)
    action = Rewind(data_dir=str(pair.primary.data_dir))
    threading.Timer(0.3, stop.set).start()
    begun = time.monotonic()
    code, said = rewind._run(primary._session, action, ["/bin/sh", "-c", script], call)
    assert (code, said) == (None, says)
    assert time.monotonic() - begun < 2


def killed_at_work(pair: PostgresPair, action: Execute | Query, word: str, key: str) -> None:
    """Kill the process that asked for a statement, while the server is at work with it."""
    worker = os.fork()
    if worker == 0:
        try:
            with connected(pair.primary) as postgres:
                postgres.perform(action, a_call(key=key))
        finally:
            os._exit(0)
    await_true(lambda: active(pair, word) == "1")
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)


@pytest.mark.parametrize(
    ("sql", "word", "transaction"),
    [
        ("insert into kept select 1 from pg_sleep(63)", "pg_sleep(63)", True),
        ("select pg_sleep(64)", "pg_sleep(64)", False),
        ("insert into kept select stubborn()", "select stubborn()", True),
    ],
)
def test_what_the_server_does_for_a_dead_client_is_ended_with_proof(
    pair: PostgresPair, primary: Postgres, sql: str, word: str, transaction: bool
) -> None:
    action = Execute(sql=sql, transaction=transaction)
    killed_at_work(pair, action, word, "k-dead")
    assert active(pair, word) == "1", "the server does not notice by itself"
    said = primary.end(action, a_call(key="k-other"))
    assert "no process of the server" in said
    assert active(pair, word) == "1"
    said = primary.end(action, a_call(key="k-dead"))
    assert said.startswith("server process "), said
    assert said.endswith("is proven ended, and what it had not committed is rolled back")
    assert (active(pair, word), pair.primary.sql("select count(*) from kept")) == ("0", "0")


def test_who_may_not_end_a_process_says_so(pair: PostgresPair, tmp_path: Path) -> None:
    pair.primary.sql("create role poor login password 'x'")
    password = tmp_path / "password"
    password.write_text("x")
    password.chmod(0o600)
    action = Execute(sql="select pg_sleep(65)")
    killed_at_work(pair, action, "pg_sleep(65)", "k-poor")
    with connected(pair.primary, postgres_user="poor", postgres_password_file=str(password)) as poor:
        said = poor.end(action, a_call(key="k-poor"))
    assert "could not be ended: " in said, said
    with connected(pair.primary) as owner:
        assert "is proven ended" in owner.end(action, a_call(key="k-poor"))
