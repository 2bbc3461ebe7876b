"""A link that dies silently: no reset, no answer, nothing. Only a network of our own can show it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from connectors.ssh import Command, Shell, Ssh, SshSettings, connection
from mimrun.connector import Failed, Ok, Outcome, Target, Unknown
from mimrun.lab import loopback, process
from mimrun.lab.sshd import SshdHosts

from .conftest import make_call, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.needs("sshd", "netns")]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def end_all(space: str) -> None:
    """End whatever runs in a network: its sshd with all sessions and their commands."""
    found = subprocess.run(["ip", "netns", "pids", space], check=True, capture_output=True, text=True)
    for pid in found.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def far_host(ssh_hosts: SshdHosts) -> Iterator[tuple[Ssh, str]]:
    """A host in a network of its own that can fall silent: its connector, and the network's name."""
    space, near, far = f"mimrun-t{os.getpid()}", f"mrn{os.getpid()}", f"mrf{os.getpid()}"
    host = ssh_hosts.host("one")
    with contextlib.ExitStack() as stack:
        ip("netns", "add", space)
        stack.callback(ip, "netns", "del", space)
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
        stack.callback(ip, "link", "del", near)
        ip("addr", "add", "10.231.77.1/30", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", space, "addr", "add", "10.231.77.2/30", "dev", far)
        ip("-n", space, "link", "set", far, "up")
        text = (ssh_hosts.folder / "one" / "sshd_config").read_text()
        config = ssh_hosts.folder.parent / "far_config"
        config.write_text(
            "".join(f"{line}\n" for line in text.splitlines() if "ListenAddress" not in line) + "Port 22\n"
        )
        argv = ["ip", "netns", "exec", space, "/usr/sbin/sshd", "-D", "-f", str(config)]
        server = subprocess.Popen(argv, env=process.environment(ssh_hosts.folder))
        stack.callback(server.wait)
        stack.callback(end_all, space)
        assert wait_until(lambda: loopback.accepts("10.231.77.2", 22))
        known = ssh_hosts.folder.parent / "far_known"
        key = (ssh_hosts.folder / "one" / "host_key.pub").read_text()
        known.write_text(f"10.231.77.2 {key}")
        variables = {
            "ansible_host": "10.231.77.2",
            "ansible_user": host.user,
            "ansible_ssh_private_key_file": str(host.key_path),
            "ssh_known_hosts": str(known),
        }
        ssh = Ssh(SshSettings.of(Target("far", variables)))
        stack.callback(ssh.close)
        yield ssh, space


def pull(space: str) -> None:
    """Lose every packet that comes from there, acknowledgements too, without a word to us."""
    ip("-n", space, "route", "replace", "blackhole", "10.231.77.1/32")


def test_a_link_that_dies_under_way_is_noticed_within_twenty_seconds(far_host: tuple[Ssh, str]) -> None:
    ssh, space = far_host
    call, outcomes = make_call(300), []
    thread = threading.Thread(
        target=lambda: outcomes.append(ssh.perform(Shell(cmd="echo up; sleep 60"), call))
    )
    thread.start()
    assert wait_until(lambda: "up" in call.output.stdout.text())
    pull(space)
    begin = time.monotonic()
    thread.join(60)
    took = time.monotonic() - begin
    outcome: Outcome = outcomes[0]
    assert isinstance(outcome, Unknown), outcome
    assert "connection was lost" in outcome.reason
    assert took < 20, took


def test_a_link_that_died_while_idle_is_noticed_before_anything_is_sent(
    far_host: tuple[Ssh, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FRESH", 0.0)
    monkeypatch.setattr(connection, "PROOF", 1.0)
    ssh, space = far_host
    for _ in range(3):
        assert isinstance(ssh.perform(Command(argv=("true",)), make_call()), Ok)
    pull(space)
    begin = time.monotonic()
    outcome = ssh.perform(Command(argv=("true",)), make_call(4))
    assert isinstance(outcome, Failed), outcome
    assert outcome.unreachable
    assert outcome.clean
    assert time.monotonic() - begin < 8
