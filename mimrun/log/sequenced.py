"""A store whose appends all go through one thread of this process, whichever database is under it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from types import TracebackType
from typing import Self

from mimrun.errors import BlobKeyError, LogError, StoreError
from mimrun.log.batch import Sealed
from mimrun.log.bell import Bell
from mimrun.log.chain import SALT_SIZE, Claim, Head, StoredBlob, StoredCheckpoint, StoredRow, Unreadable, seal
from mimrun.log.checkpointing import Point
from mimrun.log.cipher import EncryptedBlob, Entropy, WrappedKey
from mimrun.log.data_keys import KEY_GONE
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.proof.refolding import Progress, compare_states
from mimrun.log.proof.signer import Signer
from mimrun.log.reading import Reading
from mimrun.log.redaction import Redaction
from mimrun.log.sequencer import PATIENCE, Sequencer
from mimrun.log.signing import Signing, Told
from mimrun.log.states import States
from mimrun.log.store import Guard, Projector


def _untold(point: Point, what: str | Exception) -> None:
    """Tell nobody."""


class SequencedStore:
    """The incident log. Safe from several threads and processes.

    Without the key of its blobs it is read, and nothing is added: not even what has no blob, or it would depend on
    what a run happens to say whether it gets through.

    Arguments:
        reader: reads the log.
        sequencer: writes it.
        bell: tells those who follow that something was appended.
        projectors: what to fold entries through.
        entropy: gives so many random bytes, for salts, keys and nonces.
    """

    def __init__(
        self,
        reader: Reading,
        sequencer: Sequencer,
        bell: Bell,
        *,
        projectors: Sequence[Projector],
        entropy: Entropy,
    ) -> None:
        self._reader, self._sequencer, self._bell = reader, sequencer, bell
        self._projectors = {projector.name: projector for projector in projectors}
        self._entropy = entropy
        self._signing: Signing | None = None

    @property
    def log(self) -> str:
        """The origin: which log this is."""
        return self._reader.log

    @property
    def keyless(self) -> str:
        """Why no blob can be read and nothing be added, and what to do; "" where the key of the blobs is at hand."""
        return self._reader.keyless

    def append(self, drafts: Sequence[Draft], *, guard: Guard | None = None) -> tuple[LogEntry, ...]:
        """Record drafts, all or none, durably; see `Store.append`."""
        if not drafts:
            return ()
        self._require_key()
        # Long output is hashed and encrypted here, in the caller's thread, and not in the one all wait for.
        sealed = [self._seal(draft) for draft in drafts]
        try:
            entries = self._sequencer.append(sealed, guard)
        except StoreError as exc:
            if KEY_GONE not in str(exc):
                raise
            # The incident was erased with its key since the key was fetched. Nothing was recorded.
            self._reader.keys.forget()
            sealed = [self._seal(draft) for draft in drafts]
            entries = self._sequencer.append(sealed, guard)
        for one in sealed:
            for key in one.keys:
                self._reader.keys.recorded(key)
        return entries

    def entries(
        self,
        *,
        run: str | None = None,
        inc: str | None = None,
        after: int = 0,
        kinds: Collection[Kind] | None = None,
    ) -> Iterator[LogEntry]:
        """Entries behind `after`, in order; see `Store.entries`."""
        return self._reader.entries(run=run, inc=inc, after=after, kinds=kinds)

    def readable(
        self, *, run: str | None = None, inc: str | None = None, after: int = 0
    ) -> Iterator[LogEntry | Unreadable]:
        """Entries behind `after`, and those that cannot be read; see `Store.readable`."""
        return self._reader.readable(run=run, inc=inc, after=after)

    def entry(self, seq: int) -> LogEntry:
        """One entry; see `Store.entry`."""
        return self._reader.entry(seq)

    def blob(self, entry: LogEntry, name: str) -> bytes | None:
        """The content of one of an entry's blobs; see `Store.blob`."""
        return self._reader.blob(entry, name)

    def head(self) -> Head:
        """The end of the log as it is now."""
        return self._reader.head()

    def leaf_at(self, seq: int) -> str:
        """The leaf hash of an entry's bytes; see `Store.leaf_at`."""
        return self._reader.leaf_at(seq)

    def end(self) -> tuple[int, str]:
        """How many entries there are, and the leaf hash of the last one; see `Store.end`."""
        return self._reader.end()

    def follow(
        self, after: int, timeout: float, *, run: str | None = None, inc: str | None = None
    ) -> tuple[LogEntry, ...]:
        """Entries behind `after`, waiting until there is one; see `Store.follow`."""
        end = time.monotonic() + timeout
        while True:
            heard = self._bell.heard()
            size = self._reader.size()
            if size > after:
                found = tuple(self._reader.entries(run=run, inc=inc, after=after))
                if found:
                    return found
                after = size
            left = end - time.monotonic()
            if left <= 0:
                return ()
            self._bell.wait(heard, left)

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key; see `Store.projection`."""
        projector = self._projector(name)
        state = self._reader.state(name, key)
        return projector.empty() if state is None else state

    def projections(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Keys that start with the prefix, sorted, with their states."""
        self._projector(name)
        return self._reader.states(name, prefix)

    def rebuild(self, progress: Progress | None = None) -> bool:
        """Fold the whole log again; True when nothing differed; see `Store.rebuild`."""
        return self._sequencer.rebuild(progress)

    def compare_states(self, progress: Progress | None = None) -> States:
        """Compare every stored state with what the entries say; see `Store.compare_states`."""
        return compare_states(self._reader, self._projectors.values(), progress)

    def rows(self, after: int = 0, *, inc: str | None = None) -> Iterator[StoredRow]:
        """Every stored entry behind `after`, or those of an incident, in order, unchecked."""
        return self._reader.rows(after, inc=inc)

    def leaves(self, size: int, after: int = 0) -> Iterator[bytes]:
        """The stored leaf hashes of the first `size` entries, without the first `after`, unchecked."""
        return self._reader.leaves(size, after)

    def moved(self) -> str:
        """Where the log goes on, when it was taken to another place; "" where it goes on here."""
        return self._reader.moved()

    def stored_blob(self, commit: str) -> StoredBlob | None:
        """The blob stored under a commitment, decrypted and otherwise unchecked; see `Source.stored_blob`."""
        return self._reader.stored_blob(commit)

    def redactions(self) -> Iterator[Redaction]:
        """What was erased with authority, as the entries say; see `Source.redactions`."""
        return self._reader.redactions()

    def keeps_blobs(self) -> bool:
        """Blobs are in the same database."""
        return self._reader.keeps_blobs()

    def claim(self) -> Claim:
        """What the database says about the end of the log, apart from the entries."""
        return self._reader.claim()

    def checkpoints(self, after: int = 0) -> Iterator[StoredCheckpoint]:
        """Every stored checkpoint of more than `after` entries, the smallest first, unchecked."""
        return self._reader.checkpoints(after)

    def latest_checkpoint(self) -> StoredCheckpoint | None:
        """The stored checkpoint of the most entries, unchecked; None when there is none."""
        return self._reader.latest_checkpoint()

    def faults(self) -> tuple[str, ...]:
        """What the database itself finds wrong with the log."""
        return self._reader.faults()

    def sign_with(self, signer: Signer, told: Told = _untold) -> None:
        """Make checkpoints of what is appended from here on; without the key of the blobs, that is nothing.

        Arguments:
            signer: signs them. Nobody waits for it, save `close`, for two seconds at most.
            told: is told of each signed note and of each failure, in a thread of its own.
        """
        if self.keyless:
            return
        self._signing = Signing(
            signer,
            leaves=lambda done, size: self._reader.leaves(size, done),
            size=self._reader.size,
            keep=self._sequencer.keep,
            told=told,
        )
        self._sequencer.sign_with(self._signing)

    def checkpoint(self, patience: float = PATIENCE) -> StoredCheckpoint | None:
        """Make a checkpoint of the log as it is now, and wait for it; None where the log is not signed from here.

        Arguments:
            patience: seconds to wait for the signer.

        Raises:
            StoreError: the log cannot be written, or the signer gave no signature; says why.
        """
        self._require_key()
        if self._signing is None:
            return None
        point = self._sequencer.mark()
        self._signing.wait(patience)
        found = self._reader.latest_checkpoint()
        if point is None or found is None or found.size < point.size:
            why = self._signing.failure or f"it did not answer within {patience:g} s"
            raise StoreError(f"no checkpoint was made: the signer gave no signature: {why}")
        return found

    def close(self) -> None:
        """Finish what was asked for, and let go of the database. May be called twice."""
        self._bell.close()
        # The last checkpoint is made in here, which reads the log once more.
        self._sequencer.close(self._reader.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_key(self) -> None:
        if self.keyless:
            raise BlobKeyError(f"nothing is added to the log {self._reader.place}: {self.keyless}")

    def _seal(self, draft: Draft) -> Sealed:
        """Seal and encrypt the blobs of a draft."""
        if not draft.blobs:
            return Sealed(draft)
        blobs = tuple(seal(blob, self._entropy(SALT_SIZE)) for blob in draft.blobs)
        stored, keys = list[EncryptedBlob](), list[WrappedKey]()
        for blob in blobs:
            encrypted, unrecorded = self._reader.keys.encrypt(blob, draft.inc, self._entropy)
            stored.append(encrypted)
            keys += [unrecorded] if unrecorded is not None else []
        return Sealed(draft, blobs, tuple(stored), tuple(keys))

    def _projector(self, name: str) -> Projector:
        if name not in self._projectors:
            raise LogError(f"the log was opened without a projector {name!r}")
        if not self._reader.is_folded(name):
            # Entries were written without this projector; an append of nothing folds them.
            self._sequencer.append((), None)
        return self._projectors[name]
