"""What is on disk, and waiting until what was committed is.

Transactions that append are committed without waiting for the disk, so that the log is locked for as long only
as the processors need. Then a transaction that does nothing is committed and waited for: PostgreSQL writes its
log in one order, so all that was committed before is then on disk too, and where standbys are waited for, on
theirs. Such commits of many sessions share one flush.

Nobody is told of an entry before that: neither who appended it, nor who reads it.
"""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg.errors import Diagnostic

FLUSH: Final = "select pg_logical_emit_message(true, 'mimrun', '')"
"""Writes an empty message for nobody, in a transaction of its own. Waits for the disk when that is committed."""

SIZE: Final = "select coalesce(max(size), 0) from head"
"""How many entries there are, whether on disk or not."""

SETTLED: Final = (
    "select (select coalesce(max(size), 0) from head), case when pg_is_in_recovery() then null"
    " else pg_logical_emit_message(true, 'mimrun', '')::text end"
)
"""How many entries there are, told when they are on disk. What a standby knows is on its primary's disk."""

WAIT: Final = (
    "select set_config('synchronous_commit', 'on', false)"
    " where current_setting('synchronous_commit') <> 'remote_apply'"
)
"""Has commits of this session wait for the disk, and for standbys that the server waits for.

What is stronger (a standby must have applied it) is left as it is.
"""


class Flushed:
    """How many entries this process knows to be on disk. Safe from several threads."""

    def __init__(self) -> None:
        self.size = 0

    def note(self, size: int) -> None:
        """Take note that so many are."""
        # Two threads at once may lose the larger of two true numbers, never make up one.
        self.size = max(self.size, size)

    def forget(self) -> None:
        """Take nothing for granted any more: the server that comes back may be another one."""
        self.size = 0


class Vigil:
    """Sees whether an administrator ended the waiting for a standby: the server then takes it for waited for.

    Arguments:
        db: the connection.
    """

    def __init__(self, db: psycopg.Connection) -> None:
        self.cut_short = False
        db.add_notice_handler(self._hear)

    def _hear(self, notice: Diagnostic) -> None:
        # The words are in the server's language, and their code is that of any warning.
        if notice.source_function == "SyncRepWaitForLSN":
            self.cut_short = True
