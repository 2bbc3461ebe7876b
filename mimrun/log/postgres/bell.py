"""The bell for a log in PostgreSQL: rung by every append of every process, through LISTEN and NOTIFY."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from typing import Final

import psycopg
from psycopg import sql

from mimrun.errors import MimrunError
from mimrun.log.bell import Bell
from mimrun.log.postgres.database import Database
from mimrun.log.postgres.writer import channel_of

LOOK_AGAIN: Final = 0.1
"""Seconds between two looks while nothing is heard: before the first, and while the server is away."""
HEARING: Final = 1.0
"""Seconds between two looks while the server would tell: a word may get lost, a look does not."""
PAUSE_S: Final = 0.5
"""Seconds between two attempts to listen again."""


class PostgresBell(Bell):
    """Listens on a connection and a thread of its own, from the first follower on.

    Arguments:
        database: where the log is.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(LOOK_AGAIN)
        self._database = database
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._ends: tuple[int, int] | None = None
        self._making = threading.Lock()

    @property
    def hears(self) -> bool:
        """Whether the server would tell of an append."""
        return self._look_again == HEARING

    def wait(self, heard: int, seconds: float) -> None:
        """Wait until an append is heard of, or it is time to look again."""
        with self._making:
            if self._thread is None and not self._closed.is_set():
                self._ends = os.pipe()
                self._thread = threading.Thread(target=self._run, name="mimrun-bell", daemon=True)
                self._thread.start()
        super().wait(heard, seconds)

    def close(self) -> None:
        """Stop listening. May be called twice."""
        with self._making:
            self._closed.set()
            ends, self._ends = self._ends, None
        if ends is not None and self._thread is not None:
            os.write(ends[1], b"!")
            self._thread.join(HEARING + PAUSE_S)
            for end in ends:
                os.close(end)
        self.ring()

    def _run(self) -> None:
        while not self._closed.is_set():
            # Without the server's word there is still the look every now and then.
            with (
                suppress(psycopg.Error, MimrunError, OSError),
                self._database.connect("follower") as db,
            ):
                db.execute(sql.SQL("listen {}").format(sql.Identifier(channel_of(self._database))))
                self._listen(db)
            self._look_again = LOOK_AGAIN
            self._closed.wait(PAUSE_S)

    def _listen(self, db: psycopg.Connection) -> None:
        assert self._ends is not None
        end = self._ends[0]
        self._look_again = HEARING
        self.ring()  # what was appended before this listened
        while not self._closed.is_set():
            ready, _, _ = select.select([db.fileno(), end], [], [])
            if end in ready:
                return
            db.pgconn.consume_input()
            told = False
            while db.pgconn.notifies():
                told = True
            if told:
                self.ring()
