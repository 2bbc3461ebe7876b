"""Going over stored entries in order, and naming each one that is not what was recorded.

Pure. What is stored is hostile until shown otherwise: it may be of any type, in any order, and forged.
The entry that was changed is the one to name, not the one behind it whose link no longer fits; so a link
that does not fit is a suspicion first, and is judged when it is known which side the others vouch for.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from mimrun import canonical
from mimrun.canonical import MAX_INTEGER
from mimrun.log.chain import Claim, IncidentHead, StoredRow
from mimrun.log.entry import FIELDS, MAX_ENTRY, NOTHING, VERSION
from mimrun.log.kinds import BODIES
from mimrun.log.merkle import Frontier, leaf_hash

MOST_FLAWS: Final = 1000
"""Flaws that are kept; the rest is only counted."""

Check: TypeAlias = Literal[
    "anchor",  # the log is not the one whose size and root somebody wrote down
    "blob",  # the content of a blob is not what the entry commits to
    "body",  # the body does not say what its kind has to say
    "bytes",  # not an entry at all
    "canonical",  # an entry, but not in canonical form
    "column",  # the store finds it under another kind, incident or run than it says
    "file",  # the database file is damaged
    "head",  # the store's own note of its end does not fit the entries
    "incident",  # not the next entry of its incident's chain
    "leaf",  # the bytes and the hash stored beside them do not fit
    "link",  # the next entry was linked to something else
    "missing",  # there is no such entry any more
    "origin",  # an entry of another log
    "place",  # the entry says that it belongs elsewhere
    "proof",  # the proof that it was in the log does not hold
    "time",  # recorded before the entry before it
]
"""What can be wrong."""


@dataclass(frozen=True, slots=True, order=True)
class Flaw:
    """One thing that is not as it was recorded.

    Arguments:
        seq: the entry; 0 where the log or the file as a whole is meant.
        check: what did not hold.
        detail: for a person.
    """

    seq: int
    check: Check
    detail: str

    def __str__(self) -> str:
        return f"entry {self.seq}: {self.detail}" if self.seq else self.detail


@dataclass(frozen=True, slots=True)
class BlobClaim:
    """An entry's word about one of its blobs."""

    seq: int
    name: str
    commit: str
    length: int


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
        self.incidents: dict[str, IncidentHead] = {}
        self._flaws: list[Flaw] = []
        self._flawed: set[int] = set()
        self._broken: set[int] = set()
        self._strays: list[tuple[int, int, str]] = []
        self._last_of: dict[str, int] = {}
        self.more = 0
        """Flaws that were found and not kept."""

    def feed(self, rows: Sequence[StoredRow]) -> list[BlobClaim]:
        """Check the next page; give what its entries say of their blobs."""
        values = [parse(row.data) for row in rows]
        leaves = [_leaf(row.data) for row in rows]
        canonical_page = _page_is_canonical(rows, values)
        claims: list[BlobClaim] = []
        for row, value, leaf in zip(rows, values, leaves, strict=True):
            if row.seq != self.seq + 1:
                self._skip_to(row.seq)
            self._check_row(row, value, leaf, known_canonical=canonical_page)
            if value is not None:
                self._follow(row.seq, value, leaf.hex())
                if value["blobs"] and row.seq not in self._flawed:
                    claims += self._blobs(row.seq, value["blobs"])
            self.seq, self.leaf = row.seq, leaf.hex()
        self.frontier = self.frontier.extend(leaves)
        return claims

    def finish(self, claim: Claim | None = None) -> tuple[Flaw, ...]:
        """Judge the suspicions and the store's word about its end; give all flaws, the first one first."""
        whole = claim is not None and (claim.size, claim.leaf) == (self.seq, self.leaf)
        for seq in sorted(self._broken):
            self._judge(seq, vouched=seq + 1 not in self._broken and (seq < self.seq or whole))
        flawed = sorted(self._flawed)
        for seq, before, detail in self._strays:
            # An entry in between that is missing or changed may have been the one it is linked to.
            if bisect_left(flawed, before) == bisect_right(flawed, seq):
                self.flaw(seq, "incident", detail)
        if claim is not None and not self._flaws:
            self._check_claim(claim)
        # What is wrong with the whole comes last: the entries are what a person looks for.
        return tuple(sorted(self._flaws, key=lambda flaw: (flaw.seq == 0, flaw)))

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

    def _check_row(
        self, row: StoredRow, value: dict[str, Any] | None, leaf: bytes, *, known_canonical: bool
    ) -> None:
        wrong = wrong_entry(row, value, leaf, self.log, known_canonical=known_canonical)
        if wrong is not None:
            self.flaw(row.seq, *wrong)

    def _follow(self, seq: int, value: dict[str, Any], leaf: str) -> None:
        """Compare what the entry is linked to with what was there."""
        if self.log is None and seq not in self._flawed:
            self.log = value["log"]
        if value["prev"] != self.leaf and not self._flawed & {seq, seq - 1}:
            self._broken.add(seq)
        ts = value["ts"]
        if ts < self.last_ts and not self._flawed & {seq, seq - 1}:
            self.flaw(seq, "time", f"recorded at {ts}, before the entry before it ({self.last_ts})")
        self.first_ts, self.last_ts = self.first_ts or ts, ts
        inc = value["inc"]
        before = self.incidents.get(inc) or IncidentHead()
        expected = (before.iseq + 1, before.leaf) if inc else (0, NOTHING)
        if (value["iseq"], value["iprev"]) != expected and len(self._strays) < MOST_FLAWS:
            detail = f"not linked to the entry before it in {inc or 'no incident'} (number {before.iseq})"
            self._strays.append((seq, self._last_of.get(inc, 0), detail))
        if inc:
            self.incidents[inc] = IncidentHead(value["iseq"], leaf)
            self._last_of[inc] = seq

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
        elif claim.incidents is not None and dict(claim.incidents) != self.incidents:
            other = {i for i, _ in claim.incidents.items() ^ self.incidents.items()}
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


