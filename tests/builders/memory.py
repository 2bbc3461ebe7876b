"""The incident log in memory, for thousands of runs a second: the real entries, projectors and guards.

What is left out is what has tests of its own: hashing, the file, other processes. `chained` puts the same
drafts through the real chain, to be done for some of the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from builders.history import refold

from mimrun.log.chain import (
    Claim,
    Head,
    IncidentHead,
    Place,
    StoredBlob,
    StoredCheckpoint,
    StoredRow,
    link,
    seal,
)
from mimrun.log.entry import NOTHING, Draft, LogEntry, decode
from mimrun.log.kinds import Kind
from mimrun.log.merkle import Frontier
from mimrun.log.proof.walk import verify_chain
from mimrun.log.redaction import Redaction
from mimrun.log.store import Guard, Projector
from mimrun.replay.scratch import entry_of

BEGINNING = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
SALT = bytes(32)
_EMPTY: dict[str, bytes] = {}
"""The states of keys that no entry has touched."""


@dataclass(slots=True)
class Disk:
    """What survives the death of a process.

    Arguments:
        drafts: what the entries were made from.
        states: the projections, by projector and key.
    """

    entries: list[LogEntry] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    blobs: dict[tuple[int, str], bytes] = field(default_factory=dict)
    states: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def copy(self) -> Disk:
        """Give a disk with the same content."""
        return Disk([*self.entries], [*self.drafts], {**self.blobs}, {**self.states})

    def rebuilds(self, projectors: Sequence[Projector]) -> bool:
        """Say whether folding all entries anew gives the same bytes."""
        return refold(self.entries, projectors, self.blobs) == self.states

    def chained(self) -> tuple[object, ...]:
        """Put every draft through the real chain; give what is wrong with it, or with an entry read back."""
        head, incidents = Head(), dict[str, IncidentHead]()
        rows, flaws = list[StoredRow](), list[object]()
        for draft, kept in zip(self.drafts, self.entries, strict=True):
            refs = tuple(seal(blob, SALT).ref for blob in draft.blobs)
            place = Place("sim", head, incidents.get(draft.inc, IncidentHead()))
            one = link(draft, refs, place, kept.ts)
            head, incidents[draft.inc] = one.head, one.incident
            rows.append(StoredRow(kept.seq, one.data, one.leaf, kept.kind.value, kept.inc, kept.run))
            read = decode(one.data)
            if (read.body, read.ts, read.step, read.target) != (kept.body, kept.ts, kept.step, kept.target):
                flaws.append(f"entry {kept.seq} reads back as another")
        return (*flaws, *verify_chain(rows))


class Trouble(Protocol):
    """What may go wrong around an append; each may raise."""

    def before(self, drafts: Sequence[Draft]) -> None:
        """Just before: what it raises leaves nothing recorded."""

    def after(self, entries: Sequence[LogEntry]) -> None:
        """Just after it is durable, and before the caller is told."""

    def reading(self) -> None:
        """Before something is read."""


class Transaction:
    """The log at one moment; what a guard looks at."""

    def __init__(self, disk: Disk, projectors: dict[str, Projector]) -> None:
        self._disk, self._projectors = disk, projectors
        self.states: dict[tuple[str, str], bytes] = {}

    def head(self) -> Head:
        """The end of the log."""
        return head_of(self._disk)

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key."""
        state = self.states.get((name, key))
        if state is None:
            state = self._disk.states.get((name, key))
        if state is None:
            state = _EMPTY.get(name)
            if state is None or type(state) is not bytes:
                state = _EMPTY[name] = self._projectors[name].empty()
        return state

    def projections(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Keys that start with the prefix, sorted, with their states."""
        states = {**self._disk.states, **self.states}
        found = ((key, state) for (of, key), state in states.items() if of == name and key.startswith(prefix))
        return iter(sorted(found))

    def fold(self, entry: LogEntry, blobs: dict[str, bytes]) -> None:
        """Fold an entry through every projector."""
        for name, projector in self._projectors.items():
            key = projector.key(entry)
            if key is not None:
                self.states[name, key] = projector.apply(self.projection(name, key), entry, blobs)


class MemoryStore:
    """A store on a disk in memory, as one process has it open.

    Arguments:
        disk: shared by all processes.
        projectors: what entries are folded through.
        clock: gives the present moment.
        trouble: what goes wrong around its appends; None for a store without any.
    """

    def __init__(
        self,
        disk: Disk,
        projectors: Sequence[Projector],
        clock: Callable[[], datetime],
        trouble: Trouble | None = None,
    ) -> None:
        self.disk, self._clock, self._trouble = disk, clock, trouble
        self._projectors = {projector.name: projector for projector in projectors}
        self.log = "sim"

    def append(self, drafts: Sequence[Draft], *, guard: Guard | None = None) -> tuple[LogEntry, ...]:
        """Record drafts, all or none; see `Store.append`."""
        if not drafts:
            return ()
        trouble, disk = self._trouble, self.disk
        if trouble is not None:
            trouble.before(drafts)
        transaction = Transaction(disk, self._projectors)
        if guard is not None:
            guard(transaction)
        seq, now, made = len(disk.entries), self._clock(), list[LogEntry]()
        for draft in drafts:
            seq += 1
            entry = entry_of(draft, seq, now, "sim")
            transaction.fold(entry, {blob.n: blob.data for blob in draft.blobs})
            made.append(entry)
        disk.entries += made
        disk.drafts += drafts
        disk.blobs.update(((e.seq, b.n), b.data) for e, d in zip(made, drafts, strict=True) for b in d.blobs)
        disk.states.update(transaction.states)
        if trouble is not None:
            trouble.after(made)
        return tuple(made)

    def entries(
        self,
        *,
        run: str | None = None,
        inc: str | None = None,
        after: int = 0,
        kinds: Collection[Kind] | None = None,
    ) -> Iterator[LogEntry]:
        """Entries behind `after`, in order; see `Store.entries`."""
        if self._trouble is not None:
            self._trouble.reading()
        return iter(
            [
                entry
                for entry in self.disk.entries[after:]
                if run in (None, entry.run)
                and inc in (None, entry.inc)
                and (not kinds or entry.kind in kinds)
            ]
        )

    def entry(self, seq: int) -> LogEntry:
        """One entry."""
        return self.disk.entries[seq - 1]

    def blob(self, entry: LogEntry, name: str) -> bytes | None:
        """The content of one of an entry's blobs."""
        return self.disk.blobs.get((entry.seq, name))

    def head(self) -> Head:
        """The end of the log as it is now."""
        if self._trouble is not None:
            self._trouble.reading()
        return head_of(self.disk)

    def moved(self) -> str:
        """Nowhere else."""
        return ""

    def follow(
        self, after: int, timeout: float, *, run: str | None = None, inc: str | None = None
    ) -> tuple[LogEntry, ...]:
        """What there is behind `after`; nobody else writes while one thread waits."""
        return tuple(self.entries(run=run, inc=inc, after=after))

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key."""
        return Transaction(self.disk, self._projectors).projection(name, key)

    def projections(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Keys that start with the prefix, sorted, with their states."""
        return Transaction(self.disk, self._projectors).projections(name, prefix)

    def rebuild(self, progress: Callable[[int], None] | None = None) -> bool:
        """Fold the whole log again; True when nothing differed."""
        return self.disk.rebuilds(tuple(self._projectors.values()))

    def rows(self, after: int = 0, *, inc: str | None = None) -> Iterator[StoredRow]:
        """There are no stored rows: see `Disk.chained`."""
        return iter(())

    def leaves(self, size: int, after: int = 0) -> Iterator[bytes]:
        """There are no hashes: see `Disk.chained`."""
        return iter(())

    def stored_blob(self, commit: str) -> StoredBlob | None:
        """Blobs are kept without their seals."""
        return None

    def redactions(self) -> Iterator[Redaction]:
        """Nothing is erased in a simulation."""
        return iter(())

    def keeps_blobs(self) -> bool:
        """Not under their commitments."""
        return False

    def claim(self) -> Claim | None:
        """Nothing is said apart from the entries."""
        return None

    def checkpoints(self, after: int = 0) -> Iterator[StoredCheckpoint]:
        """Nobody signs what is in memory."""
        return iter(())

    def leaf_at(self, seq: int) -> str:
        """There are no hashes: see `Disk.chained`."""
        return ""

    def end(self) -> tuple[int, str]:
        """How many entries there are, without a hash."""
        return len(self.disk.entries), ""

    def checkpoint(self, patience: float = 0.0) -> StoredCheckpoint | None:
        """Nobody signs what is in memory."""
        return None

    def latest_checkpoint(self) -> StoredCheckpoint | None:
        """Nobody signs what is in memory."""
        return None

    def faults(self) -> tuple[str, ...]:
        """There is no file."""
        return ()

    def close(self) -> None:
        """Nothing to let go of."""


def head_of(disk: Disk) -> Head:
    """Give the end of a log, without its hashes."""
    entries = disk.entries
    return Head(NOTHING, entries[-1].ts if entries else BEGINNING, Frontier(len(entries), ()))
