"""The way: what holds for everything below a node that the walk has come to."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from mimrun.run.cell.facts import Condition
from mimrun.run.walk.result import Denied, Failed, Result
from mimrun.run.walk.roster import Roster
from mimrun.runbook.allowance import exceeded
from mimrun.runbook.node import Node, PlannedParallel


class Join:
    """What the branches of one parallel step know of each other while they are worked on.

    Arguments:
        node: the parallel step.
    """

    def __init__(self, node: PlannedParallel) -> None:
        self._node = node
        self._failed = 0
        self._lock = threading.Lock()
        self.left_off = False
        """No branch begins a further step."""

    def note(self, result: Result) -> None:
        """Note how a branch has ended. One that is in doubt lets the others come to their end."""
        if isinstance(result, Failed | Denied):
            with self._lock:
                self._failed += 1
                if self._node.on_failure == "stop" and exceeded(self._failed, self._node.max_failures):
                    self.left_off = True

    def leave_off(self) -> None:
        """Let no branch begin a further step."""
        self.left_off = True


@dataclass(frozen=True, slots=True)
class Way:
    """How the walk has come to a node.

    Arguments:
        roster: who takes part here.
        conditions: the `when` of every node around, and of the node itself; all must hold.
        joins: the parallel steps around.
        is_looking: nothing is done; only what is over is taken up.
    """

    roster: Roster
    conditions: tuple[Condition, ...] = ()
    joins: tuple[Join, ...] = ()
    is_looking: bool = False

    def under(self, node: Node) -> Way:
        """Give the way to what a node's own condition holds for."""
        if not node.when:
            return self
        return replace(self, conditions=(*self.conditions, Condition(node.path, node.when)))

    def with_roster(self, roster: Roster) -> Way:
        """Give the same way with other hosts."""
        return replace(self, roster=roster)

    def into(self, join: Join) -> Way:
        """Give the way into the branches of a parallel step."""
        return replace(self, joins=(*self.joins, join))

    def looking(self) -> Way:
        """Give the same way for a walk that does nothing."""
        return replace(self, is_looking=True)

    def is_left_off(self) -> bool:
        """Say whether a parallel step around begins nothing further."""
        return any(join.left_off for join in self.joins)


class LeftOff(Exception):
    """The walk goes no further here: another branch has failed, or it was only to look.

    Arguments:
        roster: who took part up to here.
        begun: the step that it stands at was begun and is not over.
    """

    def __init__(self, roster: Roster, *, begun: bool) -> None:
        super().__init__("left off")
        self.roster, self.begun = roster, begun
