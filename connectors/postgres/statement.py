"""One statement: reading what provably changes nothing, changing what is provably committed or not."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from connectors.postgres import applied, values
from connectors.postgres.actions import TAKEN_BACK, Execute, Query, Statement, first_word
from connectors.postgres.session import Said, Session
from mimrun.connector import Call, Difference, Failed, Finding, Json, LostAnswer, Ok, Outcome, Unknown

if TYPE_CHECKING:
    import psycopg

COUNTED: Final = ("INSERT", "UPDATE", "DELETE", "MERGE")
PLANNED: Final = ("insert", "update", "delete", "merge", "with", "select", "values")
"""Statements that the server plans without doing them."""
UNASKED: Final = ("57014", "55P03")
"""SQLSTATE of a statement that was ended, or that waited for a lock: no word about the statement itself."""
ROWS: Final = re.compile(r"^ *(?:->)? *(?:Insert|Update|Delete|Merge) on ([^ ]+)")
ESTIMATE: Final = re.compile(r" rows=(\d+) ")
RESET: Final = (
    "reset statement_timeout; reset idle_in_transaction_session_timeout; reset timezone; reset datestyle"
)


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


def check(session: Session, action: Execute, call: Call) -> Difference:
    """Say what a statement would change, as far as the server's planner tells without doing it."""
    if action.applied_table:
        found = applied.probe(session, action, call)
        if found.finding is Finding.APPLIED:
            return Difference(changes=False, detail=f"{found.reason}: it is not run again")
    if first_word(action.sql) not in PLANNED or not action.transaction:
        return Difference(None, "would run; the server does not tell beforehand what it changes")
    try:
        with session.asking(call) as connection:
            connection.execute(f"begin read only; {session.bounds(call)}")
            planned = connection.execute(b"explain " + action.sql.encode(), _params(action), prepare=True)
            lines = [str(row[0]) for row in planned]
            connection.rollback()
    except Said as exc:
        if exc.sqlstate in UNASKED:
            return Difference(None, f"the server did not tell in time what it would do: {exc}")
        return Difference(None, f"it would fail now: {exc}", fails=True)
    return _expected(lines)


def _expected(lines: Sequence[str]) -> Difference:
    """Read a plan: which table is written, and how many rows the planner expects to be found for it."""
    for number, line in enumerate(lines):
        written = ROWS.match(line)
        if written:
            counts = [int(n) for later in lines[number + 1 : number + 2] for n in ESTIMATE.findall(later)]
            about = f"; the planner expects about {counts[0]} rows" if counts else ""
            return Difference(None, f"would write {written[1]}{about}; which ones is not known beforehand")
    return Difference(None, "would run; what the functions in it change is not known")


def _in_transaction(session: Session, action: Execute, call: Call) -> Outcome:
    taken_back = first_word(action.sql) in TAKEN_BACK
    begun = committing = False
    try:
        with session.asking(call) as connection:
            connection.execute(f"begin; {session.bounds(call)}")
            # 1. Where a key is kept: nobody else is at work with it, and it is not there yet.
            found = applied.take(connection, action, call) if action.applied_table else None
            if found is not None:
                connection.rollback()
                return found
            # 2. The statement, and the key behind it.
            begun = True
            cursor = _run(connection, action)
            done = Ok(changed=_changed(cursor), data=_data(cursor, action))
            if action.applied_table:
                applied.keep(connection, action, call, done)
            # 3. Alone in its message: as long as it may be on its way, the transaction holds its key's lock.
            committing = True
            ended = connection.execute("commit").statusmessage
    except Said as exc:
        if not begun and exc.sqlstate == applied.LOCKED:
            return Unknown(f"postgres: {applied.BUSY}: {exc}")
        # The server has answered, and no transaction is open any more: it is rolled back.
        rolled_back = session.is_idle()
        clean = rolled_back and (taken_back or not begun or exc.unreadable)
        reason = f"postgres: {exc}" + ("; rolled back" if rolled_back else "")
        return Failed(reason, clean=clean, data=exc.data)
    except LostAnswer as exc:
        if committing or (begun and not taken_back):
            raise
        return Failed(f"{exc}; no commit was sent, so the server keeps nothing of it", clean=True)
    if ended != "COMMIT":
        return Failed(f"postgres: the commit was answered with {ended}", clean=taken_back)
    return done


def _alone(session: Session, action: Execute, call: Call) -> Outcome:
    try:
        with session.asking(call) as connection:
            connection.execute(session.bounds(call).replace("set local", "set"))
            cursor = _run(connection, action)
            data = _data(cursor, action)
            connection.execute(RESET)
    except Said as exc:
        return Failed(f"postgres: {exc}", clean=exc.unreadable, data=exc.data)
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
    """Give the values in the form psycopg takes: a list as an array, an object or a list with one as JSON."""
    from psycopg.types.json import Jsonb  # noqa: PLC0415 - see Session.open

    def given(value: object) -> object:
        return Jsonb(value) if _holds_object(value) else value

    if isinstance(action.params, dict):
        return {name: given(value) for name, value in action.params.items()}
    return None if action.params is None else [given(value) for value in action.params]


def _holds_object(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_holds_object, value)))


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
