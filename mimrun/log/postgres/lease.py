"""Leases as rows of the database: one worker per run, on whichever machine.

The row says who executes a run, and until when. It is renewed on a connection and a thread of its own, so
that neither a long append nor a slow target keeps it from being renewed. A worker that cannot renew it begins
nothing any more, well before anybody may take it; and what it writes then is refused by the epoch in the log.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Protocol, Self

import psycopg

from mimrun.errors import LeaseError, MimrunError
from mimrun.log.holder import Holder, Process, boot_time
from mimrun.log.postgres.database import Database, explain
from mimrun.log.tenure import LeaseTimes, Row, Tenure

_COLUMNS: Final = "epoch, held, expires_at, host, boot, pid, started, seen, doubt"
_MAKE: Final = (
    "insert into lease (run, epoch, held, expires_at, host, boot, pid, started, seen, doubt)"
    " values (%s, 0, false, 'epoch', '', '', 0, 0, 0, 0) on conflict (run) do nothing"
)
_TAKE: Final = (
    "update lease set epoch = %s, held = true, expires_at = clock_timestamp() + make_interval(secs => %s),"
    " host = %s, boot = %s, pid = %s, started = %s, seen = 0, doubt = %s where run = %s"
)
_RENEW: Final = (
    "update lease set expires_at = clock_timestamp() + make_interval(secs => %s), seen = %s"
    " where run = %s and epoch = %s and held returning epoch"
)
_RELEASE: Final = "update lease set held = false where run = %s and epoch = %s"
_SEEN_S: Final = 1.0
"""So often at most others are told up to where this worker has looked at the log."""


class Reader(Protocol):
    """What leases are looked at with."""

    def query(self, statement: str, *given: object) -> list[Any]:
        """All rows of a short query, with `?` in the place of each value."""


class RowLease:
    """The right to execute one run, as long as it is renewed; see `RowLeases.take`."""

    def __init__(self, leases: RowLeases, run: str, db: psycopg.Connection) -> None:
        self.run, self.epoch, self.doubt = run, 0, 0
        self._leases, self._times, self._clock = leases, leases.times, leases.clock
        self._tenure = Tenure(leases.times, leases.clock)
        self._db: psycopg.Connection | None = db
        self._seen = self._told = 0
        self._now: tuple[datetime, float] | None = None
        self._done, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{run}", daemon=True)

    def held(self) -> bool:
        """Say whether something may still be begun. No I/O."""
        return self._tenure.held()

    def note_seen(self, seq: int) -> None:
        """Let others see up to which entry this worker has looked at the log: it is alive, and knows."""
        if seq > self._seen:
            self._seen = seq
            self._wake.set()

    def quarantine(self, epoch: int, begun: datetime, allowed_ms: int) -> float:
        """Give the seconds for which an intent that was left open may still be acted upon by who wrote it.

        Arguments:
            epoch: of the worker that wrote it.
            begun: when it was recorded, by the database's clock.
            allowed_ms: how long it was given.

        Returns:
            0.0 where that worker let go of its lease, or provably runs no more.
        """
        if epoch > self.doubt or self._now is None:
            return 0.0
        taken, at = self._now
        now = taken + timedelta(seconds=self._clock() - at)
        return max(0.0, (begun + timedelta(milliseconds=allowed_ms) - now).total_seconds())

    def release(self) -> None:
        """Let go of the lease. Calling it again does nothing."""
        self._tenure.end()
        if not self._done.is_set():
            self._done.set()
            self._wake.set()
            if self._thread.is_alive():
                self._thread.join()
            # Where nobody can be told, the lease ends by itself.
            with suppress(psycopg.Error, MimrunError):
                self._connected().execute(_RELEASE, (self.run, self.epoch))
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def begin(self, at_least: int) -> None:
        """Take the row, or refuse to; called once."""
        me = self._leases.me
        db = self._connected()
        with db.transaction():
            db.execute(_MAKE, (self.run,))
            rows = db.execute(
                f"select {_COLUMNS}, clock_timestamp() from lease where run = %s for update".encode(),  # noqa: S608 - our own words
                (self.run,),
            ).fetchall()
            *told, now = rows[0]
            row, holder, (epoch, doubt) = _read(told, me.boot)
            if not row.is_free(now, self._times):
                raise LeaseError(_refusal(self.run, holder.process, row, now, self._times))
            self.epoch = max(at_least, epoch) + 1
            # Whose end nobody has seen may still be at work, however often the lease goes on from here.
            self.doubt = epoch if row.held and not row.gone else doubt
            sent = self._clock()
            mine = (me.host, me.boot, me.pid, me.started)
            db.execute(_TAKE, (self.epoch, self._times.ttl_s, *mine, self.doubt, self.run))
        self._now = (now, self._clock())
        self._tenure.renewed(sent)
        self._thread.start()

    def _keep(self) -> None:
        """Renew the lease until it is let go of, or over."""
        pause = self._times.beat_s
        renewed = self._clock()
        while self.held():
            self._wake.wait(pause)
            self._wake.clear()
            # A word of what was seen is not urgent: at most one a second.
            if self._done.wait(max(0.0, min(pause, renewed + _SEEN_S - self._clock()))):
                return
            if self._renew():
                pause, renewed = self._times.beat_s, self._clock()
            else:
                pause = self._times.beat_s / 10

    def _renew(self) -> bool:
        sent, seen = self._clock(), self._seen
        try:
            rows = (
                self._connected().execute(_RENEW, (self._times.ttl_s, seen, self.run, self.epoch)).fetchall()
            )
        except (psycopg.Error, MimrunError):
            self._drop()
            return False
        if not rows:
            self._tenure.end()
            return False
        self._tenure.renewed(sent)
        return True

    def _connected(self) -> psycopg.Connection:
        if self._db is None:
            self._db = self._leases.connect()
        return self._db

    def _drop(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


class RowLeases:
    """The leases of a log in PostgreSQL.

    Arguments:
        database: where it is.
        reader: what leases are looked at with.
        me: the process that takes them.
        times: how long they last.
        clock: seconds that only grow, also while the machine is suspended.
    """

    def __init__(
        self,
        database: Database,
        reader: Reader,
        me: Process,
        *,
        times: LeaseTimes = LeaseTimes(),  # noqa: B008 - it is frozen
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self.me, self.times, self.clock = me, times, clock
        self._database, self._reader = database, reader

    def take(self, run: str, *, at_least: int = 0) -> RowLease:
        """Take a run's lease.

        Arguments:
            at_least: the highest epoch that the log has for this run; ours is greater.

        Raises:
            LeaseError: another process holds it, or may still be at work.
            StoreError: the database cannot be asked.
        """
        try:
            lease = RowLease(self, run, self.connect())
        except psycopg.Error as exc:
            raise explain(exc, self._database.name, "asked for a lease") from exc
        try:
            lease.begin(at_least)
        except psycopg.Error as exc:
            lease.release()
            raise explain(exc, self._database.name, "asked for a lease") from exc
        except BaseException:
            lease.release()
            raise
        return lease

    def is_held(self, run: str) -> bool:
        """Say whether some process executes this run now, or may still be at work on it."""
        return self.holder_of(run) is not None

    def holder_of(self, run: str) -> Holder | None:
        """Say which process executes a run now; None where none does."""
        rows = self._reader.query(f"select {_COLUMNS}, clock_timestamp() from lease where run = ?", run)  # noqa: S608 - our own words
        if not rows:
            return None
        *told, now = rows[0]
        row, holder, _ = _read(told, self.me.boot)
        return None if row.is_free(now, self.times) else holder

    def connect(self) -> psycopg.Connection:
        """Give a connection for one lease. An answer that does not come in time is none.

        Raises:
            psycopg.Error: the server cannot be reached.
        """
        milliseconds = max(100, int(self.times.fence_s * 1000))
        return self._database.connect("lease", statement_timeout=milliseconds, synchronous_commit="on")


def _read(told: list[Any], here: str) -> tuple[Row, Holder, tuple[int, int]]:
    epoch, held, expires_at, host, boot, pid, started, seen, doubt = told
    process = Process(pid, started, boot, host)
    return Row(held, expires_at, process.is_gone(here)), Holder(process, seen), (epoch, doubt)


def _refusal(run: str, holder: Process, row: Row, now: datetime, times: LeaseTimes) -> str:
    free = row.expires_at + timedelta(seconds=times.grace_s)
    if row.expires_at > now:
        return (
            f"run {run} is being executed by process {holder.pid} on {holder.host};"
            f" follow it with `mimrun status {run} --follow`"
        )
    return (
        f"run {run}: process {holder.pid} on {holder.host} does not answer any more; the run can be taken over"
        f" in {(free - now).total_seconds():.0f} s"
    )
