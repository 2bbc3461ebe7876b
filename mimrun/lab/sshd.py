"""Hosts reached over ssh: one sshd per host, each on a loopback address of its own.

They are real sshd with real keys; what is not real is that all of them are this machine. As root they
log in as an ordinary user (or as root where asked); an ordinary user's sshd lets in that user alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mimrun.errors import LabError
from mimrun.lab import account, keeper, leftover, loopback, patience, process
from mimrun.lab.part import Part

READY: Final = 10.0
"""Seconds a sshd gets to say its greeting. It needs a tenth of one on an idle machine."""

SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"
SEPARATION: Final = Path("/run/sshd")
"""sshd's own empty folder, the one thing written outside the lab's folder, and only by root."""


@dataclass(frozen=True, slots=True)
class SshHost:
    """A host that answers ssh.

    Arguments:
        name: its name in the inventory, also `$LAB_HOST` in its sessions.
        address: its loopback address.
        port: its TCP port.
        user: who logs in.
        key_path: the client's private key.
        known_hosts_path: the file with the keys of all hosts of this lab.
    """

    name: str
    address: str
    port: int
    user: str
    key_path: Path
    known_hosts_path: Path

    def command(self, *argv: str) -> list[str]:
        """Give the `ssh` command line that runs a command there, with strict host keys."""
        return [
            *("ssh", "-F", "none", "-p", str(self.port), "-i", str(self.key_path), "-l", self.user),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"),
            *("-o", f"UserKnownHostsFile={self.known_hosts_path}", "-o", "GlobalKnownHostsFile=/dev/null"),
            *("-o", "ConnectTimeout=5", "--", self.address, *argv),
        ]


class SshdHosts(Part):
    """A set of ssh hosts on this machine.

    Arguments:
        folder: where keys, settings and logs are kept; every folder above it must be open to the user.
        names: the hosts.
        user: who logs in; None is the account that runs the lab's parts, or root where that account
            has no shell.
        net: the loopback net of their addresses, the first host at `.1`.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], user: str | None = None, *, net: str = loopback.NET
    ) -> None:
        self.folder = folder
        self.names = tuple(names)
        self.net = net
        self.hosts: list[SshHost] = []
        self._user = user
        self._by_pam = False
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> list[SshHost]:
        """Start every host and wait until all of them answer.

        Returns:
            The hosts, in the order of their names.

        Raises:
            LabError: sshd is missing or does not start; what was started is stopped again.
        """
        login = self._login()
        self._by_pam = os.geteuid() == 0 and login.is_locked()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder = self.folder.resolve()
        account.require_way(self.folder.parent, login)
        self.folder.chmod(0o711)
        keeper.guard(self.folder)
        addresses = loopback.addresses(self.net, len(self.names))
        ports = loopback.free_ports(addresses)
        key, known = self.folder / "id", self.folder / "known_hosts"
        self.hosts = [
            SshHost(name, address, port, login.name, key, known)
            for name, address, port in zip(self.names, addresses, ports, strict=True)
        ]
        try:
            self._make_keys()
            for host in self.hosts:
                self._launch(host)
            for host in self.hosts:
                self._wait(host)
        except BaseException:
            self.stop()
            raise
        return list(self.hosts)

    def stop(self) -> None:
        """End every host with all its sessions and the commands they left running."""
        leftover.stop_all(self.folder)
        for child in self._children.values():
            child.wait(timeout=5)
        self._children.clear()
        for name in self.names:
            process.forget(self.folder, name)
        keeper.release(self.folder)

    def stop_host(self, name: str) -> None:
        """End one host's sshd: no new logins. Sessions that are open go on, as with the real thing."""
        child = self._child(name)
        child.terminate()
        child.wait(timeout=5)
        process.forget(self.folder, name)
        del self._children[name]

    def kill(self, name: str) -> None:
        """Cut the power of one host: sshd, its sessions and their commands are gone at once."""
        child = self._child(name)
        server = process.look(child.pid)
        if server is not None:
            process.crash(server)
        child.wait(timeout=5)
        process.forget(self.folder, name)
        del self._children[name]

    def start_host(self, name: str) -> None:
        """Start a host again that was stopped or killed, at the address it had."""
        host = self.host(name)
        if name in self._children:
            raise LabError(f"ssh host {name} is running already; stop it first")
        self._launch(host)
        self._wait(host)

    def host(self, name: str) -> SshHost:
        """Give the host of that name.

        Raises:
            LabError: there is none, or the hosts have not been started.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"ssh host {name!r} is not in this lab; there are: {', '.join(self.names)}")

    def _child(self, name: str) -> subprocess.Popen[bytes]:
        if name not in self._children:
            raise LabError(f"ssh host {name!r} is not running; start it with start_host()")
        return self._children[name]

    def _login(self) -> account.Account:
        if self._user is not None:
            wanted = account.find(self._user)
        else:
            wanted = account.ordinary()
            if not wanted.may_log_in() and os.geteuid() == 0:
                wanted = account.find("root")
        if os.geteuid() not in {0, wanted.uid}:
            raise LabError(
                f"a sshd of an ordinary user lets in that user only, not {wanted.name}; start it as root"
            )
        return wanted

    def _make_keys(self) -> None:
        if os.geteuid() == 0:
            SEPARATION.mkdir(mode=0o755, exist_ok=True)
        makers = [make_key(self.folder / "id", "mimrun lab client")]
        for host in self.hosts:
            place = self.folder / host.name
            place.mkdir(exist_ok=True)
            place.chmod(0o711)
            makers.append(make_key(place / "host_key", host.name))
        for maker in makers:
            if maker.wait(timeout=20) != 0:
                raise LabError(f"{self.folder}: ssh-keygen ended with {maker.returncode}; is the disk full?")
        lines = [
            f"[{host.address}]:{host.port} {public_key(self.folder / host.name / 'host_key')}"
            for host in self.hosts
        ]
        (self.folder / "known_hosts").write_text("\n".join(lines) + "\n")
        for host in self.hosts:
            keys = self.folder / host.name / "authorized_keys"
            shutil.copyfile(self.folder / "id.pub", keys)
            keys.chmod(0o644)
            (self.folder / host.name / "sshd_config").write_text(self._settings(host))

    def _settings(self, host: SshHost) -> str:
        place = self.folder / host.name
        lines = [
            f"ListenAddress {host.address}:{host.port}",
            f"HostKey {place}/host_key",
            "PidFile none",
            f"AuthorizedKeysFile {place}/authorized_keys",
            f"AllowUsers {host.user}",
            f"PermitRootLogin {'prohibit-password' if host.user == 'root' else 'no'}",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            # The folder may lie under one that others can write to (/tmp); the keys in it are throw-away.
            "StrictModes no",
            f"UsePAM {'yes' if self._by_pam else 'no'}",
            "UseDNS no",
            "PrintMotd no",
            "LogLevel VERBOSE",
            "MaxStartups 200",
            "MaxSessions 200",
            "Subsystem sftp internal-sftp",
            f"SetEnv LAB_HOST={host.name} {process.MARK}={self.folder}",
        ]
        if _version() >= (9, 8):
            # Else one refused login in a test would keep the next test out.
            lines.append("PerSourcePenalties no")
        return "\n".join(lines) + "\n"

    def _launch(self, host: SshHost) -> None:
        place = self.folder / host.name
        child = subprocess.Popen(
            [_binary("sshd"), "-D", "-f", str(place / "sshd_config"), "-E", str(place / "log")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=process.environment(self.folder),
            start_new_session=True,
        )
        self._children[host.name] = child
        process.write_down(self.folder, host.name, child.pid)

    def _wait(self, host: SshHost) -> None:
        child = self._children[host.name]
        patience.wait_until(
            lambda: (
                child.poll() is not None or loopback.greeting(host.address, host.port).startswith(b"SSH-2.0")
            ),
            seconds=READY,
            what=f"sshd of {host.name} did not answer at {host.address}:{host.port}",
            why=lambda: _tail(self.folder / host.name / "log"),
        )
        if child.poll() is not None:
            raise LabError(
                f"sshd of {host.name} ended with {child.returncode} at once: {_tail(self.folder / host.name / 'log')}"
            )


def _binary(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "/usr/bin:/bin") + ":" + SBIN)
    if found is None:
        raise LabError(
            f"{name} is not installed here; install it with: apt-get install openssh-server openssh-client"
        )
    return str(Path(found).resolve())


def make_key(path: Path, comment: str) -> subprocess.Popen[bytes]:
    """Start making an ed25519 key pair, in place of one that is there; the caller waits for the end."""
    for old in (path, path.with_name(path.name + ".pub")):
        old.unlink(missing_ok=True)
    return subprocess.Popen(
        [_binary("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def public_key(path: Path) -> str:
    """Give a key's public half as it stands in known_hosts: type and key."""
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


def _version() -> tuple[int, int]:
    said = subprocess.run(
        [_binary("ssh"), "-V"], capture_output=True, text=True, check=False, timeout=10
    ).stderr
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _tail(path: Path, *, lines: int = 5) -> str:
    with suppress(OSError):
        return " | ".join(path.read_text(errors="replace").splitlines()[-lines:])
    return ""
