"""Proofs out of the tree over the ends of all incidents: that nothing was cut from the end of an incident.

A `log.heads` entry holds the root of that tree, and a checkpoint ends with such an entry. Whoever has the checkpoint, the
entry and one proof knows how far an incident went at that moment. `mimrun.log.ends` makes the roots.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from mimrun.log.chain import IncidentHead
from mimrun.log.ends import end_leaf
from mimrun.log.merkle import Tree, included


@dataclass(frozen=True, slots=True)
class HeadProof:
    """The proof that an incident's chain ended so when a `log.heads` entry was recorded.

    Arguments:
        inc: the incident.
        end: its last entry then.
        index: the place of the incident among all, sorted by name, from 0.
        incidents: how many there were.
        path: the inclusion proof of RFC 9162, section 2.1.3.
    """

    inc: str
    end: IncidentHead
    index: int
    incidents: int
    path: tuple[bytes, ...]

    def holds(self, root: bytes, incidents: int) -> bool:
        """Whether it proves what it says.

        Arguments:
            root: as the `log.heads` entry has it.
            incidents: likewise.
        """
        leaf = end_leaf(self.inc, self.end)
        return self.incidents == incidents and included(leaf, self.index, incidents, self.path, root)


class HeadProofs:
    """Makes proofs for the incidents of one `log.heads` entry; about 100 bytes an incident in memory.

    Arguments:
        ends: the end of each incident's chain when the entry was recorded.
    """

    def __init__(self, ends: Mapping[str, IncidentHead]) -> None:
        self._ends, self._names = ends, sorted(ends)
        self._tree = Tree(end_leaf(inc, ends[inc]) for inc in self._names)

    @property
    def root(self) -> bytes:
        """The root of the tree: compare it with the entry before believing the ends."""
        return self._tree.root()

    def prove(self, inc: str) -> HeadProof:
        """Prove how an incident's chain ended.

        Raises:
            KeyError: there was no such incident.
        """
        end, index = self._ends[inc], bisect_left(self._names, inc)
        return HeadProof(inc, end, index, len(self._names), self._tree.inclusion(index))
