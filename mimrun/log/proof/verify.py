"""Verifying: is everything in the log what was recorded? Only reads, so a copy will do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from mimrun.canonical import Json
from mimrun.errors import LogError, StoreError, TamperError
from mimrun.log.chain import Claim, StoredBlob, StoredCheckpoint, StoredRow, is_committed
from mimrun.log.merkle import leaf_hash
from mimrun.log.proof.stored import BlobClaim, Flaw, seq_of
from mimrun.log.proof.walk import Walk
from mimrun.log.redaction import Redaction
from mimrun.log.store import Source

PAGE: Final = 1000
"""Entries that are checked at once."""


@dataclass(frozen=True, slots=True)
class Known:
    """What somebody noted about the log earlier, outside of it.

    Arguments:
        size: how many entries there were.
        root: the Merkle root over them, hexadecimal.
    """

    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Report:
    """What verifying found.

    Arguments:
        log: the origin.
        scope: what was looked at: "the whole log", or one incident of it.
        size: how many entries there are.
        root: Merkle root over them; note it with the size, somewhere else, to prove these entries later.
        first_ts: moment of the first entry.
        last_ts: moment of the last entry.
        incidents: how many incidents there are.
        blobs: how many blobs were compared with what their entries say.
        flaws: what is wrong, the first entry first; empty when the log is intact.
        more: flaws that were found and are not listed.
        known: what was noted earlier and compared, if anything.
    """

    log: str
    scope: str
    size: int
    root: str
    first_ts: str
    last_ts: str
    incidents: int
    blobs: int
    flaws: tuple[Flaw, ...]
    more: int = 0
    known: Known | None = None

    @property
    def ok(self) -> bool:
        """Whether everything is as it was recorded."""
        return not self.flaws

    def as_json(self) -> dict[str, Json]:
        """The report for a machine."""
        return {
            "ok": self.ok,
            "log": self.log,
            "scope": self.scope,
            "size": self.size,
            "root": self.root,
            "first_ts": self.first_ts,
            "last_ts": self.last_ts,
            "incidents": self.incidents,
            "blobs": self.blobs,
            "flaws": [{"seq": f.seq, "check": f.check, "detail": f.detail} for f in self.flaws],
            "more": self.more,
            "known": {"size": self.known.size, "root": self.known.root} if self.known else None,
        }

    def __str__(self) -> str:
        lines = [
            f"{self.scope} of {self.log}: {self.size} entries, {self.incidents} incidents, {self.blobs} blobs"
            + (f", {self.first_ts} to {self.last_ts}" if self.first_ts else "")
        ]
        if self.flaws:
            first = self.flaws[0].seq
            where = f", the first at entry {first}" if first else ""
            lines += [f"not intact: {len(self.flaws) + self.more} flaws{where}"]
            lines += [f"  {flaw}" for flaw in self.flaws[:20]]
            left = len(self.flaws) + self.more - 20
            return "\n".join([*lines, f"  and {left} more"] if left > 0 else lines)
        lines += [f"intact; size {self.size}, root {self.root}"]
        if self.known is not None:
            lines += [f"its first {self.known.size} entries are those that were noted earlier"]
        else:
            lines += [
                "not compared with a root noted elsewhere: a log rewritten as a whole, or cut at its end, would not show",
                f"to compare later, note outside of this machine: {self.size}:{self.root}",
            ]
        return "\n".join(lines)


def verify(source: Source, *, known: Known | None = None) -> Report:
    """Check a whole log: bytes, hashes, links, incident chains, blobs, Merkle tree.

    Arguments:
        source: a store, a `LogReader` on a copy, or the `Lines` of a whole log.
        known: size and root that were noted earlier outside of the log.

    Returns:
        A report that names each entry that is not what was recorded.
    """
    walk = Walk(source.log or None)
    blobs, claim = _read_all(walk, source, known)
    if known is not None and known.size > walk.seq:
        walk.flaw(walk.seq + 1, "missing", f"the log had {known.size} entries when its root was noted")
    flaws = walk.finish(claim)
    if not flaws and claim is not None and claim.blobs not in (None, blobs):
        flaws = (Flaw(0, "blob", f"{claim.blobs} blobs are stored and the entries speak of {blobs}"),)
    return Report(
        log=walk.log or "",
        scope="the whole log",
        size=walk.seq,
        root=walk.frontier.root().hex(),
        first_ts=walk.first_ts,
        last_ts=walk.last_ts,
        incidents=len(walk.incidents),
        blobs=blobs,
        flaws=flaws,
        more=walk.more,
        known=known,
    )


def _read_all(walk: Walk, source: Source, known: Known | None) -> tuple[int, Claim | None]:
    """Check every entry; give how many blobs they speak of, and what the source says of its end."""
    blobs, claim = 0, None
    try:
        while True:
            before = walk.seq
            blobs += _read_on(walk, source, known)
            if claim is not None and walk.seq == before:
                break
            claim = source.claim()
            if claim is None or claim.size <= walk.seq:
                break
            # Others may have appended meanwhile; what is really missing will not come in another round.
        for fault in source.faults():
            walk.flaw(0, "file", f"the file is damaged: {fault}")
    except StoreError as exc:
        walk.flaw(walk.seq + 1, "file", f"the log cannot be read from here on: {exc}")
    except LogError as exc:
        walk.flaw(0, "head", str(exc))
    return blobs, claim


def _read_on(walk: Walk, source: Source, known: Known | None) -> int:
    """Check the entries that the walk has not seen; give how many blobs they speak of."""
    blobs = 0
    for page in _pages(source.rows(walk.seq), walk.seq, known):
        claims = walk.feed(page)
        blobs += len(claims)
        if source.keeps_blobs():
            for claim in claims:
                if why := _blob_flaw(claim, source):
                    walk.flaw(claim.seq, "blob", why)
        if known is not None and walk.seq == known.size and walk.frontier.root().hex() != known.root:
            walk.flaw(0, "anchor", f"the first {known.size} entries are not those whose root was noted")
    return blobs


class Lines:
    """A whole log as lines of canonical JSON, one entry a line; a `Source` without blobs.

    Arguments:
        lines: the lines, with or without their line ends.
    """

    log = ""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)

    def rows(self, after: int = 0) -> Iterator[StoredRow]:
        """The lines as rows, each at the place that it says, if that is borne out by the next one."""
        lines = (line.removesuffix(b"\n") for line in self._lines)
        data = next(lines, None)
        while data is not None:
            following = next(lines, None)
            after = _place(seq_of(data), after + 1, None if following is None else seq_of(following))
            yield StoredRow(after, data, leaf_hash(data))
            data = following

    def stored_blob(self, commit: str) -> StoredBlob | None:
        """Lines bring no blobs with them."""
        return None

    def redactions(self) -> Iterator[Redaction]:
        """Lines bring no blobs with them, so none can have been erased."""
        return iter(())

    def keeps_blobs(self) -> bool:
        """Lines bring no blobs with them, so none can be missed."""
        return False

    def claim(self) -> Claim | None:
        """Lines say nothing of their end."""
        return None

    def checkpoints(self, after: int = 0) -> Iterator[StoredCheckpoint]:
        """Lines bring no checkpoints with them."""
        return iter(())

    def faults(self) -> tuple[str, ...]:
        """Lines have no file that could be damaged apart from them."""
        return ()


def _blob_flaw(claim: BlobClaim, source: Source) -> str:
    """Why what a source has of a blob is not what its entry says, or ""."""
    try:
        return blob_flaw(claim, source.stored_blob(claim.commit))
    except TamperError as exc:
        return f"the content of its blob {claim.name!r} is not what was recorded ({exc}); the entry itself is"


def blob_flaw(claim: BlobClaim, stored: StoredBlob | None) -> str:
    """Why a stored blob is not what its entry says, or ""."""
    if stored is None:
        return f"its blob {claim.name!r} is missing"
    if not is_committed(stored, claim.commit):
        return f"the content of its blob {claim.name!r} is not what was recorded; the entry itself is"
    if len(stored.data) != claim.length:
        return f"its blob {claim.name!r} has {len(stored.data)} bytes and not {claim.length} as it says"
    return ""


def _place(said: int | None, due: int, said_next: int | None) -> int:
    """Where a line stands: where it says, unless what it says was changed.

    Arguments:
        said: the place that the line says, if it says one.
        due: the place that comes next.
        said_next: the place that the line behind it says.
    """
    if said is None or said == due or said_next == due + 1:
        return due
    return said if said_next == said + 1 or said > due else due


def _pages(rows: Iterator[StoredRow], seen: int, known: Known | None) -> Iterator[list[StoredRow]]:
    """Pages of rows, one of which ends at the size that was noted earlier."""
    left = max(known.size - seen, 0) if known is not None else 0
    while page := list(islice(rows, min(left, PAGE) or PAGE)):
        yield page
        left = max(left - len(page), 0)
