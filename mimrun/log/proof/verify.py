"""Verifying: is everything in the log what was recorded? Only reads, so a copy will do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Final

from mimrun.errors import BlobKeyError, LogError, StoreError, TamperError
from mimrun.log.chain import Claim, StoredCheckpoint, StoredRow
from mimrun.log.entry import LogEntry, decode
from mimrun.log.kinds import LogMoved
from mimrun.log.proof.beside import Beside
from mimrun.log.proof.erased import Blobs
from mimrun.log.proof.lines import Lines
from mimrun.log.proof.report import Findings, Known, Report, Trust
from mimrun.log.proof.signed import Signed, size_said
from mimrun.log.proof.stored import Check, Flaw, seq_of
from mimrun.log.proof.walk import MOST_FLAWS, Walk
from mimrun.log.store import Source

__all__ = ["Known", "Lines", "Report", "Trust", "verify"]

PAGE: Final = 1000
"""Entries that are checked at once."""

_BESIDE: Final = frozenset({"blob", "column", "heads", "redaction"})
"""What can be wrong without an entry's bytes being other ones."""

Progress = Callable[[int], object]
"""Is told how many entries have been checked."""


def verify(
    source: Source,
    *,
    known: Known | None = None,
    trust: Trust | None = None,
    classes: Collection[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check a whole log: bytes, hashes, links, incident chains, blobs, Merkle tree, keys and checkpoints.

    Arguments:
        source: a store, a `LogReader` on a copy, or the `Lines` of a whole log.
        known: size and root that were noted earlier outside of the log; the same as in `trust`.
        trust: what the log is compared with, and whose signatures count.
        classes: of which classes blobs have to be there; None for all, unless the source keeps none.
        progress: is told how far it is.

    Returns:
        A report that names each entry that is not what was recorded, and says how many blobs could not be compared.
    """
    trust = trust or Trust(known=known)
    audit = _Audit(source, trust, progress, classes)
    claim = audit.read()
    return audit.report(claim)


class _Audit:
    """One verification of a source."""

    def __init__(
        self, source: Source, trust: Trust, progress: Progress | None, classes: Collection[str] | None
    ) -> None:
        self.source, self.trust, self.progress, self.classes = source, trust, progress, classes
        self.walk = Walk(source.log or None)
        # Kept apart: that content is gone says nothing about which entry was changed.
        self.beside: list[Flaw] = []
        self.more = 0
        self.blobs = Blobs(self._complain)
        self.stored: list[StoredCheckpoint] = []

    def read(self) -> Claim | None:
        """Check every entry; give what the source says of its end."""
        walk, claim = self.walk, None
        try:
            while True:
                before = walk.seq
                self._read_on()
                if claim is not None and walk.seq == before:
                    break
                claim = self.source.claim()
                if claim is None or claim.size <= walk.seq:
                    break
                # Others may have appended meanwhile; what is really missing will not come in another round.
            for fault in self.source.faults():
                walk.flaw(0, "file", f"the file is damaged: {fault}")
        except StoreError as exc:
            walk.flaw(walk.seq + 1, "file", f"the log cannot be read from here on: {exc}")
        except LogError as exc:
            walk.flaw(0, "head", str(exc))
        return claim

    def report(self, claim: Claim | None) -> Report:
        """Judge what was found."""
        walk, found = self.walk, list(self.walk.finish(claim))
        about = list(_decoded(walk.wanted, found))
        self.blobs.judge(about, self._is_there)
        found += self.beside
        changed = [flaw.seq for flaw in found if flaw.seq and flaw.check not in _BESIDE]
        signed = Signed(
            walk.log or "",
            self.trust,
            lambda seq, check, detail: found.append(Flaw(seq, check, detail)),
            walk.roots,
            min(changed, default=2**53),
        )
        signed.take_keys(about)
        signed.check_stored(self.stored, walk.heads.__contains__, walk.seq, whole=True)
        if not self.stored:
            signed.check_unsigned(about, len(walk.heads), self._may_be_signed)
        if self._wants_signature() and signed.last is None:
            # Whoever says whom they trust is not to be shown something that nobody has signed.
            found.append(Flaw(0, "checkpoint", "no checkpoint is here that a key which you trust has signed"))
        signed.check_kept(walk.seq, whole=True)
        signed.say_limits(about, walk.seq)
        found += _wrong_mark(claim, about, walk)
        if not found and claim is not None and claim.blobs not in (None, self._there):
            detail = f"{claim.blobs} blobs are stored and the entries speak of {self._there}"
            found.append(Flaw(0, "blob", detail))
        return self._report(found, signed)

    @property
    def _there(self) -> int:
        """How many blobs the entries speak of that were not erased."""
        return self.blobs.count - len(self.blobs.erased)

    def _report(self, found: list[Flaw], signed: Signed) -> Report:
        walk = self.walk
        return Report(
            log=walk.log or "",
            scope="the whole log",
            size=walk.seq,
            root=walk.frontier.root().hex(),
            first_ts=walk.first_ts,
            last_ts=walk.last_ts,
            incidents=len(walk.incidents),
            blobs=self._there - self.blobs.unread,
            flaws=tuple(sorted(found, key=lambda flaw: (flaw.seq == 0, flaw))),
            more=walk.more + self.more,
            known=self.trust.known,
            findings=self._findings(signed),
            unread=self.blobs.unread,
        )

    def _wants_signature(self) -> bool:
        """Whether somebody was named who must have signed."""
        trust = self.trust
        return bool(trust.root or trust.keys or trust.witnesses) and not trust.unsigned

    def _findings(self, signed: Signed) -> Findings:
        """What comes out beside the flaws, with what could not be looked at among what is not proven."""
        found, blobs = signed.findings(self.blobs.erased), self.blobs
        if not blobs.unread:
            return found
        unread = f"that blobs hold what was recorded ({blobs.unread} of them): {blobs.why_unread}"
        return replace(found, not_proven=(*found.not_proven, unread))

    def _complain(self, seq: int, check: Check, detail: str) -> None:
        if len(self.beside) < MOST_FLAWS:
            self.beside.append(Flaw(seq, check, detail))
        else:
            self.more += 1

    def _may_be_signed(self) -> bool:
        """Whether a checkpoint is stored by now, or the source would not show it."""
        try:
            return isinstance(self.source, Lines) or any(True for _ in self.source.checkpoints())
        except StoreError:
            return True

    def _is_there(self, commit: str) -> bool:
        """Whether the source has something under a commitment, whatever it is."""
        try:
            return self.source.keeps_blobs() and self.source.stored_blob(commit) is not None
        except (BlobKeyError, TamperError):
            return True

    def _read_on(self) -> None:
        """Check the entries that the walk has not seen."""
        walk = self.walk
        self.stored += self.source.checkpoints(self.stored[-1].size if self.stored else 0)
        sizes = {one.size for one in self.stored} | {size_said(note) for note in self.trust.notes}
        sizes |= {size_said(kept.note) for kept in self.trust.kept}
        if self.trust.known is not None:
            sizes.add(self.trust.known.size)
        wanted = sorted(sizes)
        keeps_blobs = self.source.keeps_blobs()
        with Beside() as beside:
            for page, segment in beside.examine(_pages(self.source.rows(walk.seq))):
                upto = [size for size in wanted if walk.seq < size <= walk.seq + len(page)]
                claims = walk.feed(page, segment, upto)
                if self.classes is not None:
                    claims = [claim for claim in claims if claim.cls in self.classes]
                if keeps_blobs:
                    self.blobs.compare(claims, self.source)
                else:
                    self.blobs.count += len(claims)
                if self.progress is not None:
                    self.progress(walk.seq)


def _wrong_mark(claim: Claim | None, about: Iterable[LogEntry], walk: Walk) -> list[Flaw]:
    """What is wrong with the mark that says that the log goes on elsewhere: its last entry has to say so, heads aside."""
    if claim is None or not claim.moved:
        return []
    said = [(entry.seq, entry.body.to) for entry in about if isinstance(entry.body, LogMoved)][-1:]
    if any(to == claim.moved and walk.heads.issuperset(range(seq + 1, walk.seq + 1)) for seq, to in said):
        return []
    return [Flaw(0, "moved", f"it is marked as one that goes on at {claim.moved}, and no entry says so")]


def _decoded(wanted: Iterable[bytes], found: list[Flaw]) -> Iterator[LogEntry]:
    """Read the entries that say something of others. One that cannot be read is named, unless it was already."""
    named = {flaw.seq for flaw in found}
    for data in wanted:
        try:
            yield decode(data)
        except TamperError as exc:
            seq = seq_of(data) or 0
            if seq not in named:
                found.append(Flaw(seq, "body", f"it cannot be read: {exc}"))


def _pages(rows: Iterator[StoredRow]) -> Iterator[list[StoredRow]]:
    while page := list(islice(rows, PAGE)):
        yield page
