"""Left out: what a run that has ended did not come to, and why; and what of it does not stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mimrun.app.shown.batches import some
from mimrun.app.shown.text import safe_line
from mimrun.run.record.state import Cell, CellKey, RunState
from mimrun.run.record.transitions import CellStatus, RunStatus
from mimrun.run.walk.tally import NOT_BEGUN
from mimrun.runbook.duration import format_duration
from mimrun.runbook.node import Leaf, Node, PlannedAction, PlannedBlock, PlannedSerial, parts_of
from mimrun.runbook.plan import Plan

_HOSTS_SHOWN: Final = 8
_STEPS_SHOWN: Final = 6


def left_out(plan: Plan, state: RunState) -> Iterator[str]:
    """Say which hosts were left alone because too many others had failed, and what was never begun."""
    alone: dict[tuple[str, str], list[str]] = {}
    for key, cell in state.cells.items():
        if cell.status is CellStatus.SKIPPED and cell.reason.startswith(NOT_BEGUN):
            alone.setdefault((key.step, cell.reason.removeprefix(NOT_BEGUN)), []).append(key.target)
    for (step, reason), hosts in alone.items():
        named = some(sorted(dict.fromkeys(hosts)), _HOSTS_SHOWN)
        yield f"step {step} was not begun on {named}: {safe_line(reason)}"
    if state.status is not RunStatus.FAILED:
        return
    failed = sorted({key.target for key, cell in state.cells.items() if _counts(plan, key, cell)})
    if len(failed) > max(plan.max_failures, 1):
        may = f"{plan.max_failures} may"
        yield f"too many hosts failed for the run to go on: {some(failed, _HOSTS_SHOWN)}; {may}"
    never = [*_never(plan.nodes, state)]
    if never:
        yield f"never begun: {some(never, _STEPS_SHOWN)}"


def going_back(plan: Plan, state: RunState) -> Iterator[str]:
    """Say which steps take themselves back, after how long, and who has to be there for that."""
    hosts: dict[str, list[str]] = {}
    for key in state.reverts:
        hosts.setdefault(key.step, []).append(key.target)
    for path, targets in hosts.items():
        node = plan.node(path)
        after = node.options.revert_after_ms if isinstance(node, PlannedAction) else None
        named = some(sorted(dict.fromkeys(targets)), _HOSTS_SHOWN)
        yield (
            f"step {path} takes itself back on {named}, {format_duration(after or 0)} after it was done,"
            " by a worker or by the engine (`mimrun up`)"
        )


def _counts(plan: Plan, key: CellKey, cell: Cell) -> bool:
    """Say whether a cell is a failure that nobody asked to ignore."""
    if cell.status is not CellStatus.FAILED and cell.passed is not False:
        return False
    try:
        node = plan.node(key.step)
    except KeyError:  # a verification or a look before, which its step answers for
        return False
    return isinstance(node, PlannedAction) and not node.options.ignore_errors


def _never(nodes: Sequence[Node], state: RunState) -> Iterator[str]:
    """Name what nothing is on record of, as large as it is; a rescue is for what did not happen."""
    for node in nodes:
        if not _has_begun(node, state):
            yield f"{node.path} {safe_line(node.name)}"
        elif isinstance(node, PlannedSerial):
            idle = [n for n, batch in enumerate(node.batches, 1) if not _has_begun(batch, state)]
            if idle:
                span = f"batch {idle[0]}" if len(idle) == 1 else f"batches {idle[0]} to {idle[-1]}"
                yield f"{span} of {len(node.batches)} of {node.path} {safe_line(node.name)}"
            yield from _never([batch for batch in node.batches if _has_begun(batch, state)], state)
        elif isinstance(node, PlannedBlock):
            yield from _never((*node.block, *node.always), state)
        else:
            yield from _never(parts_of(node), state)


def _has_begun(node: Node, state: RunState) -> bool:
    if isinstance(node, Leaf):
        return state.has_begun(node.path)
    return any(_has_begun(part, state) for part in parts_of(node))
