"""One message to the server that holds several statements, each of which the server knows after the first time.

This is libpq's pipeline, without what psycopg does around each statement: while the log is held locked, every
process on every machine waits for what happens here.
"""

from __future__ import annotations

import select
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

_INT8: Final = 20
_TEXT: Final = 25
_BYTEA: Final = 17
_BINARY: Final = 1
_FAILED: Final = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)


class Statement(NamedTuple):
    """A statement with `$1` in the place of each value.

    Arguments:
        name: what the server knows it by; "" where it is not worth being known.
        text: the statement.
        values: in PostgreSQL's binary form, see `number`, `text`, `numbers`, `texts` and `contents`.
    """

    name: str
    text: str
    values: Sequence[bytes] = ()


class Messages:
    """Sends messages on a connection that nobody else uses meanwhile.

    Arguments:
        db: the connection.
    """

    def __init__(self, db: psycopg.Connection) -> None:
        self._db = db
        self._known: set[str] = set()
        self._unsent = False

    def send(self, statements: Sequence[Statement]) -> list[str | psycopg.Error | None]:
        """Have statements executed, up to the first that fails.

        Returns:
            For each of them what the server says (`INSERT 0 1`), its error, or None where one before it failed.

        Raises:
            psycopg.Error: the connection is gone. What the server did is not known.
        """
        pg = self._db.pgconn
        pg.enter_pipeline_mode()
        new = set[str]()
        try:
            learning = [self._say(statement, new) for statement in statements]
            pg.pipeline_sync()
            self._unsent = bool(pg.flush())
            answers = [
                self._take(statement.name, new=one)
                for statement, one in zip(statements, learning, strict=True)
            ]
            self._result()
        finally:
            if pg.status == pq.ConnStatus.OK:
                pg.exit_pipeline_mode()
        return answers

    def _say(self, statement: Statement, new: set[str]) -> bool:
        """Send a statement; say whether the server is to learn it first."""
        pg, (name, text, values) = self._db.pgconn, statement
        if not name:
            pg.send_query_params(text.encode(), list(values), param_formats=[_BINARY] * len(values))
            return False
        learns = name not in self._known and name not in new
        if learns:
            pg.send_prepare(name.encode(), text.encode())
            new.add(name)
        pg.send_query_prepared(name.encode(), list(values), [_BINARY] * len(values))
        return learns

    def ask(self, script: str) -> list[list[bytes]]:
        """Have a script executed, up to the first statement that fails; give the rows of its last one, as text.

        What is null comes out as nothing.

        Not a pipeline: behind one, the server at times forgets to end a transaction that is idle for too long
        (seen with PostgreSQL 18).

        Raises:
            psycopg.Error: a statement failed, or the connection is gone.
        """
        pg = self._db.pgconn
        pg.send_query(script.encode())
        self._unsent = bool(pg.flush())
        last: pq.abc.PGresult | None = None
        while (result := self._result()) is not None:
            if last is None or last.status not in _FAILED:
                last = result
        if last is None or last.status in _FAILED:
            raise (
                psycopg.OperationalError(pg.get_error_message()) if last is None else error_from_result(last)
            )
        columns = range(last.nfields)
        return [[last.get_value(row, column) or b"" for column in columns] for row in range(last.ntuples)]

    def _take(self, name: str, *, new: bool) -> str | psycopg.Error | None:
        """Give what became of one statement; `new` where the server was to learn it first."""
        if new:
            learned = self._answer()
            if isinstance(learned, str):
                self._known.add(name)
            else:
                # What would have executed it was passed over.
                self._answer()
                return learned
        return self._answer()

    def _answer(self) -> str | psycopg.Error | None:
        """Give what became of one statement."""
        result = self._result()
        if result is None:
            raise psycopg.OperationalError(self._db.pgconn.get_error_message() or "the connection is lost")
        while self._result() is not None:
            pass  # The end of this statement's answer.
        if result.status == pq.ExecStatus.PIPELINE_ABORTED:
            return None
        if result.status in _FAILED:
            return error_from_result(result)
        return (result.command_status or b"").decode()

    def _result(self) -> pq.abc.PGresult | None:
        """Wait for the next part of the answer."""
        pg = self._db.pgconn
        if self._unsent or pg.is_busy():
            self._wait(pg)
        return pg.get_result()

    def _wait(self, pg: pq.abc.PGconn) -> None:
        """Wait until a part of the answer is here, and go on sending meanwhile."""
        poller = select.poll()
        while True:
            self._unsent = bool(pg.flush())
            poller.register(pg.socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            poller.poll()
            pg.consume_input()
            if not pg.is_busy():
                return


def number(value: int) -> bytes:
    """Write an int8."""
    return struct.pack(">q", value)


def text(value: str) -> bytes:
    """Write a text."""
    return value.encode()


def numbers(values: Sequence[int]) -> bytes:
    """Write an int8[]."""
    return _array(_INT8, [number(value) for value in values])


def texts(values: Sequence[str]) -> bytes:
    """Write a text[]."""
    return _array(_TEXT, [value.encode() for value in values])


def contents(values: Sequence[bytes]) -> bytes:
    """Write a bytea[]."""
    return _array(_BYTEA, values)


def _array(kind: int, values: Sequence[bytes]) -> bytes:
    """Write an array: dimensions, whether there are nulls, the kind, length and lower bound, then the elements."""
    if not values:
        return struct.pack(">iii", 0, 0, kind)
    parts = [struct.pack(">iiiii", 1, 0, kind, len(values), 1)]
    for value in values:
        parts += [struct.pack(">i", len(value)), value]
    return b"".join(parts)
