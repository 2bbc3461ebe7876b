"""What a store of the log can do, whichever database is under it.

Run state and other rooms above give their projectors in; this room folds entries through them and knows
nothing of what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

from mimrun.log.chain import Claim, Head, StoredBlob, StoredCheckpoint, StoredRow, Unreadable
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.redaction import Redaction
from mimrun.log.states import States


class Projector(Protocol):
    """A pure fold of the log into states, one for each key, as bytes.

    The states are updated in the transaction that appends an entry, and folding the whole log again
    gives the same bytes. Keep a state small (give each thing that grows its own key): it is written
    again with each entry that touches it.
    """

    @property
    def name(self) -> str:
        """Names the states.

        Change it ("run/2") whenever the same log would give other bytes; the store then folds the whole
        log anew.
        """

    def empty(self) -> bytes:
        """The state of a key that no entry has touched."""

    def key(self, entry: LogEntry) -> str | None:
        """Which state an entry touches, or None."""

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the state after an entry. Never reads a clock, a file or a random number.

        Arguments:
            state: the state before.
            entry: the entry; `key` gave this state's key for it.
            blobs: the entry's blobs by name. One that was erased is missing, so a state that must
                outlive an erasure does not depend on them.
        """


class View(Protocol):
    """The log and its projections at one moment, inside the transaction that is about to append."""

    def head(self) -> Head:
        """The end of the log."""

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key; the projector's empty state when no entry has touched it."""

    def projections(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Keys that start with the prefix, sorted, with their states."""


Guard: TypeAlias = Callable[[View], object]
"""Looks at the log just before an append, with nobody able to write in between; raises to refuse it.

Runs in the store's own thread, holding up every other append: only look and decide. Raise a
`RefusedError` (or a kind of it). Must not call the store.
"""


class Source(Protocol):
    """What verifying and exporting read: stored things, with nothing checked or left out."""

    @property
    def log(self) -> str:
        """The origin that the store says it is of."""

    def rows(self, after: int = 0) -> Iterator[StoredRow]:
        """Every stored entry behind `after`, in the order of their places, unchecked."""

    def stored_blob(self, commit: str) -> StoredBlob | None:
        """The blob stored under a commitment, decrypted; None where there is none.

        Raises:
            TamperError: it is there and cannot be decrypted; the message says why.
            BlobKeyError: it is there, and the key of the log's blobs is not.
        """

    def redactions(self) -> Iterator[Redaction]:
        """What was erased with authority, as the entries say that are on record; unchecked."""

    def keeps_blobs(self) -> bool:
        """Whether blobs are kept here at all."""

    def claim(self) -> Claim | None:
        """What is said about the end of the log apart from the entries, if anything is."""

    def checkpoints(self, after: int = 0) -> Iterator[StoredCheckpoint]:
        """Every stored checkpoint of more than `after` entries, the smallest first, unchecked."""

    def faults(self) -> tuple[str, ...]:
        """What the database itself finds wrong with its file; empty when nothing is."""


class RunStore(Protocol):
    """What executing a run needs of the log: reading, appending, and the states that guards look at."""

    def append(self, drafts: Sequence[Draft], *, guard: Guard | None = None) -> tuple[LogEntry, ...]:
        """Record drafts: all of them, next to each other and in order, or none.

        They are on disk when this returns.

        Arguments:
            drafts: what to record.
            guard: evaluated in the same transaction; what it raises comes out here, and nothing is
                recorded.

        Raises:
            StoreError: the log cannot be written; the message says why. Nothing was acknowledged.
            BlobKeyError: likewise, because the key of its blobs is missing, or is another log's.
            LogError: an entry would be too large.
        """

    def entries(
        self,
        *,
        run: str | None = None,
        inc: str | None = None,
        after: int = 0,
        kinds: Collection[Kind] | None = None,
    ) -> Iterator[LogEntry]:
        """Entries behind `after`, in order, of this run, this incident and these kinds.

        Raises:
            TamperError: an entry is not what was recorded; it is named.
        """

    def entry(self, seq: int) -> LogEntry:
        """One entry.

        Raises:
            LogError: there is none with this number.
            TamperError: it is not what was recorded.
        """

    def blob(self, entry: LogEntry, name: str) -> bytes | None:
        """The content of one of an entry's blobs; None when the entry has none of this name.

        Raises:
            ErasedError: two people had it erased; the message says who, and which entry tells of it.
            BlobKeyError: the key of the log's blobs is missing, or is another log's.
            TamperError: the content is missing, or is not what was recorded.
        """

    def head(self) -> Head:
        """The end of the log as it is now."""

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key; the projector's empty state when no entry has touched it."""


class Store(Source, RunStore, Protocol):
    """The incident log, and the states folded from it."""

    def readable(
        self, *, run: str | None = None, inc: str | None = None, after: int = 0
    ) -> Iterator[LogEntry | Unreadable]:
        """Entries behind `after`, in order, of this run and this incident; of one that cannot be read, why.

        Raises:
            StoreError: the log cannot be read.
        """

    def moved(self) -> str:
        """Where the log goes on, when it was taken to another place; "" where it goes on here."""

    def leaf_at(self, seq: int) -> str:
        """The leaf hash of an entry's bytes as they are stored, hexadecimal; "" where there is no such entry."""

    def end(self) -> tuple[int, str]:
        """How many entries there are, and the leaf hash of the last one's bytes as they are stored."""

    def rows(self, after: int = 0, *, inc: str | None = None) -> Iterator[StoredRow]:
        """Every stored entry behind `after`, or those of an incident, in order, unchecked."""

    def leaves(self, size: int, after: int = 0) -> Iterator[bytes]:
        """The stored leaf hashes of the first `size` entries, without the first `after`, for making proofs."""

    def checkpoint(self, patience: float = 10.0) -> StoredCheckpoint | None:
        """Make a checkpoint of the log as it is now, and wait for it; None where the log is not signed from here.

        Arguments:
            patience: seconds to wait for the signer.

        Raises:
            StoreError: the log cannot be written, or the signer gave no signature; says why.
        """

    def latest_checkpoint(self) -> StoredCheckpoint | None:
        """The stored checkpoint of the most entries, unchecked; None when there is none."""

    def follow(
        self, after: int, timeout: float, *, run: str | None = None, inc: str | None = None
    ) -> tuple[LogEntry, ...]:
        """Entries behind `after`, from this process or any other; waits until there is one.

        Arguments:
            after: the last `seq` already seen.
            timeout: seconds to wait at most; then the answer is empty.
            run: only entries of this run.
            inc: only entries of this incident.
        """

    def projections(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Keys that start with the prefix, sorted, with their states."""

    def rebuild(self, progress: Callable[[int], object] | None = None) -> bool:
        """Fold the whole log again; True when every state is, byte for byte, what was stored.

        What differs is replaced.

        Arguments:
            progress: is told how many entries have been folded, in another thread.
        """

    def compare_states(self, progress: Callable[[int], object] | None = None) -> States:
        """Fold the whole log again, and compare each state with the one that is stored. Changes nothing.

        Arguments:
            progress: is told how many entries have been folded.

        Raises:
            TamperError: an entry cannot be read, or cannot be folded.
        """

    def close(self) -> None:
        """Finish what was asked for, and let go of the files. May be called twice."""
