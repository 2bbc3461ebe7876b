"""A page of entries at a glance: is it whole, and what does the rest of the log have to know of it?

Pure, and fast because every entry of a log passes through here: a page that is as it should be is told in
a few lines of what it begins and ends with. Of a page that is not, nothing is said; `walk` looks at its
entries one by one and names what is wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from mimrun.canonical import MAX_INTEGER
from mimrun.log.body import wrong_body
from mimrun.log.chain import StoredRow
from mimrun.log.entry import FIELDS, MAX_ENTRY, NOTHING, VERSION
from mimrun.log.kind import Kind
from mimrun.log.proof.stored import MOMENT, are_orderly, blob_claims, is_actor, wrong_keys

Told: TypeAlias = "tuple[int, str, str, int, str]"
"""An entry's word about one of its blobs: `seq`, name, commitment, length, class."""

HEADS: Final = Kind.LOG_HEADS.value
WANTED: Final = ("log.", "redact.")
"""Beginnings of the kinds that say something about the log itself, so that their entries are told whole."""

_ORDER: Final = tuple(sorted(FIELDS))
_TYPES: Final = (dict, int, list, dict, int, str, str, int, str, str, str, str, int, str, str, str, int)
_ACTOR: Final = ("auth", "id", "kind", "via")
_PLAIN: Final = frozenset({str, bool, type(None)})


class Segment(NamedTuple):
    """A page of entries that fit to each other. Made of plain values, which another process can tell.

    Arguments:
        log: the origin that all of them name.
        first: place of the first entry; the others follow without a gap.
        prev: what the first is linked to.
        leaves: all leaf hashes, one after the other.
        first_ts: moment of the first.
        last_ts: moment of the last.
        incidents: where the part of each incident's chain in the page begins (`iseq`, `iprev`) and ends
            (`iseq`, leaf hash, `seq`).
        blobs: what the entries say of their blobs.
        wanted: bytes of the entries that say something about the log itself, by place; not of `log.heads`.
        heads: for each `log.heads` its place, what it says (how many incidents, root), and the incidents' ends
            (`iseq`, leaf hash) that changed since the one before it in the page.
        changed: the ends that changed behind the last of them.
    """

    log: str
    first: int
    prev: str
    leaves: bytes
    first_ts: str
    last_ts: str
    incidents: dict[str, tuple[int, str, int, str, int]]
    blobs: list[Told]
    wanted: list[tuple[int, bytes]]
    heads: list[tuple[int, int, str, dict[str, tuple[int, str]]]]
    changed: dict[str, tuple[int, str]]


def examine(rows: Sequence[StoredRow]) -> Segment | None:
    """Give what a page says to the rest of the log; None when something in it needs a closer look.

    Writing a value again gives the same bytes only if these were canonical, apart from the order of keys and
    from numbers that canonical JSON does not have; the shape of the value says that it has none of them.
    """
    page = _Page()
    try:
        # One after the other: a thousand values kept at once are slow to get at, and to throw away.
        if not rows or not all(map(page.take, rows)):
            return None
    except (ValueError, TypeError):
        return None
    return Segment(
        page.log,
        rows[0].seq,
        page.first_prev,
        b"".join(page.leaves),
        page.first_ts,
        page.last_ts,
        page.incidents,
        page.blobs,
        page.wanted,
        page.heads,
        page.changed,
    )


