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

from mimrun.errors import StoreError
from mimrun.log.batch import Batch
from mimrun.log.blob_key import BlobKey, NoKey
from mimrun.log.chain import IncidentHead
from mimrun.log.entry import Draft
from mimrun.log.moment import write_moment
from mimrun.log.moved import goes_on_elsewhere
from mimrun.log.reading import read_head
from mimrun.log.sqlite import schema
from mimrun.log.sqlite.reader import LogReader
from mimrun.log.sqlite.turnstile import Turnstile
from mimrun.log.store import Projector
from mimrun.log.writing import Sent, Writing


class LogWriter(Writing):
    """Transactions on the log in an SQLite file. Used by one thread.

    Arguments:
        path: the database file; it exists and is a log.
        projectors: what to fold entries through.
        clock: gives the present moment.
        blob_key: the key of its blobs; that of the file beside it where none is given.

    Raises:
        StoreError: it cannot be opened for writing.
    """

    def __init__(
        self,
        path: Path,
        projectors: Sequence[Projector],
        clock: Callable[[], datetime],
        blob_key: BlobKey | NoKey | None = None,
    ) -> None:
        super().__init__(LogReader(path, blob_key=blob_key), projectors)
        self._path = path
        self._clock = clock
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
    def transaction(self, coming: Sequence[Draft] = ()) -> Iterator[Batch]:
        """Hold the log for writing; what the batch took is durable when this ends without an error.

        Raises:
            StoreError: it cannot be written. Nothing of the batch was acknowledged.
        """
        self._turnstile.enter()
        try:
            try:
                self._db.execute("begin immediate")
                rows = self._db.execute("select size, leaf, ts, frontier from head").fetchall()
                self._refuse_moved()
                batch = self._begin(read_head(rows, str(self._path)), self._clock)
                yield batch
                self._write(batch)
                self._db.execute("commit")
            except BaseException:
                self._forget()
                if self._db.in_transaction:
                    self._db.rollback()
                raise
            self._remember(batch)
            if batch.redactions:
                # What the write-ahead log still has of it goes at once, unless somebody is reading there.
                self._db.execute("pragma wal_checkpoint(truncate)").fetchall()
        except schema.FAILURES as exc:
            raise schema.explain(exc, self._path, "written") from exc
        finally:
            self._turnstile.leave()

    def has(self, sent: Sent) -> bool:
        """SQLite answers a commit in the same call, so that nothing is ever without an answer."""
        raise AssertionError(f"no answer is missing: {sent}")

    def keep(self, size: int, note: str) -> None:
        """Store a checkpoint; see `Writing.keep`."""
        self._turnstile.enter()
        try:
            self._db.execute(
                "insert into checkpoint (size, note) values (?, ?) on conflict do nothing", (size, note)
            )
        except schema.FAILURES as exc:
            raise schema.explain(exc, self._path, "written") from exc
        finally:
            self._turnstile.leave()

    def stored_incident_head(self, inc: str) -> IncidentHead:
        """The end of an incident's chain on record."""
        row = self._db.execute("select iseq, leaf from incident_head where inc = ?", (inc,)).fetchone()
        return IncidentHead(*row) if row else IncidentHead()

    def stored_state(self, name: str, key: str) -> bytes | None:
        """A folded state on record."""
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

    def drop(self, name: str, key: str) -> None:
        """Remove a state that no entry has touched."""
        self._db.execute("delete from projection where name = ? and key = ?", (name, key))

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

    def _refuse_moved(self) -> None:
        """Refuse to add to a log that goes on elsewhere.

        Raises:
            StoreError: it does; says where.
            TamperError: it is marked so, and no entry says it.
        """
        if self._db.execute("select 1 from origin where moved <> ''").fetchone():
            raise goes_on_elsewhere(self._reader)

    def _unmark(self) -> None:
        """Take away a mark that says that the log goes on elsewhere."""
        self._turnstile.enter()
        try:
            self._db.execute("update origin set moved = ''")
        except schema.FAILURES as exc:
            raise schema.explain(exc, self._path, "written") from exc
        finally:
            self._turnstile.leave()

    def _write_blobs(self, batch: Batch) -> None:
        db = self._db
        for key in batch.keys.values():
            if not db.execute("select 1 from data_key where id = ?", (key.id,)).fetchone():
                schema.insert_key(db, key)
        db.executemany(
            'insert into blob ("commit", key, data) values (?, ?, ?)',
            [(blob.commit, blob.key, blob.data) for blob in batch.blobs],
        )
        if batch.redactions:
            schema.erase(db, [(bytes.fromhex(said.commit), said.seq) for said in batch.redactions])

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
        self._write_blobs(batch)
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
