"""Merkle tree of RFC 9162, section 2.1: root, frontier, proofs of inclusion and of consistency.

Pure functions over bytes. The prefixes 0x00 and 0x01 keep a leaf from passing as a node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves (RFC 9162, section 2.1.1)."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf: SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is needed to go on appending: the roots of the complete subtrees, the largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> Frontier:
        """Give the frontier with one more leaf hash."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> Frontier:
        """Give the frontier with these leaf hashes after the others."""
        size, peaks, sha256 = self.size, list(self.peaks), hashlib.sha256
        for leaf in leaves:
            rest, node = size, leaf
            while rest & 1:
                node = sha256(b"\x01" + peaks.pop() + node).digest()
                rest >>= 1
            peaks.append(node)
            size += 1
        return Frontier(size, tuple(peaks))

    def root(self) -> bytes:
        """Give the root of the tree so far."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def encode(self) -> bytes:
        """Give the peaks one after the other; how many there are follows from the size."""
        return b"".join(self.peaks)

    @staticmethod
    def decode(size: int, data: bytes) -> Frontier:
        """Read what `encode` gave.

        Raises:
            ValueError: so many bytes do not belong to a tree of this size.
        """
        if size < 0 or len(data) != HASH_SIZE * size.bit_count():
            raise ValueError(f"{len(data)} bytes are no frontier of a tree of {size}")
        return Frontier(size, tuple(data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)))


class Tree:
    """A whole tree in memory, for making proofs: about 64 bytes a leaf.

    Arguments:
        leaves: leaf hashes, in order.
    """

    def __init__(self, leaves: Iterable[bytes]) -> None:
        level = list(leaves)
        self.size = len(level)
        self._levels = [level]
        while len(level) > 1:
            level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            self._levels.append(level)

    def root(self, size: int | None = None) -> bytes:
        """Give the root over the first `size` leaves; over all when not given."""
        size = self.size if size is None else size
        if not 0 <= size <= self.size:
            raise ValueError(f"the tree has {self.size} leaves; asked for the root of {size}")
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """Prove that leaf `index` (from 0) is in the tree of the first `size` leaves (section 2.1.3.1)."""
        size = self.size if size is None else size
        if not 0 <= index < size <= self.size:
            raise ValueError(f"the tree has {self.size} leaves; asked for leaf {index} of {size}")
        path: list[bytes] = []
        low, high = 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        return tuple(reversed(path))

    def consistency(self, first: int, second: int | None = None) -> tuple[bytes, ...]:
        """Prove that the tree of `first` leaves is the beginning of that of `second` (section 2.1.4.1)."""
        second = self.size if second is None else second
        if not 0 <= first <= second <= self.size:
            raise ValueError(f"the tree has {self.size} leaves; asked for {first} within {second}")
        if first in (0, second):
            return ()
        path: list[bytes] = []
        low, high, whole = 0, second, True
        while first != high:
            middle = low + _split(high - low)
            if first <= middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low, whole = middle, False
        if not whole:
            path.append(self._range(low, high))
        return tuple(reversed(path))

    def _range(self, low: int, high: int) -> bytes:
        """MTH(D[low:high]); `low` is always a multiple of the span's largest power of two."""
        span = high - low
        if span & (span - 1) == 0:
            level = span.bit_length() - 1
            return self._levels[level][low >> level]
        middle = low + _split(span)
        return node_hash(self._range(low, middle), self._range(middle, high))


def root(leaves: Iterable[bytes]) -> bytes:
    """Give the root over leaf hashes, in memory that grows with the logarithm of their number."""
    return Frontier().extend(leaves).root()


def prove_consistency(leaves: Iterable[bytes], first: int, second: int) -> tuple[bytes, ...]:
    """Prove what `Tree.consistency` proves, in memory that grows with the logarithm of the number of leaves.

    Arguments:
        leaves: leaf hashes, in order; the first `second` of them are looked at, each once.
        first, second: sizes of the two trees.

    Raises:
        ValueError: there are not so many leaves, or the first tree is the larger one.
    """
    if not 0 <= first <= second:
        raise ValueError(f"a tree of {first} leaves is not the beginning of one of {second}")
    if first in (0, second):
        return ()
    # The subtrees that the proof names, the outermost first. They do not overlap, so one pass finds all of them.
    spans: list[tuple[int, int]] = []
    low, high, whole = 0, second, True
    while first != high:
        middle = low + _split(high - low)
        if first <= middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low, whole = middle, False
    if not whole:
        spans.append((low, high))
    found, at, left = dict[tuple[int, int], bytes](), 0, iter(leaves)
    for low, high in sorted(spans):
        # Only the first tree as a whole is skipped: whoever checks the proof has its root.
        if sum(1 for _ in islice(left, low - at)) != low - at:
            raise ValueError(f"there are not {second} leaves")
        frontier = Frontier().extend(islice(left, high - low))
        if frontier.size != high - low:
            raise ValueError(f"there are not {second} leaves")
        found[low, high], at = frontier.root(), high
    return tuple(found[span] for span in reversed(spans))


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> bool:
    """Whether a proof shows that a leaf is at `index` (from 0) in the tree of this size and root.

    Source: RFC 9162, section 2.1.3.2; the steps are numbered as there.
    """
    # 1. the index lies in the tree
    if not 0 <= index < size:
        return False
    # 2. fn is the index, sn the last leaf;  3. r is the leaf
    fn, sn, r = index, size - 1, leaf
    # 4. for each value of the path
    for value in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(value, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, value)
        fn, sn = fn >> 1, sn >> 1
    # 5. the path is used up, and the root is the expected one
    return sn == 0 and r == expected


def consistent(
    first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes
) -> bool:
    """Whether a proof shows that the first tree is the beginning of the second.

    Source: RFC 9162, section 2.1.4.2; the steps are numbered as there. A tree of size 0 is the
    beginning of every tree, and a tree is the beginning of itself; both with an empty proof.
    """
    if not 0 <= first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    if first == 0:
        return not proof and first_root == EMPTY_ROOT
    # 1. a proof of nothing shows nothing
    if not proof:
        return False
    # 2. a complete first tree is itself the first value
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    # 3. and 4. shift away the levels on which both trees agree
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    # 5. both roots start from the first value
    fr = sr = path[0]
    # 6. for each further value
    for value in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(value, fr), node_hash(value, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, value)
        fn, sn = fn >> 1, sn >> 1
    # 7. both roots come out, and the path is used up
    return sn == 0 and fr == first_root and sr == second_root


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)
