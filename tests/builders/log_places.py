"""Where a test's log is: in a file, or in a database of a real PostgreSQL server."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg

from mimrun.lab import folder
from mimrun.lab.postgres import PostgresPair
from mimrun.lab.postgres_server import ADMIN, CLIENT, Instance
from mimrun.log.blob_key import BlobKeyPlace
from mimrun.log.entry import Actor
from mimrun.log.postgres import store as postgres
from mimrun.log.postgres.database import Database
from mimrun.log.postgres.schema import GRANTS
from mimrun.log.sequenced import SequencedStore
from mimrun.log.sqlite import store as sqlite

NUMBERS = itertools.count(1)
GRANTS_BEFORE = """\
grant usage on schema {schema} to {role};
grant select on all tables in schema {schema} to {role};
"""
"""What the role may do with a log that is not of this version: read it."""
BLOB_KEY = BlobKeyPlace(Path("nowhere"), "env:TEST_BLOB_KEY")
"""Where the key of the blobs is that lie in PostgreSQL: in a variable, which children inherit."""
os.environ.setdefault("TEST_BLOB_KEY", "5e" * 32)


class Place(Protocol):
    """Where a log is."""

    @property
    def address(self) -> str:
        """What another process opens it by; see `open_place`."""

    def create(self, log: str, actor: Actor, clock: Callable[[], datetime]) -> bool:
        """Begin the log."""

    def open(self, **named: Any) -> SequencedStore:
        """Open it as mimrun does."""

    def execute(self, statement: str) -> list[Any]:
        """Do something to the tables behind mimrun's back, as who owns them."""


class File:
    """A log in an SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def address(self) -> str:
        return str(self.path)

    def create(self, log: str, actor: Actor, clock: Callable[[], datetime]) -> bool:
        return sqlite.create_log(self.path, log, actor, clock=clock)

    def open(self, **named: Any) -> sqlite.SqliteStore:
        return sqlite.SqliteStore(self.path, **named)

    def execute(self, statement: str) -> list[Any]:
        db = sqlite3.connect(self.path, isolation_level=None)
        try:
            return db.execute(statement).fetchall()
        finally:
            db.close()


class OneServer(PostgresPair):
    """A primary alone. It starts in a third of the time."""

    def _make_standby(self) -> None:
        pass


class Schema:
    """A log in a schema of a PostgreSQL server: `owner` has made it, and mimrun works as another role."""

    def __init__(self, server: Instance, name: str) -> None:
        self.server, self.name = server, name
        self.owner = self._as(ADMIN, server.password_file)
        self.database = self._as(CLIENT, server.client_password_file)

    def _as(self, role: str, password: Path) -> Database:
        url = f"postgresql://{role}@{self.server.host}:{self.server.port}/postgres?schema={self.name}"
        return Database.of(url, f"file:{password}")

    @property
    def address(self) -> str:
        return f"{self.database.url}?schema={self.name}#{self.database.password}"

    @property
    def blob_key(self) -> BlobKeyPlace:
        """One key for all tests of a process and of its children: what is said of it is said in a variable."""
        return BLOB_KEY

    def drop(self) -> None:
        """Remove the log with everything in it."""
        with psycopg.connect(server_address(self.server), autocommit=True) as db:
            db.execute(f"drop schema if exists {self.name} cascade".encode())

    def create(self, log: str, actor: Actor, clock: Callable[[], datetime]) -> bool:
        made = postgres.create_log(self.owner, self.blob_key, log, actor, clock=clock)
        self.execute(GRANTS.format(schema=self.name, role=CLIENT))
        return made

    def open(self, **named: Any) -> postgres.PostgresStore:
        return postgres.PostgresStore(self.database, **{"blob_key": self.blob_key, **named})

    def execute(self, statement: str) -> list[Any]:
        with self.owner.connect("test") as db:
            cursor = db.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def open_place(address: str, **named: Any) -> SequencedStore:
    """Open a log by its address."""
    if not address.startswith("postgresql:"):
        return sqlite.SqliteStore(Path(address), **named)
    url, _, password = address.partition("#")
    return postgres.PostgresStore(Database.of(url, password), BLOB_KEY, **named)


@contextmanager
def a_server(net: str) -> Iterator[Instance]:
    """A PostgreSQL server of which nothing is left afterwards."""
    with folder.temporary() as place, OneServer(place / "pg", net=net) as server:
        yield server.primary


@contextmanager
def a_schema(server: Instance) -> Iterator[Schema]:
    """A schema in which a log may be begun; it is gone afterwards, and so must be whoever used it."""
    name = f"log_{os.getpid()}_{next(NUMBERS)}"
    schema = Schema(server, name)
    try:
        yield schema
    finally:
        schema.drop()


def server_address(server: Instance, role: str = ADMIN) -> str:
    """What libpq connects to a server by."""
    file = server.password_file if role == ADMIN else server.client_password_file
    password = file.read_text().strip()
    return f"host={server.host} port={server.port} user={role} password={password} dbname=postgres"


def kill_sessions(server: Instance, purposes: Sequence[str]) -> int:
    """End sessions of ours as an administrator does; says how many there were."""
    names = [f"mimrun {purpose}" for purpose in purposes]
    with psycopg.connect(server_address(server), autocommit=True) as db:
        rows = db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = any(%s)",
            (names,),
        )
        return len(rows.fetchall())
