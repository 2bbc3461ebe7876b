"""Content that is not there: erased by two people who said so in the log, or lost; and what cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from mimrun.errors import BlobKeyError, TamperError
from mimrun.log.chain import StoredBlob, is_committed
from mimrun.log.entry import LogEntry
from mimrun.log.kinds_proof import RedactApplied, RedactProposed
from mimrun.log.proof.stored import BlobClaim, Check
from mimrun.log.store import Source

MOST: Final = 1_000_000
"""Blobs of which it is kept that they are gone, until it is known what the log says about them."""


@dataclass
class Blobs:
    """Compares blobs with what entries say of them; judges those that are gone at the end.

    Arguments:
        complain: is told what is wrong.
    """

    complain: Callable[[int, Check, str], None]
    count: int = 0
    erased: list[str] = field(default_factory=list)
    unread: int = 0
    """How many are there and were not compared."""
    why_unread: str = ""
    _gone: list[BlobClaim] = field(default_factory=list)

    def compare(self, claims: Iterable[BlobClaim], source: Source) -> None:
        """Compare what a page of entries says with what is stored."""
        for claim in claims:
            self.count += 1
            try:
                stored = source.stored_blob(claim.commit)
            except BlobKeyError as exc:
                self.unread, self.why_unread = self.unread + 1, str(exc)
                continue
            except TamperError as exc:
                detail = f"the content of its blob {claim.name!r} is not what was recorded ({exc}); the entry itself is"
                self.complain(claim.seq, "blob", detail)
                continue
            if stored is None:
                self.miss(claim)
            elif why := blob_flaw(claim, stored):
                self.complain(claim.seq, "blob", why)

    def miss(self, claim: BlobClaim) -> None:
        """Remember that a blob is not there."""
        if len(self._gone) < MOST:
            self._gone.append(claim)
        else:
            self.complain(claim.seq, "blob", f"its blob {claim.name!r} is missing")

    def judge(self, entries: Iterable[LogEntry], is_there: Callable[[str], bool]) -> None:
        """Say which blobs were erased with authority, and which are missing.

        Arguments:
            entries: those that are about erasures, in order, each shown to be what was recorded.
            is_there: says whether there is a blob under a commitment.
        """
        authority = self._authority({entry.seq: entry for entry in entries})
        for claim in self._gone:
            key = (claim.seq, claim.name, claim.commit)
            if key in authority:
                said = f"blob {claim.name!r} of entry {claim.seq} was erased with authority: {authority[key]}"
                self.erased.append(said)
            else:
                self.complain(claim.seq, "blob", f"its blob {claim.name!r} is missing")
        for (seq, name, commit), who in authority.items():
            if is_there(commit):
                self.complain(seq, "redaction", f"its blob {name!r} was to be erased ({who}), and is there")

    def _authority(self, entries: dict[int, LogEntry]) -> dict[tuple[int, str, str], str]:
        """What was erased by two people: entry, name and commitment, and whose word it was."""
        found = {}
        for seq, entry in entries.items():
            body = entry.body
            if not isinstance(body, RedactApplied):
                continue
            asked = entries.get(body.proposal)
            if (
                asked is None
                or not isinstance(asked.body, RedactProposed)
                or asked.seq >= seq
                or asked.body.entry != body.entry
                or body.name not in asked.body.names
                or {asked.actor.kind, entry.actor.kind} != {"person"}
                or asked.actor.id == entry.actor.id
            ):
                self.complain(seq, "redaction", "content was erased without the word of two people")
                continue
            who = f"entry {seq}, proposed by {asked.actor.id}, applied by {entry.actor.id}"
            found[body.entry, body.name, body.commit] = who
        return found


def blob_flaw(claim: BlobClaim, stored: StoredBlob) -> str:
    """Why a stored blob is not what its entry says, or ""."""
    if not is_committed(stored, claim.commit):
        return f"the content of its blob {claim.name!r} is not what was recorded; the entry itself is"
    if len(stored.data) != claim.length:
        return f"its blob {claim.name!r} has {len(stored.data)} bytes and not {claim.length} as it says"
    return ""
