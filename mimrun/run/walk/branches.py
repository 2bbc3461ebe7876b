"""Branches: the parts of a parallel step, each on a thread of its own, until all of them are over.

What a branch learns and whom it loses is known to the others only when they have come together again. So
it makes no difference which of them was faster, and a run that is resumed in the middle sees the same.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeAlias

from mimrun.run.cell.facts import Facts
from mimrun.run.walk.result import Cancelled, Denied, Done, Failed, Parked, Result, Walked, gravest
from mimrun.run.walk.way import Join, LeftOff, Way
from mimrun.runbook.allowance import exceeded
from mimrun.runbook.node import Node, PlannedParallel

Walk: TypeAlias = Callable[[Node, Way], Walked]
End: TypeAlias = Walked | LeftOff
"""How a branch has ended, or where it was left off."""


class Branches:
    """Does parallel steps.

    Arguments:
        facts: what the branches learn.
        walk: goes through one branch.
        pool: makes the threads that branches are worked on in.
    """

    def __init__(self, facts: Facts, walk: Walk, *, pool: Callable[..., Executor] | None = None) -> None:
        self._facts, self._walk = facts, walk
        self._pool = pool or ThreadPoolExecutor

    def perform(self, node: PlannedParallel, way: Way) -> Walked:
        """Work on all branches at once.

        Branches that are over by the log are taken up first, so that a failure which keeps the others
        from going on is known before any of them does.

        Raises:
            LeftOff: a parallel step around is left off, or this is only a look and not all are over.
            Exception: the gravest that a branch has ended with; the others have come to rest before.
        """
        join = Join(node)
        inside = way.into(join)
        ends = [self._one(branch, inside.looking(), join) for branch in node.branches]
        waiting = [number for number, end in enumerate(ends) if _goes_on(end, join)]
        if waiting and way.is_looking:
            raise LeftOff(way.roster, begun=True)
        for number, end in zip(waiting, self._all(node, waiting, inside, join), strict=True):
            ends[number] = end
        roster = way.roster.behind(*(end.roster for end in ends))
        result = _joined(node, ends)
        if isinstance(result, Done):
            if any(isinstance(end, LeftOff) for end in ends):
                raise LeftOff(roster, begun=False)
            over = roster.overdrawn()
            result = Failed(f"step {node.path} '{node.name}': {over.told(roster.failed)}") if over else result
        self._facts.join([branch.path for branch in node.branches])
        return Walked(result, roster)

    def _all(self, node: PlannedParallel, numbers: Sequence[int], way: Way, join: Join) -> list[End]:
        if not numbers:
            return []
        try:
            with self._pool(len(numbers), thread_name_prefix="branch") as pool:
                # Each thread sees the run, and the flow run, that this one belongs to.
                futures = [
                    pool.submit(contextvars.copy_context().run, self._one, node.branches[n], way, join)
                    for n in numbers
                ]
        except BaseException:
            # This process is to end: whoever is still at work begins nothing more.
            join.leave_off()
            raise
        errors = [error for future in futures if (error := future.exception())]
        if errors:
            raise gravest(errors)
        return [future.result() for future in futures]

    def _one(self, branch: Node, way: Way, join: Join) -> End:
        self._facts.fork(branch.path)
        try:
            walked = self._walk(branch, way)
        except LeftOff as left_off:
            return left_off
        except BaseException:
            join.leave_off()
            raise
        join.note(walked.result)
        return walked


def _goes_on(end: End, join: Join) -> bool:
    """Say whether there is something to do in a branch after a look at it."""
    return isinstance(end, LeftOff) and (end.begun or not join.left_off)


def _joined(node: PlannedParallel, ends: Sequence[End]) -> Result:
    """Give what came of all branches together: a doubt before everything, then what ends the run, then failures."""
    results = [end.result for end in ends if isinstance(end, Walked)]
    parked = [result for result in results if isinstance(result, Parked)]
    if parked:
        # A doubt cannot be waited out at a gate: it comes first.
        first = min(parked, key=lambda result: result.on != "doubt")
        return Parked(first.on, first.step, "; ".join(result.reason for result in parked))
    for result in results:
        if isinstance(result, Cancelled | Denied):
            return result
    failed = [result.reason for result in results if isinstance(result, Failed)]
    if not exceeded(len(failed), node.max_failures):
        return Done()
    left = [f"'{b.name}'" for b, end in zip(node.branches, ends, strict=True) if isinstance(end, LeftOff)]
    count = f"{len(failed)} of {len(ends)} branches of '{node.name}' failed and {node.max_failures} may"
    rest = f"; not gone on with: {', '.join(left)}" if left else ""
    return Failed(f"{count}: {'; '.join(failed)}{rest}")
