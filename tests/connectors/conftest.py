"""Fixtures for the connectors' tests: real hosts on loopback, and calls with a deadline."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from connectors.ssh import Ssh, SshSettings
from mimrun.connector import Call, Json, Output, Target
from mimrun.lab import leftover
from mimrun.lab.sshd import SshdHosts, SshHost


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Ask until the answer is yes or the time is over; give the last answer."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def make_call(
    seconds: float = 20.0,
    *,
    output: Output | None = None,
    stop: threading.Event | None = None,
    become: str | None = None,
    environment: dict[str, str] | None = None,
) -> Call:
    """A call that is over after so many seconds."""
    return Call(
        key="0f" * 16,
        deadline=time.monotonic() + seconds,
        output=output or Output(),
        stop=stop or threading.Event(),
        become=become,
        environment=environment or {},
    )


@dataclass
class SshLab:
    """A lab's hosts, and connectors to them that are closed at the end."""

    hosts: SshdHosts
    opened: list[Ssh] = field(default_factory=list)

    def target(self, name: str = "one", **variables: Json) -> Target:
        """The host as an inventory would give it, with other variables where they are named."""
        host: SshHost = self.hosts.host(name)
        base: dict[str, Json] = {
            "ansible_host": host.address,
            "ansible_port": host.port,
            "ansible_user": host.user,
            "ansible_ssh_private_key_file": str(host.key_path),
            "ssh_known_hosts": str(host.known_hosts_path),
        }
        return Target(name, base | variables)

    def ssh(self, name: str = "one", **variables: Json) -> Ssh:
        """A connector of its own to a host."""
        connector = Ssh(SshSettings.of(self.target(name, **variables)))
        self.opened.append(connector)
        return connector

    def close(self) -> None:
        """Let go of all hosts."""
        while self.opened:
            self.opened.pop().close()


@pytest.fixture(scope="session")
def ssh_hosts() -> Iterator[SshdHosts]:
    """Two hosts for the whole session, in a folder that every user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="mimrun-ssh-"))
    folder.chmod(0o711)
    try:
        with SshdHosts(folder / "sshd", ["one", "two"], net="127.0.21") as hosts:
            yield hosts
    finally:
        leftover.stop_all(folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def lab(ssh_hosts: SshdHosts) -> Iterator[SshLab]:
    """The hosts, with connectors that are closed after the test."""
    with contextlib.closing(SshLab(ssh_hosts)) as lab:
        yield lab


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the hosts' login user may write in."""
    folder = Path(tempfile.mkdtemp(prefix="mimrun-files-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
