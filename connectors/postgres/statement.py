"""One statement: reading what provably changes nothing, changing what is provably committed or not."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from connectors.postgres import values
from connectors.postgres.actions import Execute, Query, Statement, first_word
from connectors.postgres.session import Said, Session
from mimrun.connector import Call, Failed, Json, LostAnswer, Ok, Outcome

if TYPE_CHECKING:
    import psycopg

COUNTED: Final = ("INSERT", "UPDATE", "DELETE", "MERGE")
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
SYNTAX_ERROR: Final = "42601"
"""Said before anything of a statement is done. Source: PostgreSQL, appendix A."""


def query(session: Session, action: Query, call: Call) -> Outcome:
    """Run one statement in a read-only transaction, and give its rows."""
    try:
        with session.asking(call) as connection:
            connection.execute(f"begin read only; {session.bounds(call)}")
            cursor = connection.cursor()
            # Row by row, so that a big answer is never held as a whole; it also admits one statement only.
            with closing(_stream(cursor, action)) as found:
                first = list(islice(found, 1))  # the columns' names come with the first row
                names = [column.name for column in cursor.description or ()]
                rows, truncated = values.rows(names, chain(first, found), action.max_rows)
            connection.rollback()
    except Said as exc:
        return Failed(f"postgres: {exc}", clean=True, data=exc.data)
    return Ok(changed=False, data={"rows": rows, "rowcount": len(rows), "truncated": truncated})


def execute(session: Session, action: Execute, call: Call) -> Outcome:
    """Run one statement and commit it."""
    return _in_transaction(session, action, call) if action.transaction else _alone(session, action, call)


def _in_transaction(session: Session, action: Execute, call: Call) -> Outcome:
    taken_back = first_word(action.sql) in TAKEN_BACK
    committing = False
    try:
        with session.asking(call) as connection:
            connection.execute(f"begin; {session.bounds(call)}")
            cursor = _run(connection, action)
            data = _data(cursor, action)
            committing = True
            ended = connection.execute("commit").statusmessage
    except Said as exc:
        # The server has answered, and no transaction is open any more: it is rolled back.
        rolled_back = session.is_idle()
        clean = rolled_back and (taken_back or exc.sqlstate == SYNTAX_ERROR)
        reason = f"postgres: {exc}" + ("; rolled back" if rolled_back else "")
        return Failed(reason, clean=clean, data=exc.data)
    except LostAnswer as exc:
        if committing or not taken_back:
            raise
        return Failed(f"{exc}; no commit was sent, so the server keeps nothing of it", clean=True)
    if ended != "COMMIT":
        return Failed(f"postgres: the commit was answered with {ended}", clean=taken_back)
    return Ok(changed=_changed(cursor), data=data)


def _alone(session: Session, action: Execute, call: Call) -> Outcome:
    try:
        with session.asking(call) as connection:
            connection.execute(session.bounds(call).replace("set local", "set"))
            cursor = _run(connection, action)
            data = _data(cursor, action)
            connection.execute("reset statement_timeout; reset timezone; reset datestyle")
    except Said as exc:
        return Failed(f"postgres: {exc}", clean=exc.sqlstate == SYNTAX_ERROR, data=exc.data)
    return Ok(changed=_changed(cursor), data=data)


def _stream(
    cursor: psycopg.Cursor[tuple[object, ...]], action: Statement
) -> Generator[tuple[object, ...], None, None]:
    yield from cursor.stream(action.sql.encode(), _params(action))


def _run(
    connection: psycopg.Connection[tuple[object, ...]], action: Statement
) -> psycopg.Cursor[tuple[object, ...]]:
    # A prepared statement is one statement: a second one after a semicolon is an error, not an action.
    return connection.execute(action.sql.encode(), _params(action), prepare=True)


def _params(action: Statement) -> dict[str, object] | list[object] | None:
    """Give the values in the form psycopg takes; an object goes to the server as JSON."""
    from psycopg.types.json import Jsonb  # noqa: PLC0415 - see Session.open

    def given(value: object) -> object:
        return Jsonb(value) if isinstance(value, dict) else value

    if isinstance(action.params, dict):
        return {name: given(value) for name, value in action.params.items()}
    return None if action.params is None else [given(value) for value in action.params]


def _data(cursor: psycopg.Cursor[tuple[object, ...]], action: Statement) -> dict[str, Json]:
    rows: list[Json] = []
    truncated = False
    if cursor.description is not None:
        rows, truncated = values.rows([c.name for c in cursor.description], cursor, action.max_rows)
    status = cursor.statusmessage or ""
    return {"rows": rows, "rowcount": max(cursor.rowcount, 0), "truncated": truncated, "status": status}


def _changed(cursor: psycopg.Cursor[tuple[object, ...]]) -> bool:
    """Say whether anything is different now; a statement that counts rows may have found none."""
    counted = (cursor.statusmessage or "").split(" ")[0] in COUNTED
    return cursor.rowcount > 0 if counted else True
