"""A real PgBouncer before a PostgreSQL server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from mimrun.lab import account, folder, loopback, process
from mimrun.lab.patience import wait_until
from mimrun.lab.postgres_server import ADMIN, CLIENT, Instance

PROGRAM: Final = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")


@contextmanager
def a_pooler(server: Instance, mode: str, **settings: object) -> Iterator[Instance]:
    """Give the server as it is reached through a pooler.

    Arguments:
        server: the server itself.
        mode: of pooling: "session", "transaction" or "statement".
        settings: more of the pooler's own.
    """
    assert PROGRAM is not None
    owner = account.ordinary()
    host = "127.0.0.1"
    (port,) = loopback.free_ports([host])
    with folder.temporary() as place:
        home = account.make_folder(place / "pooler", owner, mode=0o700)
        files = _write(home, server, owner, {"listen_port": port, "pool_mode": mode, **settings})
        running = subprocess.Popen(
            [PROGRAM, str(files)],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=process.environment(home),
            **owner.identity(),
        )
        try:
            wait_until(
                lambda: loopback.accepts(host, port),
                seconds=10,
                what="PgBouncer",
                why=lambda: (home / "log").read_text() if (home / "log").exists() else "it says nothing",
            )
            yield _through(server, host, port)
        finally:
            running.terminate()
            running.wait(10)


def _write(home: Path, server: Instance, owner: account.Account, more: dict[str, object]) -> Path:
    """Write its settings, for its own account to read."""
    users = "".join(
        f'"{role}" "{file.read_text().strip()}"\n'
        for role, file in ((ADMIN, server.password_file), (CLIENT, server.client_password_file))
    )
    settings = {
        "listen_addr": "127.0.0.1",
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": home / "users",
        "logfile": home / "log",
        **more,
    }
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    text = f"[databases]\npostgres = host={server.host} port={server.port}\n[pgbouncer]\n{lines}"
    for name, content in (("users", users), ("pgbouncer.ini", text)):
        (home / name).write_text(content)
        shutil.chown(home / name, owner.uid, owner.gid)
        (home / name).chmod(0o600)
    return home / "pgbouncer.ini"


def _through(server: Instance, host: str, port: int) -> Instance:
    return replace(server, host=host, port=port)
