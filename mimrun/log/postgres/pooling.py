"""Poolers between us and the server, such as PgBouncer: one that shares connections between transactions is refused.

What is said of a session (its schema, its timeouts, what it listens to, the locks and statements that it knows) would
hold there for somebody else's transactions, and not for ours.
"""

from __future__ import annotations

import json
import select
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

import psycopg

from mimrun.errors import StoreError

ROUNDS: Final = 15
"""So often it is looked whether connections are shared: where others use the pooler, one look may miss it."""
PATIENCE_S: Final = 1.0
"""Seconds for which a second connection is waited for. A pooler that has none left keeps the first one for us."""

_NONE: Final = -1
_ANY: Final = 0
_SET: Final = (
    "select set_config(name, value, false) from json_each_text(%s::json) as setting (name, value)"
    " where %s in (0, pg_backend_pid())"
)
_WHO: Final = "select pg_backend_pid()"
_BEGIN: Final = b"begin; select pg_backend_pid()"
_COMMIT: Final = b"commit; select 0"


def set_session(
    db: psycopg.Connection,
    settings: Mapping[str, object],
    another: Callable[[], psycopg.Connection],
    name: str,
) -> None:
    """Give a connection the server's settings that are ours, once it is sure that the session is.

    A pooler refuses settings among the parameters of a connection, or leaves them out. It gives away that it is one: by
    another number for the session than the server has.

    Arguments:
        db: the connection, just made.
        settings: names and values.
        another: gives another connection.
        name: the database, for the message.

    Raises:
        StoreError: sessions are shared.
        psycopg.Error: the server cannot be asked, or does not take a setting.
    """
    ours = json.dumps({setting: str(value) for setting, value in settings.items()})
    if not db.execute(_SET, (ours, db.info.backend_pid), prepare=False).fetchall():
        refuse_sharing(db, another, name)
        db.execute(_SET, (ours, _ANY), prepare=False)


def refuse_sharing(db: psycopg.Connection, another: Callable[[], psycopg.Connection], name: str) -> None:
    """See that a pooler keeps a connection for us, also between transactions.

    Another connection takes a session of the server by a transaction, and lets go of it, again and again. Where it is
    ever given ours, or we are ever given another one than at first, sessions are shared.

    Arguments:
        db: a connection through the pooler, between two transactions.
        another: gives another one.
        name: the database, for the message.

    Raises:
        StoreError: they are shared.
        psycopg.Error: the server cannot be asked.
    """
    mine = _server_of(db)
    with closing(another()) as other:
        for _ in range(ROUNDS):
            begun = _ask(other, _BEGIN)
            if begun is None:
                return
            if begun in (mine, _NONE) or _server_of(db) != mine:
                raise _refusal(name)
            _ask(other, _COMMIT)
            if _server_of(db) != mine:
                raise _refusal(name)


def _refusal(name: str) -> StoreError:
    return StoreError(
        f"the log {name} cannot be used through this pooler: it shares the server's connections between"
        " transactions; set pool_mode = session for this database in PgBouncer (for mimrun's role alone:"
        " in [users]), or name the server itself"
    )


def _server_of(db: psycopg.Connection) -> int:
    """Give the number of the server's session that we are connected to."""
    ((pid,),) = db.execute(_WHO, prepare=False).fetchall()
    return int(pid)


def _ask(db: psycopg.Connection, statements: bytes) -> int | None:
    """Give the last number in an answer; `_NONE` where the pooler allows no transactions, None without an answer."""
    pg, end, found = db.pgconn, time.monotonic() + PATIENCE_S, None
    pg.send_query(statements)
    while (left := end - time.monotonic()) > 0 and select.select([pg.socket], [], [], left)[0]:
        pg.consume_input()
        while not pg.is_busy():
            result = pg.get_result()
            if result is None:
                return found
            if result.error_message:
                return _NONE if b"statement pooling" in result.error_message else None
            found = int(result.get_value(0, 0) or 0) if result.ntuples else found
    return None
