"""Real sshd on loopback: logins, host keys, stop and power loss."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mimrun.errors import LabError
from mimrun.lab import leftover, loopback, patience, process
from mimrun.lab.sshd import SshdHosts, SshHost

pytestmark = pytest.mark.needs("sshd")


def ssh(host: SshHost, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(host.command(*argv), capture_output=True, text=True, timeout=20, check=False)


@pytest.fixture(scope="module")
def hosts(lab_folder: Path) -> Iterator[SshdHosts]:
    with SshdHosts(lab_folder / "sshd", ["one", "two"], net="127.0.11") as started:
        yield started


def test_three_hosts_start_within_two_seconds(lab_folder: Path) -> None:
    begin = time.monotonic()
    with SshdHosts(lab_folder / "three", ["a", "b", "c"], net="127.0.12") as three:
        took = time.monotonic() - begin
        assert [loopback.accepts(h.address, h.port) for h in three.hosts] == [True] * 3
    assert took < 2.0
    assert [loopback.accepts(h.address, h.port) for h in three.hosts] == [False] * 3


def test_each_host_answers_as_itself(hosts: SshdHosts) -> None:
    answers = [ssh(host, "echo $LAB_HOST $(id -un)") for host in hosts.hosts]
    assert [a.stdout.split() for a in answers] == [[h.name, h.user] for h in hosts.hosts]


def test_only_the_one_user_is_let_in(hosts: SshdHosts) -> None:
    host = hosts.hosts[0]
    other = "root" if host.user != "root" else "daemon"
    argv = [word if word != host.user else other for word in host.command("true")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 255
    assert "Permission denied" in done.stderr


@pytest.mark.needs("root")
def test_root_is_let_in_where_asked_for(lab_folder: Path) -> None:
    with SshdHosts(lab_folder / "asroot", ["r"], user="root", net="127.0.13") as started:
        assert ssh(started.hosts[0], "id", "-u").stdout == "0\n"


def test_another_host_key_is_refused(hosts: SshdHosts, tmp_path: Path) -> None:
    one, two = hosts.hosts
    keys = two.known_hosts_path.read_text().splitlines()
    swapped = tmp_path / "known_hosts"
    swapped.write_text(keys[0].split()[0] + " " + " ".join(keys[1].split()[1:]) + "\n")
    argv = [word.replace(str(one.known_hosts_path), str(swapped)) for word in one.command("true")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in done.stderr


def test_power_loss_takes_the_sessions_and_the_host_comes_back_the_same(hosts: SshdHosts) -> None:
    host = hosts.host("two")
    with subprocess.Popen(
        host.command("echo in; exec sleep 600"), stdout=subprocess.PIPE, text=True
    ) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == "in\n"
        hosts.kill("two")
        assert session.wait(timeout=10) == 255
    assert not loopback.accepts(host.address, host.port)
    hosts.start_host("two")
    assert ssh(host, "true").returncode == 0


def test_a_stopped_host_can_be_started_again(hosts: SshdHosts) -> None:
    hosts.stop_host("one")
    assert ssh(hosts.host("one"), "true").returncode == 255
    with pytest.raises(LabError, match="is not running"):
        hosts.stop_host("one")
    hosts.start_host("one")
    assert ssh(hosts.host("one"), "true").returncode == 0


def test_stop_ends_the_commands_that_were_left_behind(lab_folder: Path) -> None:
    with SshdHosts(lab_folder / "behind", ["b"], net="127.0.14") as started:
        done = ssh(started.hosts[0], "nohup sleep 601 >/dev/null 2>&1 & echo $!")
        left = process.look(int(done.stdout))
        assert left is not None
        assert left.is_running()
    assert not left.is_running()


def test_an_address_off_loopback_is_refused(lab_folder: Path) -> None:
    with pytest.raises(LabError, match="not on loopback"):
        SshdHosts(lab_folder / "off", ["x"], net="10.0.0").start()


STARTER = """
import os, signal, sys
from pathlib import Path
from mimrun.lab.sshd import SshdHosts
host = SshdHosts(Path(sys.argv[1]), ["x"], net="127.0.15").start()[0]
print(host.address, host.port, flush=True)
signal.pause()
"""


def test_nothing_is_left_when_the_starter_is_killed(lab_folder: Path) -> None:
    folder = lab_folder / "orphan"
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        address, port = starter.stdout.readline().split()
        assert loopback.accepts(address, int(port))
        starter.send_signal(signal.SIGKILL)
    assert patience.came_true(lambda: not loopback.accepts(address, int(port)), seconds=10)
    assert patience.came_true(lambda: leftover.find_all(folder) == [], seconds=10)


def test_stop_all_finds_what_is_left_without_a_keeper(lab_folder: Path) -> None:
    folder = lab_folder / "unguarded"
    script = STARTER.replace(
        "signal.pause()", "from mimrun.lab import keeper; keeper._keeper.kill(); os._exit(9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 9
    address, port = done.stdout.split()
    assert loopback.accepts(address, int(port))
    assert leftover.stop_all(folder) >= 1
    assert not loopback.accepts(address, int(port))
    assert leftover.stop_all(folder) == 0
