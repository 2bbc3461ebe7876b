"""A PostgreSQL pair: a primary and a standby that streams from it, on loopback.

The servers run as an ordinary user, also when root starts them. Each has control scripts (`pg-start`,
`pg-fence`, ...) that a runbook calls over ssh. What differs between the two servers (address, port, name)
is given on their command line and not in their data folder, so that `pg_rewind` cannot mix it up.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mimrun.errors import LabError
from mimrun.lab import account, keeper, leftover, loopback, patience, postgres_binaries, process
from mimrun.lab.postgres_server import (
    ADMIN,
    CLIENT,
    Instance,
    append,
    as_server,
    make_scripts,
    write_secret,
)

SETTINGS: Final = """
unix_socket_directories = ''
wal_level = replica
# pg_rewind needs one of these two to know which pages differ.
wal_log_hints = on
# The old primary's own log since the two parted must still be there for pg_rewind.
wal_keep_size = 256MB
max_wal_senders = 5
hot_standby = on
max_connections = 50
shared_buffers = 16MB
# Shared memory as a file in the data folder: a killed server leaves nothing in /dev/shm.
dynamic_shared_memory_type = mmap
# A killed server loses nothing by this, a machine that loses its power may: the lab's data are throw-away.
fsync = off
# A standby asks again soon when its primary has gone away.
wal_retrieve_retry_interval = 200ms
log_min_messages = warning
"""

HBA: Final = """
host all all 127.0.0.0/8 scram-sha-256
host replication all 127.0.0.0/8 scram-sha-256
"""

STREAMING: Final = (
    "select count(*) from pg_stat_replication where application_name = '{name}' and state = 'streaming'"
)


class PostgresPair:
    """A primary and its standby.

    Arguments:
        folder: where everything is kept; every folder above it must be open to the servers' user.
        names: the server that begins as primary, and its standby.
        net: the loopback net; the primary is at `.1`, the standby at `.2`.
        synchronous: true when a write is acknowledged only once the standby has it too.
    """

    def __init__(
        self,
        folder: Path,
        names: tuple[str, str] = ("db1", "db2"),
        *,
        net: str = loopback.NET,
        synchronous: bool = False,
    ) -> None:
        self.folder = folder
        self.names = names
        self.net = net
        self.synchronous = synchronous
        self._instances: tuple[Instance, ...] = ()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def primary(self) -> Instance:
        """The server that began as primary."""
        return self._instance(0)

    @property
    def standby(self) -> Instance:
        """The server that began as standby."""
        return self._instance(1)

    def start(self) -> tuple[Instance, Instance]:
        """Make both servers, start them, and wait until the standby streams.

        Returns:
            The primary and the standby.

        Raises:
            LabError: PostgreSQL is missing or does not start; what was started is stopped again.
        """
        owner = account.ordinary()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder = self.folder.resolve()
        account.require_way(self.folder.parent, owner)
        self.folder.chmod(0o711)
        if leftover.find_all(self.folder):
            raise LabError(f"{self.folder}: a PostgreSQL of an earlier start still runs there; stop it first")
        keeper.guard(self.folder)
        try:
            self._make_instances(owner)
            self._make_primary()
            self._make_standby()
        except BaseException:
            self.stop()
            raise
        return self.primary, self.standby

    def stop(self) -> None:
        """Stop both servers. Their data stay in the folder."""
        leftover.stop_all(self.folder)
        keeper.release(self.folder)

    def kill_primary(self) -> float:
        """Let the server that began as primary crash: all its processes are gone at once.

        Returns:
            The moment of its death, by `time.monotonic()`.
        """
        return self.kill(self.primary)

    def kill(self, instance: Instance) -> float:
        """Let a server crash.

        Returns:
            The moment of its death, by `time.monotonic()`.

        Raises:
            LabError: it does not run.
        """
        server = process.postmaster(instance.data_dir)
        if server is None:
            raise LabError(f"{instance.name} does not run and cannot crash; start it with pg-start")
        return process.crash(server)

    def _instance(self, number: int) -> Instance:
        if not self._instances:
            raise LabError("the PostgreSQL pair has not been started; call start()")
        return self._instances[number]

    def _make_instances(self, owner: account.Account) -> None:
        programs = postgres_binaries.for_account(owner, self.folder / "binaries")
        passwords = {ADMIN: secrets.token_urlsafe(18), CLIENT: secrets.token_urlsafe(18)}
        for role, password in passwords.items():
            write_secret(self.folder / f"{role}.password", password + "\n")
        passfile = "".join(f"*:*:*:{role}:{password}\n" for role, password in passwords.items())
        write_secret(self.folder / "pgpass", passfile)
        hosts = loopback.addresses(self.net, 2)
        self._instances = tuple(
            Instance(
                name,
                host,
                port,
                owner,
                ADMIN,
                self.folder / f"{ADMIN}.password",
                CLIENT,
                self.folder / f"{CLIENT}.password",
                self.folder / name,
                programs,
            )
            for name, host, port in zip(self.names, hosts, loopback.free_ports(hosts), strict=True)
        )
        for instance in self._instances:
            make_scripts(instance, passfile)

    def _make_primary(self) -> None:
        one = self.primary
        words = one.folder / "run" / "initial"
        write_secret(words, one.password_file.read_text(), owner=one.account)
        options = ["--auth=scram-sha-256", f"--pwfile={words}", "--encoding=UTF8", "--locale=C"]
        options += ["--data-checksums", "--no-sync", "--no-instructions"]
        as_server(one, ["initdb", "-D", str(one.data_dir), "-U", ADMIN, *options])
        words.unlink()
        # The data folder is the server's own; we write to it through the server's user.
        append(one, "postgresql.conf", SETTINGS)
        append(one, "pg_hba.conf", HBA)
        one.control("pg-start")
        secret = one.client_password_file.read_text().strip()
        one.sql(f"create role {CLIENT} login password '{secret}'; grant create on schema public to {CLIENT}")

    def _make_standby(self) -> None:
        one, two = self.primary, self.standby
        source = f"host={one.host} port={one.port} user={ADMIN} passfile={two.folder}/run/pgpass"
        options = ["-R", "-X", "stream", "-c", "fast", "--no-sync"]
        as_server(two, ["pg_basebackup", "-D", str(two.data_dir), "-d", source, *options])
        two.control("pg-start")
        if self.synchronous:
            # Set only now: in the base backup it would make the standby wait for itself once promoted.
            one.sql(f"alter system set synchronous_standby_names = '{two.name}'")
            one.sql("select pg_reload_conf()")
        patience.wait_until(
            lambda: one.sql(STREAMING.format(name=two.name)) == "1",
            seconds=15,
            what=f"{two.name} did not stream from {one.name}",
            why=lambda: two.log_path.read_text(errors="replace")[-500:],
        )
