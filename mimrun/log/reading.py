"""Reading the log's tables, which are laid out alike in every database.

Rows come page by page, so that a long reading never holds a transaction open behind which writers wait.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from mimrun.errors import BlobKeyError, ErasedError, LogError, StoreError, TamperError
from mimrun.log.blob_key import BlobKey, BlobKeyPlace, NoKey
from mimrun.log.chain import (
    Claim,
    Head,
    IncidentHead,
    StoredBlob,
    StoredCheckpoint,
    StoredRow,
    Unreadable,
    believe,
    is_committed,
    read_or_tell,
)
from mimrun.log.cipher import EncryptedBlob
from mimrun.log.data_keys import DataKeys
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.merkle import Frontier, leaf_hash
from mimrun.log.moment import read_moment
from mimrun.log.moved import where_it_goes_on
from mimrun.log.redaction import Redaction, redaction_of

PAGE: Final = 1000
"""Rows fetched at once."""


class Reading(ABC):
    """The log as it is stored; never changes it. Safe from several threads.

    Arguments:
        place: the database, as messages name it.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.log = ""
        self.key: BlobKey | NoKey = NoKey(f"the log {place} was opened without the key of its blobs")
        """What the data keys are wrapped by, if that is at hand."""
        self._keys: DataKeys | None = None

    @abstractmethod
    def query(self, statement: str, *given: object) -> list[Any]:
        """All rows of a short query.

        Arguments:
            statement: with `?` in the place of each value.
            given: the values.

        Raises:
            StoreError: the database cannot be read.
        """

    @abstractmethod
    def at_one_moment(self) -> AbstractContextManager[Reading]:
        """The log as it is at one moment, for as long as a `with` lasts, on a connection of its own.

        Nobody who appends waits for it; it is there for what is over soon.

        Raises:
            StoreError: the database cannot be read.
        """

    @abstractmethod
    def faults(self) -> tuple[str, ...]:
        """What the database itself finds wrong with the log."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the database. May be called twice."""

    @property
    def keys(self) -> DataKeys:
        """What blobs are encrypted and decrypted with.

        Raises:
            BlobKeyError: the key that everything else is wrapped by is not at hand; says what to do.
        """
        if self._keys is None:
            raise BlobKeyError(self.keyless)
        return self._keys

    @property
    def blob_key(self) -> BlobKey:
        """What the data keys are wrapped by.

        Raises:
            BlobKeyError: it is not at hand; says what to do.
        """
        if isinstance(self.key, NoKey):
            raise BlobKeyError(self.keyless)
        return self.key

    @property
    def keyless(self) -> str:
        """Why no blob can be read and nothing be added, and what to do; "" where the key is at hand."""
        return self.key.why if isinstance(self.key, NoKey) else ""

    def take_key(self, blob_key: BlobKeyPlace | BlobKey | NoKey) -> None:
        """Take the key of the log's blobs, if it is at hand and the right one. Without, entries can be read.

        Raises:
            StoreError: the log does not say which key is its own.
        """
        if isinstance(blob_key, NoKey):
            self.key = blob_key
            return
        try:
            key = blob_key.read() if isinstance(blob_key, BlobKeyPlace) else blob_key
            keys = DataKeys(key.key, self.query)
            keys.check(self.place, key.source)
        except BlobKeyError as exc:
            self.key = NoKey(str(exc))
        else:
            self.key, self._keys = key, keys

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
                raise StoreError(f"the log {self.place} is damaged: entries behind {after} are out of order")
            after = page[-1][0]

    def leaves(self, size: int, after: int = 0) -> Iterator[bytes]:
        """The stored leaf hashes of the first `size` entries, without the first `after`, unchecked."""
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
        """The blob stored under a commitment, decrypted and otherwise unchecked; see `Store.stored_blob`."""
        blob = self.encrypted_blob(bytes.fromhex(commit))
        try:
            return None if blob is None else self.keys.decrypt(blob)
        except TamperError as exc:
            raise TamperError(f"what {commit[:16]}… commits to cannot be decrypted: {exc}") from exc

    def encrypted_blob(self, commit: bytes) -> EncryptedBlob | None:
        """The blob stored under a commitment, as it is stored."""
        rows = self.query('select key, data from blob where "commit" = ?', commit)
        return EncryptedBlob(commit, *rows[0]) if rows else None

    def redactions(self) -> Iterator[Redaction]:
        """What was erased with authority, in the order of the entries that say so."""
        for entry in self.entries(kinds={Kind.REDACT_APPLIED}):
            found = redaction_of(entry)
            if found is not None:
                yield found

    def redaction(self, commit: str) -> Redaction | None:
        """By which entry the blob of a commitment was erased; None where no entry says so."""
        rows = self.query('select seq from redaction where "commit" = ?', bytes.fromhex(commit))
        found = redaction_of(self.entry(rows[0][0])) if rows else None
        return found if found is not None and found.commit == commit else None

    def keeps_blobs(self) -> bool:
        """Blobs are in the same database."""
        return True

    def claim(self) -> Claim:
        """What the database says about the end of the log, apart from the entries."""
        # One statement sees one moment, also while others append.
        rows = self.query(
            "select size, head.leaf, ts, frontier, (select count(*) from blob), (select moved from origin), inc, iseq,"
            " incident_head.leaf from head left join incident_head on true"
        )
        head = read_head([row[:4] for row in rows[:1]], self.place)
        incidents = {inc: IncidentHead(iseq, leaf) for *_, inc, iseq, leaf in rows if inc is not None}
        return Claim(head.size, head.leaf, head.root, incidents, *rows[0][4:6])

    def moved(self) -> str:
        """Where the log goes on, when it was taken to another place; "" where it goes on here.

        Raises:
            TamperError: it is marked so, and no entry says it: somebody sends those who write elsewhere.
        """
        return where_it_goes_on(self)

    def checkpoints(self, after: int = 0) -> Iterator[StoredCheckpoint]:
        """Every stored checkpoint of more than `after` entries, the smallest first, unchecked."""
        statement = "select size, note from checkpoint where size > ? order by size limit ?"
        while page := self.query(statement, after, PAGE):
            yield from map(StoredCheckpoint._make, page)
            after = page[-1][0]

    def latest_checkpoint(self) -> StoredCheckpoint | None:
        """The stored checkpoint of the most entries, unchecked; None when there is none."""
        rows = self.query("select size, note from checkpoint order by size desc limit 1")
        return StoredCheckpoint(*rows[0]) if rows else None

    def incident_ends(self, after: int = 0) -> dict[str, IncidentHead]:
        """The ends of all incidents' chains, or of those that have entries behind `after`."""
        statement = "select inc, iseq, leaf from incident_head"
        if after:
            statement += " where inc in (select inc from entry where seq > ? and inc <> '')"
        rows = self.query(statement, *([after] if after else []))
        return {inc: IncidentHead(iseq, leaf) for inc, iseq, leaf in rows}

    def last_of(self, kind: Kind, after: int) -> int:
        """The place of the last entry of a kind behind `after`, or 0."""
        rows = self.query("select coalesce(max(seq), 0) from entry where seq > ? and kind = ?", after, kind)
        return int(rows[0][0])

    def leaf_at(self, seq: int) -> str:
        """The leaf hash of an entry's bytes, hexadecimal; "" where there is no such entry."""
        rows = self.query("select data from entry where seq = ?", seq)
        return _leaf_of(rows[0][0]) if rows else ""

    def end(self) -> tuple[int, str]:
        """How many entries there are, and the leaf hash of the last one's bytes."""
        rows = self.query("select seq, data from entry order by seq desc limit 1")
        return (rows[0][0], _leaf_of(rows[0][1])) if rows else (0, "")

    def size(self) -> int:
        """How many entries there are now."""
        return int(self.query("select coalesce(max(seq), 0) from entry")[0][0])

    def head(self) -> Head:
        """The end of the log as it is now."""
        return read_head(self.query("select size, leaf, ts, frontier from head"), self.place)

    def entries(
        self,
        *,
        run: str | None = None,
        inc: str | None = None,
        after: int = 0,
        kinds: Collection[Kind] | None = None,
    ) -> Iterator[LogEntry]:
        """Entries behind `after`; see `Store.entries`."""
        return map(believe, self._found(run, inc, after, kinds))

    def readable(
        self, *, run: str | None = None, inc: str | None = None, after: int = 0
    ) -> Iterator[LogEntry | Unreadable]:
        """Entries behind `after`, and those that cannot be read; see `Store.readable`."""
        return map(read_or_tell, self._found(run, inc, after, None))

    def _found(
        self, run: str | None, inc: str | None, after: int, kinds: Collection[Kind] | None
    ) -> Iterator[StoredRow]:
        """Rows that the columns beside them say are of this run, this incident and these kinds."""
        where, given = ["seq > ?"], list[object]()
        if run is not None:
            # The second condition lets the database use the partial index.
            where, given = [*where, "run = ?", "run <> ''"] if run else [*where, "run = ?"], [*given, run]
        if inc is not None:
            where, given = [*where, "inc = ?", "inc <> ''"] if inc else [*where, "inc = ?"], [*given, inc]
        if kinds is not None:
            if not kinds:
                return
            where = [*where, f"kind in ({', '.join('?' * len(kinds))})"]
            given += [kind.value for kind in kinds]
        statement = f"select seq, data, leaf from entry where {' and '.join(where)} order by seq limit ?"  # noqa: S608 - only our own words
        while page := self.query(statement, after, *given, PAGE):
            yield from (StoredRow(*row) for row in page)
            after = page[-1][0]

    def entry(self, seq: int) -> LogEntry:
        """One entry; see `Store.entry`."""
        rows = self.query("select seq, data, leaf from entry where seq = ?", seq)
        if not rows:
            raise LogError(f"the log {self.place} has no entry {seq}; it has 1 to {self.size()}")
        return believe(StoredRow(*rows[0]))

    def blob(self, entry: LogEntry, name: str) -> bytes | None:
        """The content of one of an entry's blobs; see `Store.blob`."""
        for ref in entry.blobs:
            if ref.n == name:
                try:
                    stored = self.stored_blob(ref.commit)
                except BlobKeyError as exc:
                    raise BlobKeyError(
                        f"blob {name!r} of log entry {entry.seq} cannot be read: {exc}"
                    ) from exc
                except TamperError as exc:
                    raise TamperError(
                        f"blob {name!r} of log entry {entry.seq} is not what was recorded: {exc}"
                    ) from exc
                if stored is None and (erased := self.redaction(ref.commit)) is not None:
                    raise ErasedError(f"blob {name!r} of log entry {entry.seq} was {erased}: {erased.reason}")
                if stored is None:
                    raise TamperError(
                        f"blob {name!r} of log entry {entry.seq} is missing, and nobody erased it"
                    )
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
        statement = "select key, state from projection where name = ? and key {} ? order by key limit ?"
        page = self.query(statement.format(">="), name, prefix, PAGE)
        while page:
            for key, state in page:
                if not key.startswith(prefix):
                    return
                yield key, state
            page = self.query(statement.format(">"), name, page[-1][0], PAGE)

    def is_folded(self, name: str) -> bool:
        """Whether a projector has folded every entry."""
        statement = "select (select size from projector where name = ?), (select max(seq) from entry)"
        ((folded, size),) = self.query(statement, name)
        return bool(folded == size)

    def folded(self) -> dict[str, int]:
        """How many entries each projector has folded."""
        return dict(self.query("select name, size from projector"))


def _leaf_of(data: object) -> str:
    """Hash what is stored as an entry, whatever it is."""
    return leaf_hash(data if isinstance(data, bytes) else str(data).encode("utf-8", "replace")).hex()


class StoredBlobs(Mapping[str, bytes]):
    """An entry's blobs by name, each fetched when it is asked for; a missing one is not among them."""

    def __init__(self, reader: Reading, entry: LogEntry) -> None:
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


def read_head(rows: Sequence[tuple[int, str, str, bytes]], place: str) -> Head:
    """Read the row that holds the end of the log.

    Raises:
        TamperError: there is no such row, or it does not make sense.
    """
    try:
        ((size, leaf, ts, frontier),) = rows
        return Head(leaf, read_moment(ts), Frontier.decode(size, frontier))
    except (ValueError, TypeError) as exc:
        raise TamperError(
            f"the end of the log {place} is not readable ({exc}); check with `mimrun log verify`"
        ) from exc
