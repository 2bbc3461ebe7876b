"""A log in memory with the real chain, real signatures and no disk: any history, also one that a liar would write."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from mimrun.log.chain import (
    SALT_SIZE,
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
from mimrun.log.ends import Ends
from mimrun.log.entry import FORMAT, Actor, Blob, Draft, LogEntry, decode
from mimrun.log.kinds import (
    Body,
    IncidentNote,
    Kind,
    LogGenesis,
    LogHeads,
    LogKey,
    LogKeyRetired,
    RedactApplied,
    RedactProposed,
)
from mimrun.log.proof.key import Certificate
from mimrun.log.proof.note import COSIGNATURE, Checkpoint, SigningKey, read_note, sign_note
from mimrun.log.redaction import Redaction, redaction_of

if TYPE_CHECKING:
    from mimrun.log.store import Store

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
PERSON = Actor("person", "u:7", "cli", "local")
OTHER = Actor("person", "u:8", "cli", "local")
SYSTEM = Actor("system", "log")


def key_of(name: str, number: int, algorithm: int = 1) -> SigningKey:
    """A key that is the same each time."""
    return SigningKey(name, hashlib.sha256(b"test key %d" % number).digest(), algorithm)


@dataclass
class Written:
    """A log that is written as a test wants it; to `export` and `verify` it is a store.

    Arguments:
        log: the origin.
    """

    log: str
    rows_: list[StoredRow] = field(default_factory=list)
    blobs: dict[str, StoredBlob] = field(default_factory=dict)
    notes: list[StoredCheckpoint] = field(default_factory=list)
    ends: dict[str, IncidentHead] = field(default_factory=dict)
    head_: Head = field(default_factory=Head)

    def __post_init__(self) -> None:
        if not self.rows_:
            self.add(LogGenesis(format=FORMAT), actor=SYSTEM)

    def copy(self) -> Written:
        """The same log, to be gone on with in another way."""
        return Written(self.log, [*self.rows_], {**self.blobs}, [*self.notes], {**self.ends}, self.head_)

    @property
    def store(self) -> Store:
        """The log as what it passes for."""
        return cast("Store", self)

    def add(
        self, body: Body, inc: str = "", blobs: Iterable[Blob] = (), actor: Actor = PERSON, run: str = ""
    ) -> int:
        """Record something; give its place. Salts follow from the place, so that a log is the same each time."""
        number = self.head_.size + 1
        sealed = []
        for which, blob in enumerate(blobs):
            salt = hashlib.sha256(b"%d %d" % (number, which)).digest()[:SALT_SIZE]
            sealed.append(seal(blob, salt))
            self.blobs[sealed[-1].ref.commit] = StoredBlob(salt, blob.data)
        draft = Draft(actor, body, inc=inc, run=run, blobs=tuple(blobs))
        place = Place(self.log, self.head_, self.ends.get(inc, IncidentHead()))
        one = link(draft, tuple(s.ref for s in sealed), place, START + timedelta(seconds=number))
        self.head_ = one.head
        if inc:
            self.ends[inc] = one.incident
        self.rows_.append(StoredRow(number, one.data, one.leaf, draft.kind.value, inc, run))
        return number

    def note(self, text: str, inc: str = "INC-1", name: str = "text") -> int:
        """Record a note."""
        return self.add(IncidentNote(), inc, [Blob(name, text.encode(), "text")])

    def announce(self, key: SigningKey, root: SigningKey | None = None, from_size: int | None = None) -> int:
        """Record a key, with a certificate where there is a root key."""
        public, size = key.verifying(), self.head_.size + 1 if from_size is None else from_size
        body = LogKey(
            keyid=public.keyid,
            vkey=public.vkey,
            from_size=size,
            certified_by=root.verifying().keyid if root else "",
            certificate=Certificate(public, size).certify(root) if root else "",
        )
        return self.add(body, actor=SYSTEM)

    def retire(self, key: SigningKey, to_size: int) -> int:
        """Record that a key signs no more."""
        return self.add(
            LogKeyRetired(keyid=key.verifying().keyid, to_size=to_size, reason="in turn"), actor=SYSTEM
        )

    def erase(
        self, seq: int, name: str, *, by: Actor = OTHER, asked: bool = True, really: bool = True
    ) -> int:
        """Have a blob erased by two people; or by one, or without anybody's word, or not really."""
        entry = self.entry(seq)
        commit = next(ref.commit for ref in entry.blobs if ref.n == name)
        proposal = seq
        if asked:
            proposal = self.add(RedactProposed(entry=seq, names=(name,), reason="a name"), entry.inc)
        body = RedactApplied(entry=seq, name=name, commit=commit, proposal=proposal, reason="a name")
        if really:
            del self.blobs[commit]
        return self.add(body, entry.inc, actor=by)

    def sign(self, *keys: SigningKey, witnesses: Sequence[SigningKey] = (), heads: bool = True) -> str:
        """Make a checkpoint of the log as it is now."""
        if heads:
            self.add(LogHeads(incidents=len(self.ends), root=Ends(self.ends).root), actor=SYSTEM)
        text = Checkpoint(self.log, self.head_.size, self.head_.frontier.root()).text()
        note = sign_note(text, keys)
        if witnesses:
            more = [w.sign(text, 1_800_000_000 if w.algorithm == COSIGNATURE else None) for w in witnesses]
            note = read_note(note).with_signatures(more).write()
        self.notes.append(StoredCheckpoint(self.head_.size, note))
        return note

    # -- what a store does --

    def rows(self, after: int = 0, *, inc: str | None = None) -> Iterator[StoredRow]:
        return (row for row in [*self.rows_] if row.seq > after and inc in (None, row.inc))

    def entries(
        self, *, inc: str | None = None, after: int = 0, kinds: Collection[Kind] | None = None
    ) -> Iterator[LogEntry]:
        for row in self.rows(after, inc=inc):
            if kinds is None or row.kind in kinds:
                yield decode(row.data)

    def entry(self, seq: int) -> LogEntry:
        return decode(self.rows_[seq - 1].data)

    def leaves(self, size: int, after: int = 0) -> Iterator[bytes]:
        return (row.leaf for row in self.rows_[after:size])

    def head(self) -> Head:
        return self.head_

    def stored_blob(self, commit: str) -> StoredBlob | None:
        return self.blobs.get(commit)

    def keeps_blobs(self) -> bool:
        return True

    def redactions(self) -> Iterator[Redaction]:
        return (found for entry in self.entries() if (found := redaction_of(entry)) is not None)

    def claim(self) -> Claim:
        return Claim(self.head_.size, self.head_.leaf, self.head_.root, self.ends, len(self.blobs))

    def checkpoints(self, after: int = 0) -> Iterator[StoredCheckpoint]:
        return (one for one in self.notes if one.size > after)

    def latest_checkpoint(self) -> StoredCheckpoint | None:
        return self.notes[-1] if self.notes else None

    def checkpoint(self, patience: float = 0.0) -> StoredCheckpoint | None:
        return None

    def faults(self) -> tuple[str, ...]:
        return ()
