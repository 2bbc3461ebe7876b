"""Reading the log in SQLite: a connection that cannot write, pages instead of long transactions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mimrun.errors import LogError, StoreError, TamperError
from mimrun.log import schema
from mimrun.log.chain import Claim, Head, IncidentHead, StoredBlob, StoredRow, believe, is_committed
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.merkle import Frontier
from mimrun.log.moment import read_moment

PAGE: Final = 1000
"""Rows fetched at once. A reader holds no transaction between pages, so it never holds up a writer."""


class LogReader:
    """The log as it is stored; never changes it. Safe from several threads.

    Arguments:
        path: the database file.
        frozen: True for a copy on read-only media: nothing may write it while it is open.

    Raises:
        StoreError: there is no such file, or it is not a log that this version can read.
    """

    def __init__(self, path: Path, *, frozen: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        if not path.exists():
            raise StoreError(f"there is no log at {path}; `mimrun init` makes one")
        try:
            self._db: sqlite3.Connection | None = schema.connect(path, "frozen" if frozen else "ro")
        except schema.FAILURES as exc:
            raise schema.explain(exc, path, "opened") from exc
        try:
            self.log = schema.check_format(self._db, path)
        except schema.FAILURES as exc:
            self.close()
            raise schema.explain(exc, path, "read") from exc
        except StoreError:
            self.close()
            raise

    def rows(self, after: int = 0, *, inc: str | None = None) -> Iterator[StoredRow]:
        """Every stored entry behind `after`, or those of an incident, in order, unchecked."""
        statement = "select seq, data, leaf, kind, inc, run from entry where seq > ?"
        statement += (
            " order by seq limit ?" if inc is None else " and inc = ? and inc <> '' order by seq limit ?"
        )
        given = [] if inc is None else [inc]
        size = PAGE
        while True:
            try:
                page = self.query(statement, after, *given, size)
            except StoreError:
                if size == 1:
                    raise
                # Somewhere in this page the file is damaged: go on one by one, right up to the place.
                size = 1
                continue
            yield from map(StoredRow._make, page)
            if not page:
                return
            if page[-1][0] <= after:
                raise StoreError(f"the log {self.path} is damaged: entries behind {after} are out of order")
            after = page[-1][0]

    def leaves(self, size: int) -> Iterator[bytes]:
        """The stored leaf hashes of the first `size` entries, unchecked."""
        after = 0
        while after < size and (
            page := self.query(
                "select seq, leaf from entry where seq > ? and seq <= ? order by seq limit ?",
                after,
                size,
                PAGE,
            )
        ):
            for _, leaf in page:
                yield leaf
            after = page[-1][0]

    def stored_blob(self, commit: str) -> StoredBlob | None:
        """The blob stored under a commitment, unchecked."""
        rows = self.query('select salt, data from blob where "commit" = ?', bytes.fromhex(commit))
        return StoredBlob(*rows[0]) if rows else None

    def keeps_blobs(self) -> bool:
        """Blobs are in this file."""
        return True

    def claim(self) -> Claim:
        """What the file says about the end of the log, apart from the entries."""
        # One statement sees one moment, also while others append.
        rows = self.query(
            "select size, head.leaf, ts, frontier, (select count(*) from blob), inc, iseq, incident_head.leaf"
            " from head left join incident_head"
        )
        head = read_head([row[:4] for row in rows[:1]], self.path)
        incidents = {inc: IncidentHead(iseq, leaf) for *_, inc, iseq, leaf in rows if inc is not None}
        return Claim(head.size, head.leaf, head.root, incidents, rows[0][4])

    def faults(self) -> tuple[str, ...]:
        """What SQLite finds wrong with the file: pages, and indexes that do not fit their tables."""
        found = [str(row[0]) for row in self.query("pragma integrity_check(20)")]
        faults = [] if found == ["ok"] else found
        actual = {row[0]: row[1] for row in self.query("select name, sql from sqlite_schema")}
        expected = schema.definitions()
        faults += [
            f"{name} is not defined as it was made"
            for name in sorted(actual.keys() | expected.keys(), key=str)
            if actual.get(name) != expected.get(name)
        ]
        return tuple(faults)

    def size(self) -> int:
        """How many entries there are now."""
        return int(self.query("select coalesce(max(seq), 0) from entry")[0][0])

    def head(self) -> Head:
        """The end of the log as it is now."""
        return read_head(self.query("select size, leaf, ts, frontier from head"), self.path)

    def entries(
        self,
        *,
        run: str | None = None,
        inc: str | None = None,
        after: int = 0,
        kinds: Collection[Kind] | None = None,
    ) -> Iterator[LogEntry]:
        """Entries behind `after`; see `Store.entries`."""
        where, given = ["seq > ?"], list[object]()
        if run is not None:
            # The second condition lets SQLite use the partial index.
            where, given = [*where, "run = ?", "run <> ''"] if run else [*where, "run = ?"], [*given, run]
        if inc is not None:
            where, given = [*where, "inc = ?", "inc <> ''"] if inc else [*where, "inc = ?"], [*given, inc]
        if kinds is not None:
            where = [*where, f"kind in ({', '.join('?' * len(kinds))})"]
            given += [kind.value for kind in kinds]
        statement = f"select seq, data, leaf from entry where {' and '.join(where)} order by seq limit ?"  # noqa: S608 - only our own words
        while page := self.query(statement, after, *given, PAGE):
            for row in page:
                yield believe(StoredRow(*row))
            after = page[-1][0]

    def entry(self, seq: int) -> LogEntry:
        """One entry; see `Store.entry`."""
        rows = self.query("select seq, data, leaf from entry where seq = ?", seq)
        if not rows:
            raise LogError(f"the log {self.path} has no entry {seq}; it has 1 to {self.size()}")
        return believe(StoredRow(*rows[0]))

    def blob(self, entry: LogEntry, name: str) -> bytes | None:
        """The content of one of an entry's blobs; see `Store.blob`."""
        for ref in entry.blobs:
            if ref.n == name:
                stored = self.stored_blob(ref.commit)
                if stored is None:
                    raise TamperError(f"blob {name!r} of log entry {entry.seq} is missing")
                if not is_committed(stored, ref.commit):
                    raise TamperError(f"blob {name!r} of log entry {entry.seq} is not what was recorded")
                return stored.data
        return None

    def state(self, name: str, key: str) -> bytes | None:
        """A folded state, or None when no entry has touched it."""
        rows = self.query("select state from projection where name = ? and key = ?", name, key)
        return rows[0][0] if rows else None

    def states(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Folded states whose key starts with the prefix, sorted by key."""
        statement = "select key, state from projection where name = ? and key >= ? order by key limit ?"
        first = prefix
        while page := self.query(statement, name, first, PAGE):
            for key, state in page:
                if not key.startswith(prefix):
                    return
                yield key, state
            first = page[-1][0] + "\0"

    def is_folded(self, name: str) -> bool:
        """Whether a projector has folded every entry."""
        statement = "select (select size from projector where name = ?), (select max(seq) from entry)"
        ((folded, size),) = self.query(statement, name)
        return bool(folded == size)

    def folded(self) -> dict[str, int]:
        """How many entries each projector has folded."""
        return dict(self.query("select name, size from projector"))

    def query(self, statement: str, *given: object) -> list[Any]:
        """All rows of a short query.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._lock:
            if self._db is None:
                raise StoreError(f"the log {self.path} has been closed")
            try:
                return self._db.execute(statement, given).fetchall()
            except schema.FAILURES as exc:
                raise schema.explain(exc, self.path, "read") from exc

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None


class StoredBlobs(Mapping[str, bytes]):
    """An entry's blobs by name, each fetched when it is asked for; a missing one is not among them."""

    def __init__(self, reader: LogReader, entry: LogEntry) -> None:
        self._reader = reader
        self._commits = {ref.n: ref.commit for ref in entry.blobs}

    def __getitem__(self, name: str) -> bytes:
        stored = self._reader.stored_blob(self._commits[name])
        if stored is None:
            raise KeyError(name)
        return stored.data

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._commits if name in self)

    def __contains__(self, name: object) -> bool:
        return name in self._commits and self._reader.stored_blob(self._commits[str(name)]) is not None

    def __len__(self) -> int:
        return sum(1 for _ in self)


def read_head(rows: Sequence[tuple[int, str, str, bytes]], path: Path) -> Head:
    """Read the row that holds the end of the log.

    Raises:
        TamperError: there is no such row, or it does not make sense.
    """
    try:
        ((size, leaf, ts, frontier),) = rows
        return Head(leaf, read_moment(ts), Frontier.decode(size, frontier))
    except (ValueError, TypeError) as exc:
        raise TamperError(
            f"the end of the log {path} is not readable ({exc}); check with `mimrun log verify`"
        ) from exc
