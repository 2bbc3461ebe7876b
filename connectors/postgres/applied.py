"""The applied table: a step's key that is committed together with its statement, or not at all.

Whoever works with a key holds the key's advisory lock until the transaction has ended. The commit is
sent alone, after everything else was answered. So a session that gets the lock and does not find the key
knows that no commit is on its way: one that was sent is sent by a transaction that still holds the lock,
and what was not answered before the line was lost ends without a commit.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from connectors.postgres.actions import TAKEN_BACK, Execute, first_word
from connectors.postgres.session import Said, Session
from mimrun.connector import Call, Finding, Json, Ok, Probed, Refused

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Identifier

PATIENCE: Final = 1500
"""Milliseconds to wait for another session that works with the same key."""
ABANDONED: Final = 15_000
"""Milliseconds after which the server ends a transaction in which nobody says anything any more."""
LOCKED: Final = "55P03"
BUSY: Final = "another session is at work with this step's key"
COLUMNS: Final = (
    "(key text primary key, applied_at timestamptz not null default now(), answer jsonb not null)"
)
TABLE: Final = """
select c.relkind = 'r' and c.relpersistence = 'p'
  and exists (select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
              where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indpred is null
                and i.indnkeyatts = 1 and a.attname = 'key'),
  has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s
"""
HOLDERS: Final = """
select pid from pg_locks
where locktype = 'advisory' and granted and objsubid = 1 and pid <> pg_backend_pid()
  and database = (select oid from pg_database where datname = current_database())
  and classid::bigint = %s and objid::bigint = %s
"""


def ddl(action: Execute) -> str:
    """Give the statement that makes the applied table."""
    schema, name = action.ledger()
    return f'create table "{schema}"."{name}" {COLUMNS}'


def lock_of(text: str) -> int:
    """Give the number of the advisory lock for a key: 64 bits of a hash, with a sign."""
    digest = hashlib.sha256(b"mimrun/applied/v1\0" + text.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def take(connection: psycopg.Connection[tuple[object, ...]], action: Execute, call: Call) -> Ok | None:
    """Take the key's lock for this transaction. Give the answer that was kept, None where there is none.

    Raises:
        Refused: the table is not there, or is not fit to hold keys.
    """
    connection.execute(f"set local idle_in_transaction_session_timeout = {ABANDONED}")
    _lock(connection, lock_of(call.key))
    if not _is_there(connection, action):
        # One session makes the table; others wait for it and then find it.
        _lock(connection, lock_of("table " + ".".join(action.ledger())))
        if not _is_there(connection, action):
            connection.execute(ddl(action).encode())
    return _kept(connection, action, call)


def keep(connection: psycopg.Connection[tuple[object, ...]], action: Execute, call: Call, done: Ok) -> None:
    """Put the key and the answer into the table, as the last thing before the commit."""
    from psycopg.sql import SQL  # noqa: PLC0415 - see Session.open
    from psycopg.types.json import Jsonb  # noqa: PLC0415 - as above

    answer = Jsonb({"changed": done.changed, "data": dict(done.data)})
    statement = SQL("insert into {} (key, answer) values (%s, %s)").format(_named(action))
    connection.execute(statement, (call.key, answer))


def probe(session: Session, action: Execute, call: Call) -> Probed:
    """Say whether the statement was committed, surely was not, or may still be."""
    try:
        with session.asking(call) as connection:
            # Each statement has to see what was committed before it began, whatever the role's default is.
            connection.execute(f"begin isolation level read committed; {session.bounds(call)}")
            row = connection.execute("select pg_is_in_recovery()").fetchone()
            if row == (True,):
                connection.rollback()
                return Probed(Finding.UNKNOWN, f"{session.where} is a standby; ask the primary")
            _lock(connection, lock_of(call.key))
            there = _look(connection, action)
            found = _kept(connection, action, call) if there == (True, True) else None
            connection.rollback()
    except Said as exc:
        busy = exc.sqlstate == LOCKED
        return Probed(Finding.UNKNOWN, f"{BUSY}{_holders(session, call)}" if busy else str(exc))
    table = ".".join(action.ledger())
    if found is not None:
        return Probed(Finding.APPLIED, f"{table} holds the step's key", found.data, outcome=found)
    if there not in (None, (True, True)):
        return Probed(Finding.UNKNOWN, f"{table} is not fit to hold keys, or may not be read")
    if first_word(action.sql) not in TAKEN_BACK:
        reason = f"{table} does not hold the step's key: not committed; what it did outside is not known"
        return Probed(Finding.UNKNOWN, reason)
    return Probed(Finding.NOT_APPLIED, f"{table} does not hold the step's key, and nobody is at work with it")


def _lock(connection: psycopg.Connection[tuple[object, ...]], number: int) -> None:
    connection.execute(f"set local lock_timeout = {PATIENCE}")
    connection.execute(f"select pg_advisory_xact_lock({number}::bigint)".encode())
    connection.execute("set local lock_timeout to default")


def _look(connection: psycopg.Connection[tuple[object, ...]], action: Execute) -> tuple[object, ...] | None:
    """Give whether the table is fit, and whether the role may use it; None where there is none."""
    return connection.execute(TABLE, action.ledger()).fetchone()


def _is_there(connection: psycopg.Connection[tuple[object, ...]], action: Execute) -> bool:
    table = ".".join(action.ledger())
    match _look(connection, action):
        case (True, True):
            return True
        case None if action.create_applied_table:
            return False
        case None:
            why = f"there is no table {table}; run: {ddl(action)}; or say create_applied_table: true"
        case (True, _):
            why = f"the role may not select from and insert into {table}; grant it both"
        case _:
            why = f"{table} is not fit to hold keys; it needs to be made so: {ddl(action)}"
    connection.rollback()
    raise Refused(f"postgres.execute: {why}")


def _kept(connection: psycopg.Connection[tuple[object, ...]], action: Execute, call: Call) -> Ok | None:
    from psycopg.sql import SQL  # noqa: PLC0415 - see Session.open

    statement = SQL("select answer from {} where key = %s").format(_named(action))
    row = connection.execute(statement, (call.key,)).fetchone()
    if row is None:
        return None
    answer = row[0]
    assert isinstance(answer, dict)
    data: dict[str, Json] = answer["data"]
    return Ok(changed=bool(answer["changed"]), data=data)


def _named(action: Execute) -> Identifier:
    from psycopg.sql import Identifier  # noqa: PLC0415 - see Session.open

    return Identifier(*action.ledger())


def _holders(session: Session, call: Call) -> str:
    """Name the server processes that hold the key's lock, for whoever has to end them."""
    number = lock_of(call.key) & (2**64 - 1)
    try:
        with session.asking(call) as connection:
            found = connection.execute(HOLDERS, (number >> 32, number & (2**32 - 1))).fetchall()
    except Said:
        return ""
    pids = ", ".join(str(row[0]) for row in found)
    return f": server process {pids}" if pids else ""
