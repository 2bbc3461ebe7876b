"""Going over stored entries in order, and naming each one that is not what was recorded.

Pure. The entry that was changed is the one to name, not the one behind it whose link no longer fits; so a link
that does not fit is a suspicion first, and is judged when it is known which side the others vouch for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mimrun.log.chain import Claim, IncidentHead, StoredRow
from mimrun.log.ends import Ends
from mimrun.log.entry import NOTHING
from mimrun.log.merkle import HASH_SIZE, Frontier
from mimrun.log.proof.segment import HEADS, WANTED, Segment, examine, split
from mimrun.log.proof.stored import (
    BlobClaim,
    Check,
    Flaw,
    blob_claims,
    parse,
    stored_leaf,
    wrong_entry,
)

MOST_FLAWS: Final = 1000
"""Flaws that are kept; the rest is only counted."""
_NO_END: Final = (0, NOTHING, 0)


class Walk:
    """Checks entries page by page.

    Arguments:
        log: the origin that every entry must name; None takes the first entry's.
    """

    def __init__(self, log: str | None = None) -> None:
        self.log = log
        self.seq = 0
        self.leaf = NOTHING
        self.first_ts = self.last_ts = ""
        self.frontier = Frontier()
        self._ends: dict[str, tuple[int, str, int]] = {}
        self._flaws: list[Flaw] = []
        self._flawed: set[int] = set()
        self._broken: set[int] = set()
        self._strays: list[tuple[int, int, Check, str]] = []
        self.more = 0
        """Flaws that were found and not kept."""
        self.wanted: list[bytes] = []
        """The entries about the log itself, but for its heads."""
        self.heads: set[int] = set()
        """Where the log says how its incidents ended."""
        self.roots: dict[int, str] = {}
        """The Merkle root at each size that was asked for."""
        self._tree = Ends()
        self._wrong_heads: list[int] = []

    def feed(
        self, rows: Sequence[StoredRow], segment: Segment | None = None, sizes: Iterable[int] = ()
    ) -> list[BlobClaim]:
        """Check the next page; give what its entries say of their blobs.

        Arguments:
            rows: the entries as they are stored.
            segment: what `examine` said of them, where another process has done that already.
            sizes: sizes of the log that lie in this page, and at which its root is wanted.
        """
        first = self.seq
        if rows and (segment := segment or examine(rows)) is not None and self._fits(segment):
            leaves = list(split(segment.leaves))
            claims = self._take(segment)
        else:
            leaves = [stored_leaf(row.data) for row in rows]
            claims = self._look(rows, leaves)
        done = 0
        for size in sorted(size - first for size in sizes):
            if done < size <= len(leaves):
                self.frontier, done = self.frontier.extend(leaves[done:size]), size
                self.roots[first + size] = self.frontier.root().hex()
        self.frontier = self.frontier.extend(leaves[done:])
        return claims

    def _fits(self, segment: Segment) -> bool:
        """Whether a page that is whole in itself goes on where the last one ended."""
        if segment.first != self.seq + 1 or segment.prev != self.leaf or segment.first_ts < self.last_ts:
            return False
        ends = self._ends
        return self.log in (None, segment.log) and all(
            (begun[0] - 1, begun[1]) == ends.get(inc, _NO_END)[:2] for inc, begun in segment.incidents.items()
        )

    def _take(self, segment: Segment) -> list[BlobClaim]:
        """Go on behind a page that is whole and fits."""
        self.log, self.first_ts = segment.log, self.first_ts or segment.first_ts
        self.last_ts = segment.last_ts
        for inc, (_, _, iseq, leaf, seq) in segment.incidents.items():
            self._ends[inc] = (iseq, leaf, seq)
        for seq, incidents, root, changed in segment.heads:
            self._compare_heads(seq, (incidents, root), changed)
        self._move(segment.changed)
        self.wanted += [data for _, data in segment.wanted]
        self.seq += len(segment.leaves) // HASH_SIZE
        self.leaf = segment.leaves[-HASH_SIZE:].hex()
        return [BlobClaim(*claim) for claim in segment.blobs]

    def _look(self, rows: Sequence[StoredRow], leaves: Sequence[bytes]) -> list[BlobClaim]:
        """Look at each entry of a page in which something does not fit, and name what is wrong."""
        values = [parse(row.data) for row in rows]
        if self.log is None:
            # One entry may have been changed to name another log; most of them name this one.
            named = Counter(value["log"] for value in values if value and isinstance(value["log"], str))
            self.log = named.most_common(1)[0][0] if named else None
        claims: list[BlobClaim] = []
        for row, value, leaf in zip(rows, values, leaves, strict=True):
            if row.seq != self.seq + 1:
                self._skip_to(row.seq)
            wrong = wrong_entry(row, value, leaf, self.log)
            if wrong is not None:
                self.flaw(row.seq, *wrong)
            hexadecimal = leaf.hex()
            if value is not None:
                self._follow(row.seq, value, hexadecimal)
                if wrong is None:
                    self._note_kind(row, value)
                    claims += self._blobs(row.seq, value["blobs"]) if value["blobs"] else []
            self.seq, self.leaf = row.seq, hexadecimal
        return claims

    def _note_kind(self, row: StoredRow, value: dict[str, Any]) -> None:
        """Keep what an entry says about the log itself, and the end of its incident."""
        kind, inc = value["kind"], value["inc"]
        if kind == HEADS:
            self._compare_heads(row.seq, (value["body"]["incidents"], value["body"]["root"]), {})
        elif kind.startswith(WANTED):
            self.wanted.append(row.data)
        if inc:
            self._move({inc: self._ends[inc][:2]})

    def _compare_heads(
        self, seq: int, said: tuple[object, object], changed: Mapping[str, tuple[int, str]]
    ) -> None:
        """Compare what an entry says of the incidents' ends with where they were."""
        self.heads.add(seq)
        self._move(changed)
        if said != (len(self._tree), self._tree.root):
            self._wrong_heads.append(seq)

    def _move(self, changed: Mapping[str, tuple[int, str]]) -> None:
        if changed:
            self._tree.update({inc: IncidentHead(iseq, leaf) for inc, (iseq, leaf) in changed.items()})

    def finish(self, claim: Claim | None = None) -> tuple[Flaw, ...]:
        """Judge the suspicions and the store's word about its end; give all flaws, the first one first."""
        whole = claim is not None and (claim.size, claim.leaf) == (self.seq, self.leaf)
        for seq in sorted(self._broken):
            self._judge(seq, vouched=seq + 1 not in self._broken and (seq < self.seq or whole))
        flawed = sorted(self._flawed)
        for seq, before, check, detail in self._strays:
            # An entry in between that is missing or changed may have been the one that should fit.
            if bisect_left(flawed, before) == bisect_right(flawed, seq):
                self.flaw(seq, check, detail)
        # Behind an entry that is wrong, the ends of the incidents cannot be known.
        first = min(self._flawed, default=self.seq + 1)
        for seq in self._wrong_heads:
            if seq < first:
                self.flaw(seq, "heads", "it does not say where the incidents ended")
        if claim is not None and not self._flaws:
            self._check_claim(claim)
        # What is wrong with the whole comes last: the entries are what a person looks for.
        return tuple(sorted(self._flaws, key=lambda flaw: (flaw.seq == 0, flaw)))

    @property
    def incidents(self) -> dict[str, IncidentHead]:
        """The end of each incident's chain so far."""
        return {inc: IncidentHead(iseq, leaf) for inc, (iseq, leaf, _) in self._ends.items()}

    def flaw(self, seq: int, check: Check, detail: str) -> None:
        """Note a flaw."""
        self._flawed.add(seq)
        if len(self._flaws) < MOST_FLAWS:
            self._flaws.append(Flaw(seq, check, detail))
        else:
            self.more += 1

    def _skip_to(self, seq: int) -> None:
        if seq > self.seq + 1:
            last = seq - 1
            many = f"entries {self.seq + 1} to {last} are" if last > self.seq + 1 else "it is"
            self.flaw(self.seq + 1, "missing", f"{many} missing")
            self._flawed.add(last)
        else:
            self.flaw(seq, "place", f"stored behind entry {self.seq}")

    def _follow(self, seq: int, value: dict[str, Any], leaf: str) -> None:
        """Compare what the entry is linked to with what was there."""
        if value["prev"] != self.leaf and not self._flawed & {seq, seq - 1}:
            self._broken.add(seq)
        ts = value["ts"]
        if ts < self.last_ts:
            self._stray(seq, seq - 1, "time", f"recorded at {ts}, before the one before it ({self.last_ts})")
        self.first_ts, self.last_ts = self.first_ts or ts, ts
        inc = value["inc"]
        iseq, iprev, before = self._ends.get(inc, _NO_END)
        expected = iseq + 1 if inc else 0
        if value["iseq"] != expected or value["iprev"] != iprev:
            detail = f"not linked to the entry before it in {inc or 'no incident'} (number {iseq})"
            self._stray(seq, before, "incident", detail)
        if inc:
            self._ends[inc] = (value["iseq"], leaf, seq)

    def _stray(self, seq: int, before: int, check: Check, detail: str) -> None:
        """Suspect an entry that does not fit to one before it; judged when all flaws are known."""
        if len(self._strays) < MOST_FLAWS:
            self._strays.append((seq, before, check, detail))

    def _blobs(self, seq: int, refs: object) -> list[BlobClaim]:
        claims = blob_claims(seq, refs)
        if claims is None:
            self.flaw(seq, "body", "what it says about its blobs cannot be read")
        return claims or []

    def _judge(self, seq: int, *, vouched: bool) -> None:
        """Entry `seq` is linked to something else than entry `seq - 1`: which of the two was changed?"""
        if self._flawed & {seq, seq - 1}:
            return
        if vouched and seq > 1:
            self.flaw(seq - 1, "link", f"it is not the entry that entry {seq} was linked to")
        else:
            self.flaw(
                seq, "link", f"it is not linked to entry {seq - 1}" if seq > 1 else "it is not the first"
            )

    def _check_claim(self, claim: Claim) -> None:
        if claim.size > self.seq:
            self.flaw(self.seq + 1, "missing", f"the log had {claim.size} entries; it ends at {self.seq}")
        elif claim.size < self.seq:
            self.flaw(claim.size + 1, "head", f"the log notes its end at entry {claim.size}")
        elif claim.leaf != self.leaf:
            self.flaw(self.seq, "link", "it is not the entry that the log notes as its last")
        elif claim.root != self.frontier.root().hex():
            self.flaw(0, "head", "the Merkle tree that the log keeps does not fit its entries")
        elif claim.incidents is not None and dict(claim.incidents) != (mine := self.incidents):
            other = {i for i, _ in claim.incidents.items() ^ mine.items()}
            self.flaw(
                0, "head", f"the ends that the log notes do not fit for: {', '.join(sorted(other)[:10])}"
            )


def verify_chain(rows: Iterable[StoredRow], claim: Claim | None = None) -> tuple[Flaw, ...]:
    """Check a chain of entries from its first; give every flaw, the first one first.

    Arguments:
        rows: the entries as they are stored.
        claim: what the store says about its end, where it does.
    """
    walk = Walk()
    walk.feed(list(rows))
    return walk.finish(claim)