def wrong_entry(
    row: StoredRow,
    value: dict[str, Any] | None,
    leaf: bytes,
    log: str | None,
    *,
    known_canonical: bool = False,
) -> tuple[Check, str] | None:
    """What is wrong with an entry by itself, whatever it is linked to; None when nothing is.

    Arguments:
        row: the entry as it is stored.
        value: what `parse` made of its bytes.
        leaf: the leaf hash of its bytes.
        log: the origin that it must name, if that is known.
        known_canonical: whether its bytes have been shown to be canonical already.
    """
    if value is None:
        return "bytes", f"these bytes are not an entry: {row.data!r:.80}"
    if leaf != row.leaf:
        return "leaf", "its bytes and the hash stored beside them do not fit: one was changed"
    if value["seq"] != row.seq:
        return "place", f"it says that it is entry {value['seq']}"
    if not known_canonical and not _is_canonical(row.data, value):
        return "canonical", "it is not in canonical form"
    if log is not None and value["log"] != log:
        return "origin", f"it belongs to the log {value['log']!r}"
    if row.kind is not None and row[3:] != (value["kind"], value["inc"], value["run"]):
        return "column", f"it is stored as {row[3:]}, which is not what it says"
    if why := _wrong_body(value):
        return "body", why
    return None


def blob_claims(seq: int, refs: object) -> list[BlobClaim] | None:
    """What an entry says of its blobs; None when that cannot be read."""
    if not isinstance(refs, list) or not all(_is_blob_ref(ref) for ref in refs):
        return None
    return [BlobClaim(seq, ref["n"], ref["commit"], ref["len"]) for ref in refs]


def seq_of(data: bytes) -> int | None:
    """The place that an entry says it has, from a look at its bytes; they need not be intact."""
    found = _SEQ.search(data)
    return int(found[1]) if found else None


_ORDER: Final = sorted(FIELDS)
_ACTOR: Final = ["auth", "id", "kind", "via"]
_BLOB: Final = ["cls", "commit", "len", "n"]
_TEXT: Final = {str}
_PLAIN: Final = {str, bool, int, type(None)}
_SEQ: Final = re.compile(rb'"seq":([1-9][0-9]{0,15}),"step":')
_HEX: Final = re.compile(r"[0-9a-f]{64}")


