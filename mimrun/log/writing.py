"""Writing the log: what a transaction is made of, whichever database is under it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mimrun.errors import TamperError
from mimrun.log.batch import Batch
from mimrun.log.chain import Head, IncidentHead
from mimrun.log.entry import Draft
from mimrun.log.reading import PAGE, Reading, StoredBlobs
from mimrun.log.store import Projector

REMEMBERED: Final = 4096
"""States and incident heads kept in memory; dropped when another process has written."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that was handed over to be committed, and of which no answer came.

    Arguments:
        seq: the place of its first entry.
        mark: what is stored beside each of its entries, and beside no other.
    """

    seq: int
    mark: bytes


class Interrupted(Exception):
    """The database went away in the middle of a transaction.

    Arguments:
        sent: what may have been committed; None where provably nothing was.
        why: what the database, or the network, said.
    """

    def __init__(self, sent: Sent | None, why: str) -> None:
        super().__init__(why)
        self.sent = sent


class Writing(ABC):
    """Transactions on the log. Used by one thread.

    Arguments:
        reader: the same log, on a connection of its own; this takes care of closing it.
        projectors: what to fold entries through.
    """

    def __init__(self, reader: Reading, projectors: Sequence[Projector]) -> None:
        self.reader = self._reader = reader
        """Sees what is on record; used by the thread that writes."""
        self.log = reader.log
        self._projectors = {projector.name: projector for projector in projectors}
        self._head: Head | None = None
        self._states: dict[tuple[str, str], bytes] = {}
        self._incidents: dict[str, IncidentHead] = {}
        self._absent: set[tuple[str, str]] = set()

    @abstractmethod
    def transaction(self, coming: Sequence[Draft] = ()) -> AbstractContextManager[Batch]:
        """Hold the log for writing; what the batch took is durable when this ends without an error.

        Arguments:
            coming: what the batch is likely to take, so that what belongs to it can be fetched together.

        Raises:
            StoreError: it cannot be written. Nothing of the batch was acknowledged.
            Interrupted: the database went away, and may come back.
        """

    @abstractmethod
    def has(self, sent: Sent) -> bool:
        """Whether a transaction of which no answer came was committed. Waits until nobody can commit it any more.

        Raises:
            StoreError: it cannot be told.
            Interrupted: the database went away again.
        """

    @abstractmethod
    def keep(self, size: int, note: str) -> None:
        """Store a checkpoint, in a transaction of its own; one of this size that is there already stays.

        Raises:
            StoreError: it cannot be stored.
            Interrupted: the database went away; it may have been stored.
        """

    @abstractmethod
    def stored_incident_head(self, inc: str) -> IncidentHead:
        """The end of an incident's chain on record."""

    @abstractmethod
    def stored_state(self, name: str, key: str) -> bytes | None:
        """A folded state on record."""

    @abstractmethod
    def states(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Folded states on record whose key starts with the prefix, sorted by key."""

    @abstractmethod
    def drop(self, name: str, key: str) -> None:
        """Remove a state that no entry has touched."""

    @abstractmethod
    def _unmark(self) -> None:
        """Take away the mark that says that the log goes on elsewhere.

        Raises:
            StoreError: that cannot be done, or may not.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    def incident_head(self, inc: str) -> IncidentHead:
        """The end of an incident's chain."""
        known = self._incidents.get(inc)
        return self.stored_incident_head(inc) if known is None else known

    def state(self, name: str, key: str) -> bytes | None:
        """A folded state, or None when no entry has touched it."""
        known = self._states.get((name, key))
        if known is None and (name, key) not in self._absent:
            return self.stored_state(name, key)
        return known

    def rebuild(self, progress: Callable[[int], object] | None = None) -> bool:
        """Fold the whole log again, and take away a mark that no entry speaks of; see `Store.rebuild`."""
        unmarked = self._unmark_forged()
        with self.transaction() as batch:
            self._take_time()
            fresh = Batch(self.log, Head(), _Nothing(), self._projectors, _no_moment)
            for entry in self._reader.entries():
                fresh.fold(entry, StoredBlobs(self._reader, entry), tuple(self._projectors))
                if progress is not None and entry.seq % PAGE == 0:
                    progress(entry.seq)
            folded = fresh.change.states
            stored = {(name, key): state for name in self._projectors for key, state in self.states(name)}
            # What catching up has folded in this very transaction is not written yet.
            stored.update(batch.change.states)
            for name, key in stored.keys() - folded.keys():
                self.drop(name, key)
                batch.change.states.pop((name, key), None)
            batch.change.states.update(
                {place: state for place, state in folded.items() if stored.get(place) != state}
            )
        self._forget()
        return stored == folded and not unmarked

    def _unmark_forged(self) -> bool:
        try:
            self._reader.moved()
        except TamperError:
            self._unmark()
            return True
        return False

    def _begin(self, head: Head, clock: Callable[[], datetime]) -> Batch:
        """Make the batch of a transaction that has just got hold of the log."""
        known = self._head is not None and (head.size, head.leaf) == (self._head.size, self._head.leaf)
        if not known:
            self._forget()
            self._recall()
        batch = Batch(self.log, head, self, self._projectors, clock)
        if not known:
            self._catch_up(batch)
        return batch

    def _catch_up(self, batch: Batch) -> None:
        """Fold what was appended without our projectors: by another program, or before they were made."""
        folded = self._folded()
        size = batch.head().size
        behind = {name: folded.get(name, 0) for name in self._projectors if folded.get(name, 0) < size}
        if not behind:
            return
        self._take_time()
        for entry in self._reader.entries(after=min(behind.values())):
            names = [name for name, so_far in behind.items() if so_far < entry.seq]
            batch.fold(entry, StoredBlobs(self._reader, entry), names)

    def _take_time(self) -> None:  # noqa: B027 - most databases do not mind
        """Let the database know that this transaction may be quiet for long."""

    def _recall(self) -> None:  # noqa: B027 - not every database has fetched something
        """Take up what was fetched together with the end of the log."""

    def _folded(self) -> dict[str, int]:
        return self._reader.folded()

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
        self._absent.clear()


class _Nothing:
    """What is on record before the first entry."""

    def incident_head(self, inc: str) -> IncidentHead:
        return IncidentHead()

    def state(self, name: str, key: str) -> bytes | None:
        return None

    def states(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        return iter(())


def _no_moment() -> datetime:
    raise AssertionError("folding again records nothing")
