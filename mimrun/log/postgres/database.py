"""A PostgreSQL database: how it is named, how a connection is set, and what its errors mean for a person."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from mimrun.errors import SettingsError, StoreError
from mimrun.log.postgres.flush import WAIT
from mimrun.log.postgres.pooling import set_session
from mimrun.secret import read_secret

SCHEMA: Final = "mimrun"
"""Where the tables are unless the address says otherwise."""
CONNECT_S: Final = 5
"""Seconds for one attempt to connect."""
OLDEST: Final = 140000
"""The oldest server: PostgreSQL 14."""

_WORD: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_USUAL: Final[Mapping[str, str | int]] = {
    "connect_timeout": CONNECT_S,
    # A log is appended to, and read where it was appended to last.
    "target_session_attrs": "primary",
    # A server that is cut off is noticed within about ten seconds, not after the kernel's two hours.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_GONE: Final = frozenset(
    # Ended by an administrator, crashed, starting; idle in a transaction for too long; connection errors.
    {"57P01", "57P02", "57P03", "57P05", "25P03", "08000", "08003", "08006", "08001", "08004"}
)
_STANDBY: Final = (
    "it is a standby: name the primary, or both; to read only, add target_session_attrs=any to the address"
)
_MEANINGS: Final = {
    "53100": "no space is left on the server's disk; free some, then go on",
    "53": "the server has run out of something; see its log",
    "55P03": "another session holds it locked; find it in pg_stat_activity, end it, then try again",
    "57014": "the server ended the statement; see its statement_timeout",
    "25006": "the server takes no writes: it is a standby; name the primary",
    "42501": "the role may not do that; see the grants in docs/how-to/several-machines.md",
    "42P01": "tables are missing; `mimrun init` makes them",
    "23": "the database refused a row; check it with `mimrun log verify`",
    "XX": "the database is damaged; keep it, and see the server's log",
    "P0001": "a trigger of the log refused it",
}


@dataclass(frozen=True, slots=True)
class Database:
    """Where a log is.

    Arguments:
        url: as libpq takes it, `postgresql://user@host:5432/name?sslmode=verify-full`, without a password.
        password: the reference of a secret; "" leaves it to libpq (PGPASSFILE, `~/.pgpass`, a certificate).
        schema: where the tables are.
    """

    url: str
    password: str = ""
    schema: str = SCHEMA

    @classmethod
    def of(cls, address: str, password: str = "") -> Database:
        """Read an address; `schema=NAME` among its parameters is ours, the others are libpq's.

        Raises:
            SettingsError: it is none. A password that stands in it is not repeated.
        """
        front, _, query = address.partition("?")
        given = urllib.parse.parse_qsl(query, keep_blank_values=True)
        schema = next((value for name, value in given if name == "schema"), SCHEMA)
        if not _WORD.fullmatch(schema):
            raise SettingsError(f"schema={schema}: a schema is named with a-z, 0-9 and _")
        rest = urllib.parse.urlencode(
            [pair for pair in given if pair[0] != "schema"], quote_via=urllib.parse.quote
        )
        url = front + (f"?{rest}" if rest else "")
        try:
            told = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise SettingsError(
                "the address of the store cannot be read; it is postgresql://USER@HOST:PORT/DATABASE, "
                "with parameters of libpq behind a question mark"
            ) from None
        if told.get("password"):
            raise SettingsError(
                "a password stands in the address of the store, where everybody sees it; leave it out, and "
                "set MIMRUN_STORE_PASSWORD=file:PATH or env:NAME, or write it into ~/.pgpass"
            )
        return cls(url, password, schema)

    @property
    def name(self) -> str:
        """The database as messages name it."""
        front = self.url.partition("?")[0]
        scheme, _, rest = front.partition("://")
        where = f"{scheme}://{rest.rpartition('@')[2]}"
        return where if self.schema == SCHEMA else f"{where} (schema {self.schema})"

    def connect(self, purpose: str, **session: object) -> psycopg.Connection:
        """Connect, every statement a transaction of its own unless one is begun.

        Arguments:
            purpose: shown in pg_stat_activity.
            session: the server's settings for this connection.

        Raises:
            psycopg.Error: as libpq says; see `explain`.
            SettingsError: the password cannot be had.
            StoreError: the server is too old, or a pooler before it shares its connections.
        """
        given = self._given(purpose)

        def connection() -> psycopg.Connection:
            return psycopg.connect(autocommit=True, prepare_threshold=1, **given)  # type: ignore[arg-type]  # libpq's parameters

        db = connection()
        try:
            if db.info.server_version < OLDEST:
                raise StoreError(
                    f"{self.name}: PostgreSQL 14 is the oldest that holds a log; use a newer server"
                )
            session |= {"search_path": self.schema, "timezone": "UTC", "client_min_messages": "warning"}
            session |= {"client_encoding": "UTF8", "standard_conforming_strings": "on"}
            set_session(db, session, connection, self.name)
        except BaseException:
            db.close()
            raise
        return db

    def _given(self, purpose: str) -> dict[str, object]:
        """Give what libpq connects by."""
        given: dict[str, object] = {**_USUAL, "application_name": f"mimrun {purpose}"}
        given |= conninfo_to_dict(self.url)
        if self.password:
            given["password"] = read_secret(self.password).reveal()
        return given

    def connect_to_write(self, purpose: str) -> psycopg.Connection:
        """Connect, and have each commit wait for the disk, whatever the server or the role would do by itself.

        Arguments, and what is raised, are those of `connect`.
        """
        db = self.connect(purpose)
        try:
            db.execute(WAIT)
        except psycopg.Error:
            db.close()
            raise
        return db


def is_gone(exc: BaseException, db: psycopg.Connection | None) -> bool:
    """Whether an error means that the connection is gone, so that the same may work on a new one."""
    if not isinstance(exc, psycopg.Error):
        return False
    if exc.sqlstate is None:
        # Not the server's word: libpq could not send or receive, or does not know where it is any more.
        return isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError) or db is None or db.closed
    return exc.sqlstate in _GONE or db is None or db.closed


def explain(exc: Exception, name: str, what: str) -> StoreError:
    """Say what an error of PostgreSQL means.

    Arguments:
        exc: the error.
        name: the database.
        what: what was being done: "written", "opened", "read".
    """
    state = (exc.sqlstate if isinstance(exc, psycopg.Error) else None) or ""
    told = " ".join(str(exc).split())
    lines = (m for prefix, m in _MEANINGS.items() if state.startswith(prefix))
    away = _STANDBY if "in hot standby mode" in told else "see that the server runs and can be reached"
    meaning = next(lines, away if state in _GONE | {""} else "")
    code = f" ({state})" if state else ""
    return StoreError(f"the log {name} cannot be {what}: {told}{code}" + (f": {meaning}" if meaning else ""))
