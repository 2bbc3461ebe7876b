"""The mark that says that a log goes on elsewhere, and the entry that it counts by.

The mark is one value beside the entries, and whoever can write to the database can set it. So it counts only where the
last entry, but for `log.heads`, is a `log.moved` that names the same place.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from mimrun.errors import StoreError, TamperError
from mimrun.log.chain import StoredRow, believe
from mimrun.log.kinds import LogHeads, LogMoved

_LAST: Final = 4
"""Entries at the end that are looked at together."""


class Tables(Protocol):
    """The log's tables, as far as they are looked at here."""

    @property
    def place(self) -> str:
        """The database, as messages name it."""

    def query(self, statement: str, *given: object) -> list[Any]:
        """All rows of a short query."""


def where_it_goes_on(tables: Tables) -> str:
    """Give where a log goes on, when it was taken to another place; "" where it goes on here.

    Raises:
        TamperError: it is marked so, and no entry says it: somebody sends those who write elsewhere.
    """
    rows = tables.query("select moved from origin")
    moved = str(rows[0][0]) if rows else ""
    if moved and (moved == tables.place or said_to_move(tables) != moved):
        raise TamperError(
            f"the log {tables.place} is marked as one that goes on at {moved}, and its last entry does not say so:"
            " somebody changed the database. Keep a copy of it; `mimrun log rebuild` takes the mark away. Where a copy"
            " back into this log was broken off, `mimrun store copy` goes on with it"
        )
    return moved


def said_to_move(tables: Tables) -> str:
    """Give where a log goes on by the word of its last entry, heads aside; "" where that says nothing of it.

    Raises:
        TamperError: that entry is not what was recorded.
    """
    statement = "select seq, data, leaf from entry where seq < ? order by seq desc limit ?"
    before = 2**53
    while rows := tables.query(statement, before, _LAST):
        for row in rows:
            body = believe(StoredRow(*row)).body
            if not isinstance(body, LogHeads):
                return body.to if isinstance(body, LogMoved) else ""
        before = rows[-1][0]
    return ""


def goes_on_elsewhere(tables: Tables) -> StoreError:
    """Say why nothing is added to a log that is marked as one that goes on elsewhere.

    Raises:
        TamperError: no entry says that it does.
    """
    moved = where_it_goes_on(tables)
    return StoreError(
        f"the log {tables.place} is not added to any more: it goes on at {moved}; set MIMRUN_STORE"
    )
