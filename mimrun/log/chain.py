"""The chain: how an entry is linked to the one before it, in the log and in its incident.

Pure: heads, moment and salts are given. `link` makes an entry out of a draft; `proof.walk.Walk` checks what
this page made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from mimrun.errors import LogError, TamperError
from mimrun.log.entry import NOTHING, Blob, BlobRef, Draft, LogEntry, decode
from mimrun.log.merkle import Frontier, leaf_hash

SALT_SIZE: Final = 32
_BLOB_PREFIX: Final = b"mimlog/blob/v1\0"
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the log: how long it is, and what the next entry is linked to.

    Arguments:
        leaf: leaf hash (hexadecimal) of the last entry.
        ts: the last entry's moment.
        frontier: the Merkle tree over all entries.
    """

    leaf: str = NOTHING
    ts: datetime = _BEGINNING
    frontier: Frontier = field(default_factory=Frontier)

    @property
    def size(self) -> int:
        """How many entries there are; also the `seq` of the last one."""
        return self.frontier.size

    @property
    def root(self) -> str:
        """The Merkle root over all entries, hexadecimal. Whoever keeps it can prove these entries later."""
        return self.frontier.root().hex()


@dataclass(frozen=True, slots=True)
class IncidentHead:
    """The end of one incident's chain."""

    iseq: int = 0
    leaf: str = NOTHING


class StoredRow(NamedTuple):
    """An entry as it is stored, not yet believed.

    Arguments:
        seq: the place it is stored at; its bytes may say otherwise.
        data: its bytes.
        leaf: the leaf hash stored beside it.
        kind, inc, run: what the store finds it by; None where it has no such columns.
    """

    seq: int
    data: bytes
    leaf: bytes
    kind: str | None = None
    inc: str | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob as it is stored, not yet believed."""

    salt: bytes
    data: bytes


class StoredCheckpoint(NamedTuple):
    """A signed head of the log as it is stored, not yet believed.

    Arguments:
        size: the place it is stored at; its note may say otherwise.
        note: the signed note.
    """

    size: int
    note: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What a store keeps about its own end, apart from the entries, and not yet believed.

    Arguments:
        size: how many entries there are.
        leaf: leaf hash (hexadecimal) of the last one.
        root: Merkle root (hexadecimal) over all of them.
        incidents: the end of each incident's chain; None where that is not kept.
        blobs: how many blobs are stored; None where they are not kept.
        moved: where the log goes on, as it is marked; "" where it goes on here.
    """

    size: int
    leaf: str
    root: str
    incidents: Mapping[str, IncidentHead] | None = None
    blobs: int | None = None
    moved: str = ""


@dataclass(frozen=True, slots=True)
class SealedBlob:
    """A blob with its salt, as it is stored, and what the entry will say about it."""

    ref: BlobRef
    salt: bytes
    data: bytes = field(repr=False)


def commitment(salt: bytes, data: bytes) -> str:
    r"""Commit to content: SHA-256("mimlog/blob/v1\0" || salt || content), hexadecimal.

    The salt is random, so that nobody can try out guesses of erased content against the entry.
    """
    return hashlib.sha256(_BLOB_PREFIX + salt + data).hexdigest()


def is_committed(stored: StoredBlob, commit: str) -> bool:
    """Whether a stored blob is what an entry commits to. What is stored may be of any type."""
    salt: object = stored.salt
    data: object = stored.data
    return isinstance(salt, bytes) and isinstance(data, bytes) and commitment(salt, data) == commit


def seal(blob: Blob, salt: bytes) -> SealedBlob:
    """Bind a blob to a salt of 32 random bytes."""
    if len(salt) != SALT_SIZE:
        raise ValueError(f"a salt has {SALT_SIZE} bytes, not {len(salt)}")
    ref = BlobRef(blob.n, commitment(salt, blob.data), len(blob.data), blob.cls)
    return SealedBlob(ref, salt, blob.data)


def believe(row: StoredRow) -> LogEntry:
    """Read an entry, after a look at the hash that is stored beside it.

    Raises:
        TamperError: the two do not fit; the entry is named.
    """
    data: object = row.data  # what is stored may be of any type
    if not isinstance(data, bytes) or leaf_hash(data) != row.leaf:
        raise TamperError(f"log entry {row.seq} is not what was recorded; check with `mimrun log verify`")
    try:
        entry = decode(data)
    except TamperError as exc:
        raise TamperError(f"log entry {row.seq} cannot be read: {exc}") from exc
    if entry.seq != row.seq:
        raise TamperError(f"log entry {row.seq} says that it is entry {entry.seq}; the log was changed")
    return entry


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry that cannot be read.

    Arguments:
        seq: the place it is stored at.
        why: for a person.
    """

    seq: int
    why: str


def read_or_tell(row: StoredRow) -> LogEntry | Unreadable:
    """Read an entry, or say why it cannot be: it was changed, a liar recorded it, or a newer version."""
    try:
        return believe(row)
    except LogError as exc:
        return Unreadable(row.seq, str(exc))


@dataclass(frozen=True, slots=True)
class Linked:
    """An entry with its bytes, and the heads after it."""

    entry: LogEntry
    data: bytes
    leaf: bytes
    head: Head
    incident: IncidentHead


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next entry goes.

    Arguments:
        log: the origin.
        head: the end of the log.
        incident: the end of the draft's incident; of no account for a draft without one.
    """

    log: str
    head: Head
    incident: IncidentHead


def link(draft: Draft, refs: tuple[BlobRef, ...], place: Place, now: datetime) -> Linked:
    """Make the next entry of the log out of a draft.

    Arguments:
        draft: what is to be recorded.
        refs: what its blobs were sealed to, in their order.
        place: the ends of the log and of the incident.
        now: the present moment; if the clock went backwards, the last entry's moment is taken.

    Raises:
        LogError: the entry would be too large or has no canonical form.
    """
    head, chained = place.head, bool(draft.inc)
    entry = LogEntry(
        log=place.log,
        seq=head.size + 1,
        ts=max(head.ts, now),
        inc=draft.inc,
        iseq=place.incident.iseq + 1 if chained else 0,
        iprev=place.incident.leaf if chained else NOTHING,
        actor=draft.actor,
        run=draft.run,
        step=draft.step,
        target=draft.target,
        attempt=draft.attempt,
        epoch=draft.epoch,
        body=draft.body.explicit(),
        blobs=refs,
        prev=head.leaf,
    )
    data = entry.encode()
    leaf = leaf_hash(data)
    after = Head(leaf.hex(), entry.ts, head.frontier.append(leaf))
    return Linked(entry, data, leaf, after, IncidentHead(entry.iseq, leaf.hex()))
