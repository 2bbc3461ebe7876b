"""Batches: which of them there is still somebody for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from mimrun.run.walk.roster import Roster
from mimrun.runbook.node import Leaf, Node, PlannedAction, PlannedBlock, parts_of


class Batches:
    """The batches of one serial step.

    A host that is in every batch, such as this machine, belongs to none of them.

    Arguments:
        batches: in their order.
    """

    def __init__(self, batches: Sequence[PlannedBlock]) -> None:
        hosts = [frozenset(hosts_of(batch)) for batch in batches]
        count = Counter(host for one in hosts for host in one)
        shared = frozenset(host for host, times in count.items() if times > 1)
        self._own = {batch.path: one - shared for batch, one in zip(batches, hosts, strict=True)}
        self._batches = tuple(batches)

    def is_idle(self, batch: PlannedBlock, roster: Roster) -> bool:
        """Say whether every host that a batch is for has failed before."""
        own = self._own[batch.path]
        return bool(own) and not any(roster.takes_part(host) for host in own)

    def to_do(self, roster: Roster) -> tuple[PlannedBlock, ...]:
        """Give the batches that are worked on; all of them where nobody is left for any."""
        return tuple(b for b in self._batches if not self.is_idle(b, roster)) or self._batches


def hosts_of(node: Node) -> Iterator[str]:
    """Give the hosts that a node works on."""
    if isinstance(node, PlannedAction):
        yield from (target.target for target in node.targets)
    for part in parts_of(node):
        yield from hosts_of(part)


def leaves_of(node: Node) -> Iterator[str]:
    """Give the paths of everything that is done by itself in a node."""
    if isinstance(node, Leaf):
        yield node.path
    for part in parts_of(node):
        yield from leaves_of(part)
