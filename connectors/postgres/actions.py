"""What can be asked of a PostgreSQL server. The fields are the keys an author writes in a runbook."""

from __future__ import annotations

import re
from typing import Final, Literal, Self, TypeAlias

from pydantic import JsonValue, model_validator

from mimrun.connector import Action, Effect, Field, Settings

MOST_ROWS: Final = 1000
READING: Final = ("select", "with", "values", "table", "show", "explain")
BRACKETS: Final = ("begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "prepare")
"""Statements that open and close transactions; that is the connector's part."""
TAKEN_BACK: Final = (
    "insert",
    "update",
    "delete",
    "merge",
    "truncate",
    "create",
    "alter",
    "drop",
    "grant",
    "revoke",
    "comment",
    "lock",
    "refresh",
)
"""Statements whose whole effect a rollback takes back. Others, such as `select f()`, may reach outside."""
TABLE: Final = r"^([a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,62}$"
FIRST_WORD: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*([a-z]+)", re.IGNORECASE | re.DOTALL)
ACTING: Final = re.compile(
    r"\b(pg_promote|pg_(terminate|cancel)_backend|pg_reload_conf|pg_rotate_logfile\w*|pg_switch_wal"
    r"|pg_create_\w+|pg_drop_\w+|pg_copy_\w+_slot|pg_replication_(slot_advance|origin_\w+)|pg_backup_\w+"
    r"|pg_wal_replay_(pause|resume)|pg_stat_reset\w*|pg_logical_\w+|pg_sync_replication_slots"
    r"|pg_(try_)?advisory_\w+|pg_file_\w+|pg_log_\w+|set_config|setval|nextval|lo_\w+|dblink\w*)\s*\(",
    re.IGNORECASE,
)
"""Functions that a read-only transaction lets through although they act on the server or outside of it."""


class PostgresSettings(Settings):
    """Where the server is, and whom to log in as."""

    inventory_hostname: str = ""
    ansible_host: str = ""
    postgres_host: str = Field("", description="Its address, or the folder of its socket.")
    postgres_port: int = Field(5432, ge=1, le=65535, description="Its TCP port.")
    postgres_user: str = Field("postgres", description="The role to log in as.")
    postgres_database: str = Field("postgres", description="The database to connect to.")
    postgres_password_env: str = Field("", description="The environment variable that holds the password.")
    postgres_password_file: str = Field("", description="The file that holds the password.")
    postgres_sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        "prefer", description="As in libpq."
    )
    postgres_sslrootcert: str = Field("", description="Certificates to trust, for the two verify modes.")
    postgres_connect_timeout: int = Field(
        5, ge=1, le=120, description="Seconds until a connection must be made."
    )

    @property
    def host(self) -> str:
        """Where to connect to."""
        return self.postgres_host or self.ansible_host or self.inventory_hostname


def first_word(sql: str) -> str:
    """Give the word a statement begins with, in lower case, past comments and brackets."""
    found = FIRST_WORD.match(sql)
    return found[1].lower() if found else ""


class Statement(Action):
    """What `query` and `execute` have in common."""

    sql: str = Field(min_length=1, description="One statement; values are written as `%s` or `%(name)s`.")
    params: dict[str, JsonValue] | tuple[JsonValue, ...] | None = Field(
        None, description="The values, by name or in order. With them a percent sign is written `%%`."
    )
    max_rows: int = Field(MOST_ROWS, ge=1, le=10_000, description="Rows to give at most.")

    @model_validator(mode="after")
    def _no_brackets(self) -> Self:
        if first_word(self.sql) in BRACKETS:
            raise ValueError("the statement runs in a transaction of its own; write what is to be done in it")
        return self

    def summary(self) -> str:
        """Give the statement and its values."""
        return self.sql + (f"  ({self.params!r})" if self.params else "")


class Query(Statement):
    """Read: one statement in a read-only transaction, which is rolled back at the end."""

    verb = "query"
    effect = Effect.READ

    @model_validator(mode="after")
    def _reads(self) -> Self:
        if first_word(self.sql) not in READING:
            words = ", ".join(READING)
            raise ValueError(f"a query begins with one of {words}; use postgres.execute for other statements")
        acting = ACTING.search(self.sql)
        if acting:
            raise ValueError(f"{acting[1]} does more than read; use postgres.execute")
        return self


class Execute(Statement):
    """Change: one statement, committed when it succeeds."""

    verb = "execute"
    effect = Effect.ONCE
    effect_fields = frozenset({"applied_table"})
    transaction: bool = Field(
        default=True,
        description="False for what PostgreSQL runs outside of transactions only: alter system, vacuum.",
    )
    applied_table: str | None = Field(
        None,
        pattern=TABLE,
        description="A table, `schema.name`, that gets this step's key in the statement's own transaction, so"
        " that the statement is never committed twice and a lost answer can be found out.",
    )
    create_applied_table: bool = Field(
        default=False, description="Whether to make that table where it is not there."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.create_applied_table and self.applied_table is None:
            raise ValueError("create_applied_table needs applied_table: which table")
        if self.applied_table is None:
            return self
        if not self.transaction:
            raise ValueError("applied_table needs a transaction; take one of them away")
        schema = self.ledger()[0]
        if schema.startswith("pg_") or schema == "information_schema":
            raise ValueError(
                f"applied_table: schema {schema} is PostgreSQL's own; a table in it does not last"
            )
        return self

    def ledger(self) -> tuple[str, str]:
        """Give the applied table's schema and name; the schema is `public` where none is written."""
        schema, _, name = (self.applied_table or "").rpartition(".")
        return schema or "public", name

    def effect_class(self) -> Effect:
        """Give `probe` where the key is committed with the statement, else `once`."""
        return Effect.ONCE if self.applied_table is None else Effect.PROBE

    def summary(self) -> str:
        """Give the statement, its values, and where its key is kept."""
        kept = f"  [applied once by {'.'.join(self.ledger())}]" if self.applied_table else ""
        return super().summary() + kept


class Promote(Action):
    """Make a standby the primary, and wait until it takes writes. A primary stays one."""

    verb = "promote"
    effect = Effect.PROBE
    timeout: int = Field(60, ge=1, le=3600, description="Seconds until it must take writes.")


class Replication(Action):
    """Read who is primary, who follows it, and how far behind."""

    verb = "replication"
    effect = Effect.READ


class Rewind(Action):
    """Turn a data folder on this machine back to where it can follow the target, a primary."""

    verb = "rewind"
    effect = Effect.PROBE
    data_dir: str = Field(pattern=r"^/", description="The old primary's data folder; its server is stopped.")
    bin_dir: str = Field("", description="Where pg_rewind is; found on PATH when left out.")
    write_recovery_conf: bool = Field(
        default=True, description="Whether to set it up as a standby of the target (pg_rewind -R)."
    )


PostgresAction: TypeAlias = Query | Execute | Promote | Replication | Rewind
