"""Writing the log in SQLite: the one connection of this process that may.

Every transaction and every checkpoint happens under the turnstile, so that among all processes one
connection at a time writes. That also keeps clear of SQLite's WAL-reset bug (3.7.0 to 3.51.2), which needs
one connection to checkpoint while another writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from mimrun.errors import StoreError
from mimrun.log import schema
from mimrun.log.batch import Batch
from mimrun.log.chain import Head, IncidentHead
from mimrun.log.moment import write_moment
from mimrun.log.reader import LogReader, StoredBlobs, read_head
from mimrun.log.store import Projector
from mimrun.log.turnstile import Turnstile

REMEMBERED: Final = 4096
"""States and incident heads kept in memory; dropped when another process has written."""


class LogWriter:
    """Transactions on the log. Used by one thread.

    Arguments:
        path: the database file; it exists and is a log.
        projectors: what to fold entries through.
        clock: gives the present moment.

    Raises:
        StoreError: it cannot be opened for writing.
    """

    def __init__(self, path: Path, projectors: Sequence[Projector], clock: Callable[[], datetime]) -> None:
        self._path = path
        self._projectors = {projector.name: projector for projector in projectors}
        self._clock = clock
        self._head: Head | None = None
        self._states: dict[tuple[str, str], bytes] = {}
        self._incidents: dict[str, IncidentHead] = {}
        self._reader = LogReader(path)
        self.log = self._reader.log
        try:
            self._turnstile = Turnstile(path)
        except OSError as exc:
            self._reader.close()
            raise StoreError(f"the log {path} cannot be written: {exc}; see the modes of its folder") from exc
        try:
            self._db = schema.connect(path, "rw")
        except schema.FAILURES as exc:
            self._reader.close()
            self._turnstile.close()
            raise schema.explain(exc, path, "opened for writing") from exc

    @contextmanager
    def transaction(self) -> Iterator[Batch]:
        """Hold the log for writing; what the batch took is durable when this ends without an error.

        Raises:
            StoreError: it cannot be written. Nothing of the batch was acknowledged.
        """
        self._turnstile.enter()
        try:
            try:
                self._db.execute("begin immediate")
                batch = self._begin()
                yield batch
                self._write(batch)
                self._db.execute("commit")
            except BaseException:
                self._forget()
                if self._db.in_transaction:
                    self._db.rollback()
                raise
            self._remember(batch)
        except schema.FAILURES as exc:
            raise schema.explain(exc, self._path, "written") from exc
        finally:
            self._turnstile.leave()

    def rebuild(self) -> bool:
        """Fold the whole log again; see `Store.rebuild`."""
        with self.transaction() as batch:
            fresh = Batch(self.log, Head(), _Nothing(), self._projectors, self._clock)
            for entry in self._reader.entries():
                fresh.fold(entry, StoredBlobs(self._reader, entry), tuple(self._projectors))
            folded = fresh.change.states
            stored = {(name, key): state for name in self._projectors for key, state in self.states(name)}
            # What catching up has folded in this very transaction is not written yet.
            stored.update(batch.change.states)
            for name, key in stored.keys() - folded.keys():
                self._db.execute("delete from projection where name = ? and key = ?", (name, key))
                batch.change.states.pop((name, key), None)
            batch.change.states.update(
                {place: state for place, state in folded.items() if stored.get(place) != state}
            )
        self._forget()
        return stored == folded

    def incident_head(self, inc: str) -> IncidentHead:
        """The end of an incident's chain."""
        known = self._incidents.get(inc)
        if known is None:
            row = self._db.execute("select iseq, leaf from incident_head where inc = ?", (inc,)).fetchone()
            known = IncidentHead(*row) if row else IncidentHead()
        return known

    def state(self, name: str, key: str) -> bytes | None:
        """A folded state, or None when no entry has touched it."""
        if (name, key) in self._states:
            return self._states[name, key]
        row = self._db.execute(
            "select state from projection where name = ? and key = ?", (name, key)
        ).fetchone()
        return None if row is None else row[0]

    def states(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Folded states whose key starts with the prefix, sorted by key."""
        rows = self._db.execute(
            "select key, state from projection where name = ? and key >= ? order by key", (name, prefix)
        )
        for key, state in rows:
            if not key.startswith(prefix):
                break
            yield key, state

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()
        # The last connection to close checkpoints, so it does that under the lock. If somebody holds the
        # lock, somebody has a connection, and this is not the last.
        held = self._turnstile.try_enter()
        self._db.close()
        if held:
            self._turnstile.leave()
        self._turnstile.close()

    def _begin(self) -> Batch:
        rows = self._db.execute("select size, leaf, ts, frontier from head").fetchall()
        head = read_head(rows, self._path)
        known = self._head is not None and (head.size, head.leaf) == (self._head.size, self._head.leaf)
        if not known:
            self._forget()
        batch = Batch(self.log, head, self, self._projectors, self._clock)
        if not known:
            self._catch_up(batch)
        return batch

    def _catch_up(self, batch: Batch) -> None:
        """Fold what was appended without our projectors: by another program, or before they were made."""
        folded = self._reader.folded()
        size = batch.head().size
        behind = {name: folded.get(name, 0) for name in self._projectors if folded.get(name, 0) < size}
        if not behind:
            return
        for entry in self._reader.entries(after=min(behind.values())):
            names = [name for name, so_far in behind.items() if so_far < entry.seq]
            batch.fold(entry, StoredBlobs(self._reader, entry), names)

    def _write(self, batch: Batch) -> None:
        change, db = batch.change, self._db
        db.executemany(
            "insert into entry (seq, data, leaf, kind, inc, run) values (?, ?, ?, ?, ?, ?)",
            [
                (e.seq, one.data, one.leaf, e.kind.value, e.inc, e.run)
                for one in batch.linked
                for e in (one.entry,)
            ],
        )
        db.executemany(
            'insert into blob ("commit", salt, data) values (?, ?, ?)',
            [(bytes.fromhex(blob.ref.commit), blob.salt, blob.data) for blob in batch.blobs],
        )
        db.executemany(
            "insert into incident_head (inc, iseq, leaf) values (?, ?, ?)"
            " on conflict (inc) do update set iseq = excluded.iseq, leaf = excluded.leaf",
            [(inc, head.iseq, head.leaf) for inc, head in change.incidents.items()],
        )
        db.executemany(
            "insert into projection (name, key, state) values (?, ?, ?)"
            " on conflict (name, key) do update set state = excluded.state",
            [(name, key, state) for (name, key), state in change.states.items()],
        )
        if batch.linked:
            head = change.head
            db.execute(
                "update head set size = ?, leaf = ?, ts = ?, frontier = ?",
                (head.size, head.leaf, write_moment(head.ts), head.frontier.encode()),
            )
        db.executemany(
            "insert into projector (name, size) values (?, ?)"
            " on conflict (name) do update set size = excluded.size where size <> excluded.size",
            [(name, change.head.size) for name in self._projectors],
        )

    def _remember(self, batch: Batch) -> None:
        self._head = batch.change.head
        for kept, new in ((self._incidents, batch.change.incidents), (self._states, batch.change.states)):
            if len(kept) + len(new) > REMEMBERED:
                kept.clear()
        self._incidents.update(batch.change.incidents)
        self._states.update(batch.change.states)

    def _forget(self) -> None:
        self._head = None
        self._incidents.clear()
        self._states.clear()


class _Nothing:
    """What is on record before the first entry."""

    def incident_head(self, inc: str) -> IncidentHead:
        return IncidentHead()

    def state(self, name: str, key: str) -> bytes | None:
        return None

    def states(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        return iter(())
