"""Systemd hosts: real systemd, real sshd, real accounts and a service, each in a namespace without a way out.

Each host is a systemd-nspawn container on a folder in memory that borrows this machine's `/usr`. The hosts
share a bridge that has no uplink. A process of the lab (`mimrun.lab.world`) holds them and forwards their
ssh and web ports to loopback addresses of this machine. Root only.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mimrun.errors import LabError
from mimrun.lab import control_group, host_root, keeper, leftover, loopback, patience, process
from mimrun.lab.part import Part
from mimrun.lab.sshd import SshHost, make_key, public_key

NET: Final = "127.0.9"
READY: Final = 30.0
"""Seconds the hosts get to boot. Two need 1.5 on an idle machine."""


@dataclass(frozen=True, slots=True)
class SystemdHost(SshHost):
    """A host with systemd, reached over ssh as `oper`, who may do everything by sudo.

    Arguments:
        web_port: the port on its address where its web service is reached.
        unit: the name of that service's unit.
        logins: the private keys of the people who have accounts there.
    """

    web_port: int
    unit: str
    logins: Mapping[str, Path]

    @property
    def web_url(self) -> str:
        """Where its web service says how it is: 200, or 503 when it is ill."""
        return f"http://{self.address}:{self.web_port}/healthz"

    def login(self, account: str) -> SshHost:
        """Give the same host as another account of it reaches it."""
        if account not in self.logins:
            raise LabError(f"host {self.name} has no account {account!r}; it has {', '.join(self.logins)}")
        return SshHost(
            self.name, self.address, self.port, account, self.logins[account], self.known_hosts_path
        )


class SystemdHosts(Part):
    """A set of systemd hosts.

    Arguments:
        folder: where keys and logs are kept.
        names: the hosts.
        net: the loopback net on which this machine reaches them.
    """

    def __init__(self, folder: Path, names: Sequence[str], *, net: str = NET) -> None:
        self.folder = folder
        self.names = tuple(names)
        self.net = net
        self.hosts: list[SystemdHost] = []
        self._world: subprocess.Popen[bytes] | None = None

    def start(self) -> list[SystemdHost]:
        """Boot every host and wait until all answer ssh and serve their page.

        Returns:
            The hosts, in the order of their names.

        Raises:
            LabError: we are not root, a program is missing, or a host does not boot.
        """
        require()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder = self.folder.resolve()
        self.folder.chmod(0o711)
        if leftover.find_all(self.folder):
            raise LabError(f"{self.folder}: hosts of an earlier start still run there; stop them first")
        keeper.guard(self.folder)
        try:
            plans = self._make_plans()
            self._launch(plans)
            self._wait_for_world()
            self._meet(plans)
            for host in self.hosts:
                self._wait_for_host(host)
        except BaseException:
            self.stop()
            raise
        return list(self.hosts)

    def stop(self) -> None:
        """Power all hosts off and take away what held them."""
        leftover.stop_all(self.folder, grace=12)
        if self._world is not None:
            self._world.wait(timeout=10)
            self._world = None
        process.forget(self.folder, "world")
        keeper.release(self.folder)

    def host(self, name: str) -> SystemdHost:
        """Give the host of that name.

        Raises:
            LabError: there is none, or the hosts have not been started.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"systemd host {name!r} is not in this lab; there are: {', '.join(self.names)}")

    def cut(self, name: str) -> None:
        """Pull a host's network cable. What runs on it goes on; sessions hang."""
        self._tell(do="link", host=self.host(name).name, up=False)

    def mend(self, name: str) -> None:
        """Put a host's network cable back."""
        self._tell(do="link", host=self.host(name).name, up=True)

    def power_loss(self, name: str) -> None:
        """Take a host's power away. Its disk stays; `boot` starts it again."""
        self._tell(do="power-loss", host=self.host(name).name)

    def boot(self, name: str) -> None:
        """Switch a host on again and wait until it answers."""
        host = self.host(name)
        self._tell(do="boot", host=name)
        self._wait_for_host(host)

    def break_service(self, name: str, *, for_good: bool = False) -> None:
        """Make a host's web service ill: it runs and answers 503.

        Arguments:
            name: the host.
            for_good: false when a restart cures it; true when its settings are broken too, so that it
                will not start again until `mend_service`.
        """
        host = self.host(name)
        if for_good:
            self.run(name, "sudo", "tee", host_root.WEB_SETTINGS, text='{"port": oops\n')
        self.run(name, "sudo", "systemctl", "kill", "--signal=SIGUSR1", host.unit)

    def mend_service(self, name: str) -> None:
        """Put a host's web service in order and start it anew."""
        host = self.host(name)
        self.run(name, "sudo", "tee", host_root.WEB_SETTINGS, text=host_root.web_settings(name))
        self.run(name, "sudo", "systemctl", "reset-failed", host.unit)
        self.run(name, "sudo", "systemctl", "restart", host.unit)

    def run(self, name: str, *argv: str, text: str = "") -> str:
        """Run a command on a host as `oper` and give what it prints.

        Raises:
            LabError: it failed.
        """
        done = subprocess.run(
            self.host(name).command(*argv),
            input=text,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(f"{name}: {' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _make_plans(self) -> list[dict[str, Any]]:
        addresses = loopback.addresses(self.net, len(self.names))
        accounts = (host_root.OPERATOR, *host_root.ACCOUNTS)
        makers = [make_key(self.folder / f"{account}.key", account) for account in accounts]
        makers += [make_key(self.folder / f"{name}.host_key", name) for name in self.names]
        if any(maker.wait(timeout=20) != 0 for maker in makers):
            raise LabError(f"{self.folder}: ssh-keygen failed; is the disk full?")
        logins = {account: str(self.folder / f"{account}.key.pub") for account in accounts}
        return [
            {
                "name": name,
                "address": address,
                "host_key": str(self.folder / f"{name}.host_key"),
                "logins": logins,
            }
            for name, address in zip(self.names, addresses, strict=True)
        ]

    def _launch(self, plans: Sequence[Mapping[str, Any]]) -> None:
        package = str(Path(__file__).parents[2])
        with (self.folder / "world.log").open("wb") as log:
            self._world = subprocess.Popen(
                [sys.executable, "-m", "mimrun.lab.world", str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                env=process.environment(self.folder, {"PYTHONPATH": package}),
                start_new_session=True,
            )
        process.write_down(self.folder, "world", self._world.pid)
        assert self._world.stdin is not None
        with self._world.stdin as pipe:
            pipe.write(json.dumps({"hosts": plans}).encode())

    def _wait_for_world(self) -> None:
        world = self._world
        assert world is not None
        patience.wait_until(
            lambda: world.poll() is not None or self._is_heard(),
            seconds=READY,
            what="the namespaces of the systemd hosts were not ready",
            why=self._log,
        )
        if world.poll() is not None:
            raise LabError(f"the systemd hosts cannot be started here: {self._log()}")

    def _meet(self, plans: Sequence[Mapping[str, Any]]) -> None:
        ports = self._tell(do="status")["ports"]
        known, logins = self.folder / "known_hosts", (host_root.OPERATOR, *host_root.ACCOUNTS)
        keys = {account: self.folder / f"{account}.key" for account in logins}
        self.hosts = [
            SystemdHost(
                plan["name"],
                plan["address"],
                ports[plan["name"]]["22"],
                host_root.OPERATOR,
                keys[host_root.OPERATOR],
                known,
                ports[plan["name"]][str(host_root.WEB_PORT)],
                host_root.UNIT,
                keys,
            )
            for plan in plans
        ]
        lines = [
            f"[{h.address}]:{h.port} {public_key(self.folder / f'{h.name}.host_key')}\n" for h in self.hosts
        ]
        known.write_text("".join(lines))

    def _wait_for_host(self, host: SystemdHost) -> None:
        patience.wait_until(
            lambda: not self._tell(do="status")["on"][host.name] or _answers(host),
            seconds=READY,
            what=f"host {host.name} did not boot",
            why=lambda: _tail(self.folder / f"{host.name}.console"),
        )
        if not self._tell(do="status")["on"][host.name]:
            raise LabError(
                f"host {host.name} went off while booting: {_tail(self.folder / f'{host.name}.console')}"
            )

    def _tell(self, **request: str | bool) -> dict[str, Any]:
        # A relative name, through the folder's own handle: a unix socket's name may be 107 bytes long.
        handle = os.open(self.folder, os.O_PATH)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(20)
                sock.connect(f"/proc/self/fd/{handle}/world.sock")
                sock.sendall(json.dumps(request).encode() + b"\n")
                with sock.makefile() as file:
                    answer: dict[str, Any] = json.loads(file.readline() or '{"error": "no answer"}')
        except OSError as error:
            raise LabError(f"the systemd hosts of {self.folder} do not run: {error}") from error
        finally:
            os.close(handle)
        if "error" in answer:
            raise LabError(f"the systemd hosts refused {request['do']}: {answer['error']}")
        return answer

    def _is_heard(self) -> bool:
        """Say whether the world answers; its socket's name may be there before it listens, or after its death."""
        try:
            self._tell(do="status")
        except LabError:
            return False
        return True

    def _log(self) -> str:
        return _tail(self.folder / "world.log")


def require() -> None:
    """Make sure that systemd hosts can be started here.

    Raises:
        LabError: we are not root, or packages are missing; the message has the command that installs them.
    """
    if os.geteuid() != 0:
        raise LabError("systemd hosts need root; run the same command with sudo")
    missing = host_root.missing()
    if missing:
        packages = " ".join(sorted({*missing.values()}))
        raise LabError(f"systemd hosts need {', '.join(missing)}; install with: apt-get install {packages}")
    control_group.top()


def _answers(host: SystemdHost) -> bool:
    if not loopback.greeting(host.address, host.port).startswith(b"SSH-2.0"):
        return False
    state = ["systemctl", "is-system-running"]
    done = subprocess.run(host.command(*state), capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip() in {"running", "degraded"}


def _tail(path: Path) -> str:
    if not path.exists():
        return ""
    return " | ".join(path.read_text(errors="replace").strip().splitlines()[-6:])[-800:]
