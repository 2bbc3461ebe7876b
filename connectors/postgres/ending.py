"""Ending what the server still does for a session whose client is gone."""

from __future__ import annotations

import time
from typing import Final

from connectors.postgres.session import TICK, Said, Session, mark_of
from mimrun.connector import Call

FIND: Final = """
select pid, backend_start::text from pg_stat_activity
where starts_with(application_name, 'mimrun-') and right(application_name, 16) = %s and pid <> pg_backend_pid()
"""
CANCEL: Final = "select pg_cancel_backend(%s)"
TERMINATE: Final = "select pg_terminate_backend(%s)"
PATIENCE: Final = 2.0
"""Seconds that a server process gets to end by itself behind a cancellation, and then behind its end."""

Process = tuple[int, str]
"""A server process: its number, and when it began, so that another one of that number is not taken for it."""


def end(session: Session, call: Call) -> str:
    """Cancel, and then end, the server processes that work at a step's key, and say what is proven of that.

    1. They are found by their application name, which carries the key's mark.
    2. A cancellation lets the server answer, and notice that nobody listens any more.
    3. What is still there is ended, where the role may: it must be the role that began it, or a member of it, or
       of pg_signal_backend.
    """
    found = _of_key(session, call)
    if not found:
        return f"no process of the server {session.where} works at it any more"
    why = ""
    for statement in (CANCEL, TERMINATE):
        try:
            for pid, began in found:
                if (pid, began) in _of_key(session, call):
                    _ask(session, statement, pid, call)
        except Said as exc:
            why = f": {exc}"
        if _wait(session, call, found):
            return f"server process {_named(found)} is proven ended, and what it had not committed is rolled back"
    return f"server process {_named(found)} could not be ended{why}"


def _of_key(session: Session, call: Call) -> set[Process]:
    with session.asking(call) as connection:
        return {(int(str(pid)), str(began)) for pid, began in connection.execute(FIND, (mark_of(call.key),))}


def _ask(session: Session, statement: str, pid: int, call: Call) -> None:
    with session.asking(call) as connection:
        connection.execute(statement.encode(), (pid,))


def _wait(session: Session, call: Call, found: set[Process]) -> bool:
    until = time.monotonic() + min(PATIENCE, call.left())
    while time.monotonic() < until:
        if not found & _of_key(session, call):
            return True
        call.stop.wait(TICK)
    return False


def _named(found: set[Process]) -> str:
    return ", ".join(str(pid) for pid, _ in sorted(found))
