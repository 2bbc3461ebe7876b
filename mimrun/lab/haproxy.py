"""HAProxy in front of the PostgreSQL pair: one address for the clients, steered by its admin socket.

An optional part: the lab works without it, the clients then know both servers.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mimrun.errors import LabError
from mimrun.lab import account, loopback
from mimrun.lab.part import Program, installed

BACKEND: Final = "postgres"
READY: Final = 5.0


@dataclass(frozen=True, slots=True)
class Server:
    """One server behind the proxy.

    Arguments:
        name: its name in the proxy.
        host: its address.
        port: its TCP port.
        enabled: false when the proxy is to send it nothing until told so.
    """

    name: str
    host: str
    port: int
    enabled: bool = True


class HaProxy(Program):
    """A TCP proxy that sends all clients to the enabled server.

    Arguments:
        folder: where its settings and its admin socket are.
        servers: who is behind it.
        net: the loopback net; it listens on `.100`.
    """

    def __init__(self, folder: Path, servers: tuple[Server, ...], *, net: str = loopback.NET) -> None:
        super().__init__(folder, "haproxy")
        self.servers = servers
        self.host = f"{net}.100"
        self.port = 0
        self.admin_port = 0

    @property
    def admin_socket(self) -> Path:
        """The unix socket for commands; the same are taken at `host`:`admin_port`."""
        return self.folder / "run" / "admin.sock"

    def start(self) -> None:
        """Start it and wait until clients and commands are taken.

        Raises:
            LabError: HAProxy is missing or does not start.
        """
        program = find()
        owner = account.ordinary()
        self._lay_out(owner, work="run")
        self.port, self.admin_port = loopback.free_ports([self.host, self.host])
        settings = self.folder / "haproxy.cfg"
        settings.write_text(self._settings())
        settings.chmod(0o644)
        child = self._launch([program, "-db", "-f", str(settings)], owner=owner)
        try:
            self._await(
                child,
                lambda: loopback.accepts(self.host, self.admin_port),
                seconds=READY,
                where=f"{self.host}:{self.admin_port}",
            )
        except BaseException:
            self.stop()
            raise

    def command(self, text: str, *, seconds: float = 2.0) -> str:
        """Give it a command of its management guide ("show stat", "disable server postgres/db1").

        Arguments:
            text: the command; a server is called `postgres/NAME`.
            seconds: how long its answer may take.

        Returns:
            What it says; nothing means done. A wrong command is answered in words as well.

        Raises:
            LabError: it does not answer.
        """
        try:
            with socket.create_connection((self.host, self.admin_port), timeout=seconds) as sock:
                sock.sendall(text.encode() + b"\n")
                sock.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: sock.recv(65536), b""))
        except OSError as error:
            raise LabError(f"haproxy at {self.host}:{self.admin_port} does not answer: {error}") from error
        return answer.decode(errors="replace").strip()

    def enabled(self) -> list[str]:
        """Give the names of the servers that clients are sent to now: up and not disabled."""
        rows = [line.split(",") for line in self.command("show stat").splitlines()]
        head = {name.lstrip("# "): number for number, name in enumerate(rows[0])}
        names = {server.name for server in self.servers}
        return [
            row[head["svname"]]
            for row in rows[1:]
            if row[head["svname"]] in names and row[head["status"]].startswith("UP")
        ]

    def _settings(self) -> str:
        lines = [
            "global",
            f"  stats socket {self.admin_socket} mode 600 level admin",
            f"  stats socket ipv4@{self.host}:{self.admin_port} level admin",
            "  stats timeout 30s",
            "  maxconn 200",
            "defaults",
            "  mode tcp",
            # A connection that is refused is at once the client's to know: it asks again by itself.
            "  retries 0",
            "  timeout connect 1s",
            "  timeout client 1h",
            "  timeout server 1h",
            "  timeout check 1s",
            "frontend clients",
            f"  bind {self.host}:{self.port}",
            f"  default_backend {BACKEND}",
            f"backend {BACKEND}",
            # A session to a server that is down is cut, so that the client asks for another at once.
            "  default-server check inter 200ms fastinter 100ms fall 2 rise 1 on-marked-down shutdown-sessions",
        ]
        for server in self.servers:
            state = "" if server.enabled else " disabled"
            lines.append(f"  server {server.name} {server.host}:{server.port}{state}")
        return "\n".join(lines) + "\n"


def is_installed() -> bool:
    """Say whether this machine has HAProxy."""
    return installed("haproxy") is not None


def find() -> str:
    """Give HAProxy's path.

    Raises:
        LabError: it is not installed.
    """
    found = installed("haproxy")
    if found is None:
        raise LabError("haproxy is not installed here; install it with: apt-get install haproxy")
    return found