class _Page:
    """What is known of a page so far."""

    def __init__(self) -> None:
        self.log = self.leaf = self.first_prev = self.first_ts = self.last_ts = ""
        self.seq = 0
        self.leaves: list[bytes] = []
        self.incidents: dict[str, tuple[int, str, int, str, int]] = {}
        self.blobs: list[Told] = []
        self.wanted: list[tuple[int, bytes]] = []
        self.heads: list[tuple[int, int, str, dict[str, tuple[int, str]]]] = []
        self.changed: dict[str, tuple[int, str]] = {}

    def take(self, row: StoredRow) -> bool:
        """Go on with the next entry; False when something in it needs a closer look."""
        data = row.data
        value = orjson.loads(data)
        leaf = hashlib.sha256(b"\0" + data).digest()
        if (
            leaf != row.leaf
            or len(data) > MAX_ENTRY
            or orjson.dumps(value) != data
            or tuple(value) != _ORDER
            or tuple(map(type, value.values())) != _TYPES
            or not _is_sound(value)
        ):
            return False
        seq, kind, ts = value["seq"], value["kind"], value["ts"]
        if not self.leaves:
            self._begin(value)
        if seq != self.seq + 1 or row.seq != seq or value["prev"] != self.leaf or value["log"] != self.log:
            return False
        if row.kind is not None and (row.kind != kind or row.inc != value["inc"] or row.run != value["run"]):
            return False
        self.leaf = hexadecimal = leaf.hex()
        if ts < self.last_ts or not MOMENT.fullmatch(ts) or not self._chain(value, hexadecimal):
            return False
        if value["blobs"] and not self._speaks_of(seq, value["blobs"]):
            return False
        if kind == HEADS:
            self.heads.append((seq, value["body"]["incidents"], value["body"]["root"], self.changed))
            self.changed = {}
        elif kind.startswith(WANTED):
            self.wanted.append((seq, data))
        self.seq, self.last_ts = seq, ts
        self.leaves.append(leaf)
        return True

    def _begin(self, value: Mapping[str, Any]) -> None:
        self.log, self.seq = value["log"], value["seq"] - 1
        self.leaf = self.first_prev = value["prev"]
        self.first_ts = value["ts"]

    def _chain(self, value: Mapping[str, Any], leaf: str) -> bool:
        """Whether an entry goes on where the part of its incident in this page ended; note the new end."""
        inc, iseq, iprev = value["inc"], value["iseq"], value["iprev"]
        if not inc:
            return bool(iseq == 0 and iprev == NOTHING)
        self.changed[inc] = (iseq, leaf)
        begun = self.incidents.get(inc)
        if begun is None:
            self.incidents[inc] = (iseq, iprev, iseq, leaf, value["seq"])
            return True
        self.incidents[inc] = (begun[0], begun[1], iseq, leaf, value["seq"])
        return bool(begun[2] + 1 == iseq and begun[3] == iprev)

    def _speaks_of(self, seq: int, refs: Sequence[object]) -> bool:
        """Whether what an entry says of its blobs can be read."""
        claims = blob_claims(seq, refs)
        if claims is None or not are_orderly(refs):
            return False
        self.blobs += [(seq, claim.name, claim.commit, claim.length, claim.cls) for claim in claims]
        return True


def _is_sound(value: Mapping[str, Any]) -> bool:
    """Whether an entry with the right keys says what its kind has to say, in numbers that JSON can keep."""
    actor, body = value["actor"], value["body"]
    if tuple(actor) != _ACTOR or not is_actor(actor) or value["v"] != VERSION:
        return False
    # seq and iseq are compared with what they have to be.
    if not (0 <= value["attempt"] <= MAX_INTEGER and 0 <= value["epoch"] <= MAX_INTEGER):
        return False
    if value["seq"] > MAX_INTEGER or value["iseq"] > MAX_INTEGER:
        return False
    shape = _shape(value["kind"], tuple(body), tuple(map(type, body.values())))
    if shape is None or wrong_body(value["kind"], body):
        return False
    return all(-MAX_INTEGER <= body[name] <= MAX_INTEGER for name in shape[0]) and (
        not shape[1] or all(are_orderly(body[name]) for name in shape[1])
    )


@lru_cache(maxsize=4096)
def _shape(
    kind: str, keys: tuple[str, ...], types: tuple[type, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Which parts of a body are numbers, and which have an inside; None when it is no body of its kind."""
    if wrong_keys(kind, keys) or list(keys) != sorted(keys):
        return None
    numbers = tuple(key for key, of in zip(keys, types, strict=True) if of is int)
    wholes = tuple(key for key, of in zip(keys, types, strict=True) if of in (dict, list))
    plain = sum(of in _PLAIN for of in types)
    return (numbers, wholes) if plain + len(numbers) + len(wholes) == len(keys) else None


def split(leaves: bytes) -> Iterable[bytes]:
    """The leaf hashes that were written one after the other."""
    return (leaves[at : at + 32] for at in range(0, len(leaves), 32))