def _leaf(data: object) -> bytes:
    """The leaf hash; of something that is not bytes at all, none."""
    return leaf_hash(data) if isinstance(data, bytes) else b""


def parse(data: bytes) -> dict[str, Any] | None:
    """The object that the bytes are, if they have the keys of an entry, with values of the right types."""
    if type(data) is not bytes:
        return None
    try:
        value = from_json(data)
    except (ValueError, TypeError):
        return None
    if type(value) is not dict or value.keys() != FIELDS or value["v"] != VERSION:
        return None
    texts = type(value["ts"]) is type(value["inc"]) is type(value["run"]) is type(value["kind"]) is str
    return value if texts and type(value["seq"]) is type(value["iseq"]) is int else None


def _page_is_canonical(rows: Sequence[StoredRow], values: Sequence[dict[str, Any] | None]) -> bool:
    """Whether all rows of a page are canonical; False leaves it to a closer look at each.

    Fast, because it has to look at every entry. An object keeps the order in which its keys were read,
    so writing it again gives the same bytes only if these were written as canonical JSON is, apart from
    the order of the keys and from numbers that it does not have; `_is_orderly` looks at those two.
    Comparing a page at once is sound: every row is by itself one JSON object, and where an object ends
    is given by its braces, so rows and texts cannot differ and still join to the same.
    """
    if not all(value is not None and _is_orderly(value) for value in values):
        return False
    if any(len(row.data) > MAX_ENTRY for row in rows):
        return False
    return to_json(values) == b"[" + b",".join([row.data for row in rows]) + b"]"


def _is_orderly(value: dict[str, Any]) -> bool:
    """Whether all keys are sorted and all numbers are integers; whatever looks unusual is not orderly.

    That the numbers of a body are not too large is for its model to say.
    """
    actor, body, attempt, epoch = value["actor"], value["body"], value["attempt"], value["epoch"]
    if list(value) != _ORDER or type(actor) is not dict or list(actor) != _ACTOR or type(body) is not dict:
        return False
    if not type(attempt) is type(epoch) is int or not 0 <= max(attempt, epoch, value["seq"]) <= MAX_INTEGER:
        return False
    texts = {type(value["iprev"]), type(value["log"]), type(value["prev"]), *map(type, actor.values())}
    if texts != _TEXT or not type(value["step"]) is type(value["target"]) is str:
        return False
    if any(list(ref) != _BLOB or type(ref["len"]) is not int for ref in value["blobs"]):
        return False
    return _is_sorted(body)


def _is_sorted(part: object) -> bool:
    if isinstance(part, dict):
        keys = list(part)
        if keys != sorted(keys):
            return False
        parts: Collection[object] = part.values()
    elif isinstance(part, list):
        parts = part
    else:
        return type(part) in _PLAIN
    return _PLAIN.issuperset(map(type, parts)) or all(map(_is_sorted, parts))


def _is_canonical(data: bytes, value: dict[str, Any]) -> bool:
    try:
        return len(data) <= MAX_ENTRY and canonical.encode(value) == data
    except ValueError:
        return False


def _wrong_body(value: dict[str, Any]) -> str:
    """Why the body is not what its kind has to say, or ""."""
    body, actor = BODIES.get(value["kind"]), value["actor"]
    if body is None:
        return f"this version does not know the kind {value['kind']!r}"
    if type(actor) is not dict or sorted(actor) != _ACTOR:
        return "it does not say who caused it"
    try:
        body.model_validate(value["body"])
    except ValidationError as exc:
        return f"its body is not one of {value['kind']}: {exc.errors()[0]['msg']}"
    return ""


def _is_blob_ref(ref: object) -> bool:
    if not isinstance(ref, dict) or sorted(ref) != _BLOB or type(ref["len"]) is not int:
        return False
    return type(ref["commit"]) is str and bool(_HEX.fullmatch(ref["commit"]))
