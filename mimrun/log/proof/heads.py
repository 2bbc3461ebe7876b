"""The tree over the ends of all incidents' chains: what shows that nothing was cut from the end of an incident.

A `log.heads` entry holds its root, and a checkpoint ends with such an entry. Whoever has the checkpoint, the entry and
one proof knows how far an incident went at that moment. Leaves are sorted by the incident's name, so that one log has
one root.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mimrun import canonical
from mimrun.log.merkle import EMPTY_ROOT, Tree, included, leaf_hash, node_hash


def head_leaf(inc: str, iseq: int, leaf: str) -> bytes:
    """Give the leaf hash for the end of an incident's chain.

    Arguments:
        inc: the incident.
        iseq: the place of its last entry in it.
        leaf: that entry's leaf hash, hexadecimal.
    """
    return leaf_hash(canonical.encode({"inc": inc, "iseq": iseq, "leaf": leaf}))


@dataclass(frozen=True, slots=True)
class HeadProof:
    """The proof that an incident's chain ended so when the heads were taken.

    Arguments:
        inc: the incident.
        iseq: the place of its last entry in it.
        leaf: that entry's leaf hash, hexadecimal.
        index: the place of the incident among all, from 0.
        incidents: how many there were.
        path: the inclusion proof of RFC 9162, section 2.1.3.
    """

    inc: str
    iseq: int
    leaf: str
    index: int
    incidents: int
    path: tuple[bytes, ...]

    def holds(self, root: bytes, incidents: int) -> bool:
        """Whether it proves what it says.

        Arguments:
            root: as the `log.heads` entry has it.
            incidents: likewise.
        """
        leaf = head_leaf(self.inc, self.iseq, self.leaf)
        return self.incidents == incidents and included(leaf, self.index, incidents, self.path, root)


class Heads:
    """The ends of all incidents' chains, and the tree over them.

    A change costs as many hashes as the tree has levels, and a new incident behind the others no more; one between
    them costs the nodes to its right. 32 bytes a leaf and as much for the nodes are kept.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._ends: dict[str, tuple[int, str]] = {}
        # As in `merkle.Tree`: on each level the complete subtrees only.
        self._levels: list[list[bytes]] = [[]]

    @classmethod
    def of(cls, ends: Iterable[tuple[str, int, str]]) -> Heads:
        """Give the heads of these incidents: name, place and leaf hash of the last entry of each."""
        heads = cls()
        heads._ends = {inc: (iseq, leaf) for inc, iseq, leaf in ends}
        heads._names = sorted(heads._ends)
        heads._levels = [[head_leaf(inc, *heads._ends[inc]) for inc in heads._names]]
        heads._hash_from(0)
        return heads

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[tuple[str, int, str]]:
        return ((inc, *self._ends[inc]) for inc in self._names)

    def set(self, inc: str, iseq: int, leaf: str) -> None:
        """Say how an incident's chain ends now.

        Arguments:
            inc: the incident; an entry of none ("") belongs to no chain.
            iseq: the place of its last entry in it.
            leaf: that entry's leaf hash, hexadecimal.
        """
        place = bisect_left(self._names, inc)
        hash_ = head_leaf(inc, iseq, leaf)
        leaves = self._levels[0]
        if inc in self._ends:
            leaves[place] = hash_
            self._hash_one(place)
        else:
            self._names.insert(place, inc)
            leaves.insert(place, hash_)
            self._hash_from(place)
        self._ends[inc] = (iseq, leaf)

    def root(self) -> bytes:
        """Give the root of the tree; that of the empty one where there is no incident."""
        root, width = b"", len(self._names)
        for level, nodes in enumerate(self._levels):
            # The complete subtrees that make up a tree of this width stand at the ends of the levels, the smallest
            # lowest (RFC 9162, section 2.1.1).
            if width >> level & 1:
                root = node_hash(nodes[-1], root) if root else nodes[-1]
        return root or EMPTY_ROOT

    def prove(self, inc: str) -> HeadProof:
        """Prove how an incident's chain ends.

        Raises:
            KeyError: there is no such incident.
        """
        iseq, leaf = self._ends[inc]
        place = bisect_left(self._names, inc)
        path = Tree(self._levels[0]).inclusion(place)
        return HeadProof(inc, iseq, leaf, place, len(self._names), path)

    def _hash_one(self, place: int) -> None:
        """Hash the way from a leaf up, as far as it is in complete subtrees."""
        below = self._levels[0]
        for nodes in self._levels[1:]:
            place >>= 1
            if place >= len(nodes):
                return
            nodes[place] = node_hash(below[2 * place], below[2 * place + 1])
            below = nodes

    def _hash_from(self, place: int) -> None:
        """Hash every node that stands on a leaf at this place or to its right."""
        level = 0
        while len(self._levels[level]) > 1:
            below = self._levels[level]
            level += 1
            place >>= 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level][place:] = [
                node_hash(below[i], below[i + 1]) for i in range(2 * place, len(below) - 1, 2)
            ]
