"""The ends of all incidents' chains, kept as a Merkle tree whose root is cheap to have again after a few changes.

A log may hold very many incidents, of which few move between two checkpoints. So the hashes of the tree stay
in memory (about 200 bytes an incident), and only what lies above a changed leaf is hashed again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from mimrun import canonical
from mimrun.log.chain import IncidentHead
from mimrun.log.merkle import Frontier, leaf_hash, node_hash


def end_leaf(inc: str, end: IncidentHead) -> bytes:
    """Give the leaf hash of an incident's end: over its canonical `inc`, `iseq` and `leaf`."""
    return leaf_hash(canonical.encode({"inc": inc, "iseq": end.iseq, "leaf": end.leaf}))


class Ends:
    """A tree over the ends of incidents, sorted by their names (RFC 9162, section 2.1).

    Arguments:
        ends: the end of each incident's chain.
    """

    def __init__(self, ends: Mapping[str, IncidentHead] | None = None) -> None:
        self._names: list[str] = []
        self._levels: list[list[bytes]] = [[]]
        self.update(ends or {})

    def __len__(self) -> int:
        """How many incidents there are."""
        return len(self._names)

    @property
    def root(self) -> str:
        """The root of the tree, hexadecimal."""
        size, peaks, start = len(self), list[bytes](), 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                peaks.append(self._levels[level][start >> level])
                start += 1 << level
        return Frontier(size, tuple(peaks)).root().hex()

    def update(self, ends: Mapping[str, IncidentHead]) -> None:
        """Take ends that have moved, and those of incidents that are new."""
        leaves = {inc: end_leaf(inc, end) for inc, end in ends.items()}
        new = sorted(inc for inc in leaves if not self._has(inc))
        first = self._insert(new, leaves) if new else len(self)
        touched = set()
        for inc in leaves.keys() - set(new):
            place = bisect_left(self._names, inc)
            self._levels[0][place] = leaves[inc]
            touched.add(place)
        self._hash_above(touched, first)

    def _has(self, inc: str) -> bool:
        place = bisect_left(self._names, inc)
        return place < len(self._names) and self._names[place] == inc

    def _insert(self, new: list[str], leaves: Mapping[str, bytes]) -> int:
        """Put in new incidents; give the place from which on every leaf has another index."""
        first = bisect_left(self._names, new[0])
        tail = dict(zip(self._names[first:], self._levels[0][first:], strict=True))
        tail |= {inc: leaves[inc] for inc in new}
        names = sorted(tail)
        self._names[first:] = names
        self._levels[0][first:] = [tail[inc] for inc in names]
        return first

    def _hash_above(self, touched: set[int], first: int) -> None:
        """Hash again what lies above the touched places, and above all from `first` on."""
        level = 0
        while len(below := self._levels[level]) > 1:
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            whole = len(below) // 2
            touched = {place >> 1 for place in touched if place >> 1 < whole}
            first = min(first >> 1, whole, len(self._levels[level]))
            row = self._levels[level]
            for place in touched:
                if place < first:
                    row[place] = node_hash(below[2 * place], below[2 * place + 1])
            row[first:] = [node_hash(below[2 * i], below[2 * i + 1]) for i in range(first, whole)]
