"""One PostgreSQL server of the lab: where it is, its control scripts, and asking it something."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mimrun.errors import LabError
from mimrun.lab import account, loopback, postgres_binaries, process

ADMIN: Final = "admin"
CLIENT: Final = "app"
DATABASE: Final = "postgres"
SCRIPTS: Final = ("pg-start", "pg-stop", "pg-fence", "pg-unfence", "pg-rewind-from")
CONTROL: Final = Path(__file__).with_name("pg_control.sh")


@dataclass(frozen=True, slots=True)
class Instance:
    """One PostgreSQL server of the lab.

    Arguments:
        name: its name, also its `cluster_name` and `application_name`.
        host: its loopback address.
        port: its TCP port.
        account: the user of this machine that it runs as.
        user: the database's administrator.
        password_file: the administrator's password, a file only we can read.
        client_user: the role an application uses.
        client_password_file: that role's password.
        folder: where its scripts, data and log are.
        binaries: PostgreSQL's programs.
    """

    name: str
    host: str
    port: int
    account: account.Account
    user: str
    password_file: Path
    client_user: str
    client_password_file: Path
    folder: Path
    binaries: postgres_binaries.Binaries

    @property
    def data_dir(self) -> Path:
        """The folder with the data."""
        return self.folder / "data"

    @property
    def log_path(self) -> Path:
        """What the server itself says."""
        return self.folder / "run" / "log"

    def script(self, name: str) -> str:
        """Give the path of a control script: pg-start, pg-stop, pg-fence, pg-unfence, pg-rewind-from."""
        return str(self.folder / "bin" / name)

    def control(self, name: str, *arguments: str, seconds: float = 60) -> dict[str, Any]:
        """Run a control script here and give what it reports.

        Raises:
            LabError: it failed or refused; the message is its own.
        """
        done = _run([self.script(name), *arguments], seconds=seconds, env=process.environment(self.folder))
        if done.returncode != 0:
            raise LabError(done.stderr.strip() or f"{name} of {self.name} ended with {done.returncode}")
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def is_running(self) -> bool:
        """Say whether its server process runs."""
        return process.postmaster(self.data_dir) is not None

    def sql(self, statement: str, *, seconds: float = 10) -> str:
        """Run SQL as the administrator and give what psql prints: bare values, one row a line.

        Raises:
            LabError: the server is not there, or says no.
        """
        argv = [self.binaries.path("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", DATABASE]
        argv += ["-h", self.host, "-p", str(self.port), "-U", self.user, "-c", statement]
        env = process.environment(self.folder, {"PGPASSFILE": str(self.password_file.with_name("pgpass"))})
        done = _run(argv, seconds=seconds, env={**env, "PGCONNECT_TIMEOUT": "3"})
        if done.returncode != 0:
            raise LabError(f"{self.name} at {self.host}:{self.port}: {done.stderr.strip()}")
        return done.stdout.strip()

    def in_recovery(self) -> bool:
        """Say whether it is a standby at this moment."""
        return self.sql("select pg_is_in_recovery()") == "t"


def make_scripts(instance: Instance, passfile: str) -> None:
    """Lay out a server's folder: its scripts, which are ours, and empty places for its data, which are its own.

    Arguments:
        instance: the server.
        passfile: the text of the password file that it uses to reach the other server (libpq's format).
    """
    # What root may run belongs to root: the server's user owns its data and its log, not its scripts.
    instance.folder.mkdir(exist_ok=True)
    instance.folder.chmod(0o755)
    # A pair always begins anew; what an earlier one left here is the lab's own.
    for part in ("data", "run"):
        if (instance.folder / part).exists():
            shutil.rmtree(instance.folder / part)
    account.make_folder(instance.folder / "data", instance.account, mode=0o700)
    account.make_folder(instance.folder / "run", instance.account, mode=0o700)
    write_secret(instance.folder / "run" / "pgpass", passfile, owner=instance.account)
    scripts = instance.folder / "bin"
    scripts.mkdir(exist_ok=True)
    scripts.chmod(0o755)
    values = {
        "LAB": str(instance.folder),
        "NAME": instance.name,
        "HOST": instance.host,
        "PORT": str(instance.port),
        "LISTENS": loopback.kernel_form(instance.host, instance.port),
        "ACCOUNT": instance.account.name,
        "ACCOUNT_UID": str(instance.account.uid),
        "ACCOUNT_GID": str(instance.account.gid),
        "BINARIES": str(instance.binaries.folder),
        "DATA": str(instance.data_dir),
        "RUN": str(instance.folder / "run"),
        "ADMIN": ADMIN,
    }
    settings = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    (scripts / "settings").write_text(settings)
    (scripts / "settings").chmod(0o644)
    for name in SCRIPTS:
        (scripts / name).write_bytes(CONTROL.read_bytes())
        (scripts / name).chmod(0o755)


def write_secret(path: Path, text: str, *, owner: account.Account | None = None) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        if owner is not None and owner.uid != os.geteuid():
            os.fchown(handle, owner.uid, owner.gid)
        file.write(text)


def as_server(instance: Instance, argv: Sequence[str], *, text: str | None = None) -> None:
    """Run a program as the server's user.

    Arguments:
        instance: the server.
        argv: one of PostgreSQL's programs, or a path, and its arguments.
        text: its standard input.

    Raises:
        LabError: it failed; the message holds what it said.
    """
    program = argv[0] if argv[0].startswith("/") else instance.binaries.path(argv[0])
    try:
        done = subprocess.run(
            [program, *argv[1:]],
            input=text or "",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
            env=process.environment(instance.folder),
            **instance.account.identity(),
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{instance.name}: {argv[0]} took more than 60 s; the machine is too busy") from None
    if done.returncode != 0:
        raise LabError(f"{instance.name}: {argv[0]} failed: {done.stderr.strip()[-500:]}")


def append(instance: Instance, file: str, text: str) -> None:
    """Add to a file in the server's data folder, as the server's user: nobody else writes there."""
    as_server(instance, ["/usr/bin/tee", "-a", str(instance.data_dir / file)], text=text)


def _run(argv: Sequence[str], *, seconds: float, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            cwd="/",
            env=dict(env),
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{argv[0]} took more than {seconds:g} s") from None


def remove_shared_memory(data: Path) -> None:
    """Remove the System V segment of a server that was killed; a server that was stopped has done so."""
    try:
        words = (data / "postmaster.pid").read_text().splitlines()[6].split()
        number = words[1]
        segments = Path("/proc/sysvipc/shm").read_text().splitlines()
    except (OSError, IndexError):
        return
    # Columns: key shmid perms size cpid lpid nattch ...; only a segment with its key and no user is ours.
    rows = [line.split() for line in segments[1:]]
    if any(row[0] == words[0] and row[1] == number and row[6] == "0" for row in rows):
        subprocess.run(["ipcrm", "-m", number], check=False, capture_output=True)
