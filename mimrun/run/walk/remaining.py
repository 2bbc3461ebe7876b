"""What is left of a plan after its run has ended: the steps that failed on a host, and those it never began there.

Readings are made again where something is left to do, and where a step that is left needs what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import TypeVar, assert_never

from mimrun.connector import Effect
from mimrun.run.record.state import Cell, RunState
from mimrun.run.record.transitions import CellStatus
from mimrun.run.walk.handlers import notified
from mimrun.run.walk.tally import NOT_BEGUN
from mimrun.runbook.expression import expression_names, names
from mimrun.runbook.node import (
    Leaf,
    Node,
    PlannedAction,
    PlannedBlock,
    PlannedGate,
    PlannedInclude,
    PlannedManual,
    PlannedParallel,
    PlannedSerial,
    TargetCalls,
    parts_of,
)
from mimrun.runbook.plan import Plan, may_bypass

T = TypeVar("T")
Keep = Callable[[Node], Node | None]


def remaining(plan: Plan, state: RunState) -> tuple[Node, ...]:
    """Give what a run has left to do, in the order of its plan; nothing where it is all done.

    1. Actions that change something stay on the hosts where they failed, or were never begun.
    2. Work of people stays that nobody did.
    3. Readings stay on the hosts that something is left to do on; one that a step which is left refers to
       stays on all its hosts.
    4. Gates stay that something is left behind.
    5. The rescue and always parts of a block stay on the hosts that something of the block is left on, and
       where they themselves have failed or were never begun.
    6. Where nothing else is left, the readings that failed, or were never begun: what they say is not known yet.
    """
    left = _without(plan.nodes, lambda node: _left_of(node, state), state)
    left = left or _without(plan.nodes, lambda node: _unread(node, state), state)
    if not left:
        return ()
    hosts = targets_of(left)
    needed = referred_to(left)
    paths = {node.path for node in leaves(left)}

    def keep(node: Node) -> Node | None:
        if isinstance(node, PlannedGate):
            return node if _has_behind(plan, node.path, paths) else None
        return _again(node, state, hosts, needed)

    return _without(plan.nodes, keep, state)


def due_before(plan: Plan, state: RunState, left: Iterable[Node]) -> tuple[Leaf, ...]:
    """Give the handlers that were due in a run and that it has not come to, as steps behind all others.

    What notified them is done, and will notify nobody again. A gate that they stood behind, and that is not asked
    again for anything else, is asked in front of them.

    Arguments:
        left: the steps that are in front of them.
    """
    handlers = due(plan, state)
    asked = {node.path for node in leaves(left)}
    gates = [gate for gate in _gates_before(plan, state, handlers) if gate.path not in asked]
    last = max((int(node.path.partition(".")[0]) for node in plan.nodes), default=0)
    both: list[Leaf] = [*(gate.model_copy(update={"when": None}) for gate in gates), *handlers]
    return tuple(
        node.model_copy(update={"path": str(number)}) for number, node in enumerate(both, start=last + 1)
    )


def handlers_of(plan: Plan, state: RunState, left: Iterable[Node]) -> tuple[PlannedAction, ...]:
    """Give the handlers that steps which are left may notify, on the hosts on which they may.

    Where one was due already it is a step behind all others (see `due_before`), and is not done a second time.
    """
    wanted: dict[str, set[str]] = {}
    for node in _actions(left):
        for handler in node.notify:
            wanted.setdefault(handler, set()).update(target.target for target in node.targets)
    for one in due(plan, state):
        wanted.setdefault(one.path, set()).difference_update(target.target for target in one.targets)
    cut = (_only_on(handler, wanted.get(handler.path, set())) for handler in plan.handlers)
    return tuple(handler for handler in cut if handler.targets)


def due(plan: Plan, state: RunState) -> list[PlannedAction]:
    """Give the handlers that were due and are not done, on the hosts where that is so."""
    told = notified(plan, state)
    left = []
    for handler in plan.handlers:
        hosts = told.get(handler.path, frozenset())
        open_ = {t.target for t in handler.targets if t.target in hosts and not is_done(handler, t, state)}
        if open_:
            left.append(_only_on(handler, open_))
    return left


def _only_on(node: PlannedAction, hosts: Set[str]) -> PlannedAction:
    return node.model_copy(update={"targets": tuple(t for t in node.targets if t.target in hosts)})


def _gates_before(plan: Plan, state: RunState, handlers: Sequence[PlannedAction]) -> Iterator[PlannedGate]:
    """Give the gates without which handlers are not done: none that was left out, or that only a failure leads to."""
    for gate in plan.walk():
        if isinstance(gate, PlannedGate) and state.finished.get(gate.path) != "skipped":
            behind = [one.path for one in handlers if _has_behind(plan, gate.path, {one.path})]
            if any(gate.path in state.gates or not may_bypass(path, gate.path) for path in behind):
                yield gate


def is_done(node: PlannedAction, target: TargetCalls, state: RunState) -> bool:
    """Say whether nothing of a step is left to do on a host."""
    return node.options.ignore_errors or not _iterations_left(node, target, state)


def _left_of(node: Node, state: RunState) -> Node | None:
    """Give what changes something, or is a person's, and is left of a node that is no block."""
    match node:
        case PlannedAction():
            return None if _only_reads(node) else _cut(node, state)
        case PlannedManual():
            return None if node.path in state.finished and state.finished[node.path] != "failed" else node
        case _:
            return None


def _unread(node: Node, state: RunState) -> Node | None:
    """Give what is left of a reading."""
    return _cut(node, state) if isinstance(node, PlannedAction) and _only_reads(node) else None


def _again(node: Node, state: RunState, hosts: Set[str], needed: frozenset[str]) -> Node | None:
    """Give what is left of an action or of work of people, readings included."""
    if not isinstance(node, PlannedAction) or not _only_reads(node):
        return _left_of(node, state)
    if node.options.register_ and needed & {node.options.register_, "hostvars"}:
        return node
    targets = tuple(t for t in node.targets if t.target in hosts or not is_done(node, t, state))
    return node.model_copy(update={"targets": targets}) if targets else None


def _only_reads(node: PlannedAction) -> bool:
    return all(call.effect is Effect.READ for target in node.targets for call in target.calls)


def _cut(node: PlannedAction, state: RunState) -> PlannedAction | None:
    """Give a step with the hosts, and the items of its loop, that are left."""
    targets = []
    for target in node.targets:
        left = [] if node.options.ignore_errors else _iterations_left(node, target, state)
        if left and target.items is not None and len(left) < len(target.items):
            target = _some_items(target, left)  # noqa: PLW2901 - the same target, cut
        if left:
            targets.append(target)
    return node.model_copy(update={"targets": tuple(targets)}) if targets else None


def _some_items(target: TargetCalls, left: Sequence[int]) -> TargetCalls:
    def of(calls: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(calls[n] for n in left) if len(calls) > 1 else calls

    return target.model_copy(
        update={
            "items": of(target.items or ()),
            "calls": of(target.calls),
            "verify": of(target.verify),
            "undo": of(target.undo),
            "capture": of(target.capture),
        }
    )


def _iterations_left(node: PlannedAction, target: TargetCalls, state: RunState) -> list[int]:
    """Give the items of a step's loop that are left on a host; [0] stands for a step without a loop."""
    cells = {
        key.iteration: cell
        for key, cell in state.steps.get(node.path, {}).items()
        if key.target == target.target
    }
    if cells.get(0) is not None and _was_left_out(cells[0]):
        return []
    count = len(target.items) if target.items is not None else max(cells, default=0) + 1
    left = [n for n in range(count) if n not in cells or not _is_over(cells[n])]
    # Of a loop whose list the plan does not know, nobody can say which items are missing.
    return [0] if left and target.items is None else left


def _was_left_out(cell: Cell) -> bool:
    return cell.status is CellStatus.SKIPPED and not cell.resolved and not cell.reason.startswith(NOT_BEGUN)


def _is_over(cell: Cell) -> bool:
    if cell.status is CellStatus.SKIPPED:
        return not cell.reason.startswith(NOT_BEGUN)
    return cell.status is CellStatus.OK and cell.passed is not False


def _without(
    nodes: Iterable[Node], keep: Keep, state: RunState, again: Set[str] | None = None
) -> tuple[Node, ...]:
    """Give nodes with everything left out that is not kept, and what becomes empty by that.

    Arguments:
        again: the hosts on which everything is done once more, also what is done; None where nothing is.
    """
    return tuple(kept for node in nodes if (kept := _kept(node, keep, state, again)) is not None)


def _kept(node: Node, keep: Keep, state: RunState, again: Set[str] | None) -> Node | None:
    match node:
        case PlannedAction():
            return _also_on(node, keep(node), again or frozenset())
        case PlannedManual():
            return keep(node) if again is None else node
        case PlannedGate():
            return keep(node)
        case PlannedBlock():
            return _block_left(node, keep, state, again)
        case PlannedSerial():
            batches = _without(node.batches, keep, state, again)
            return node.model_copy(update={"batches": batches}) if batches else None
        case PlannedParallel():
            branches = _without(node.branches, keep, state, again)
            return node.model_copy(update={"branches": branches}) if branches else None
        case PlannedInclude():
            steps = _without(node.steps, keep, state, again)
            return node.model_copy(update={"steps": steps}) if steps else None
        case _:
            assert_never(node)


def _also_on(node: PlannedAction, kept: Node | None, again: Set[str]) -> Node | None:
    """Give what is kept of an action, and all of it on the hosts on which it is done once more."""
    if not again:
        return kept
    left = {t.target: t for t in kept.targets} if isinstance(kept, PlannedAction) else {}
    both = (t if t.target in again else left.get(t.target) for t in node.targets)
    targets = tuple(target for target in both if target is not None)
    return node.model_copy(update={"targets": targets}) if targets else None


def _block_left(
    node: PlannedBlock, keep: Keep, state: RunState, again: Set[str] | None
) -> PlannedBlock | None:
    """Give what is left of a block; its rescue follows a failure only, and goes with the block.

    What follows a failure, or comes in any case, belongs to whatever is done of the block, on the hosts that
    it is done on. On others it is left where it has not come to a good end.
    """
    over = _was_rescued(node, state)
    block = _without(node.block, _nothing if over else keep, state, again)
    rescue: tuple[Node, ...] = ()
    more = again
    if block:
        more = targets_of(block) | (again or frozenset())
        began = any(path in state.started for path in (leaf.path for leaf in leaves(node.rescue)))
        spared = frozenset() if began else targets_of(node.block) - more
        rescue = _without(node.rescue, lambda leaf: _spare(keep(leaf), spared), state, more)
    always = _without(node.always, keep, state, more)
    if not block and not any(not isinstance(leaf, PlannedGate) for leaf in leaves(always)):
        return None
    return node.model_copy(update={"block": block, "rescue": rescue, "always": always})


def _nothing(_node: Node) -> None:
    """Keep nothing of what is over."""


def _spare(node: Node | None, hosts: Set[str]) -> Node | None:
    """Give a step of a rescue that never began without the hosts on which its block is done.

    One that is for such hosts only is done once for all of them: it stays, and so does a reading, which does no
    harm and may be needed elsewhere.
    """
    if not isinstance(node, PlannedAction) or _only_reads(node):
        return node
    targets = tuple(target for target in node.targets if target.target not in hosts)
    return node.model_copy(update={"targets": targets}) if targets else node


def targets_of(nodes: Iterable[Node]) -> frozenset[str]:
    """Give every host that nodes act on."""
    return frozenset(target.target for node in _actions(nodes) for target in node.targets)


def _was_rescued(node: PlannedBlock, state: RunState) -> bool:
    """Say whether a block failed and its rescue came to a good end: then it is over."""
    rescue = [leaf.path for leaf in leaves(node.rescue)]
    began = any(path in state.started for path in rescue)
    return began and all(state.finished.get(path) in ("ok", "skipped") for path in rescue)


def leaves(nodes: Iterable[Node]) -> Iterator[PlannedAction | PlannedGate | PlannedManual]:
    """Give everything that is done by itself, in the order of the text."""
    for node in nodes:
        if isinstance(node, PlannedAction | PlannedGate | PlannedManual):
            yield node
        else:
            yield from leaves(parts_of(node))


def _actions(nodes: Iterable[Node]) -> Iterator[PlannedAction]:
    return (node for node in leaves(nodes) if isinstance(node, PlannedAction))


def _has_behind(plan: Plan, gate: str, left: set[str]) -> bool:
    """Say whether something that is left stands behind a gate, before the next one."""
    return any(node.path in left for node in plan.segment_after(gate))


def referred_to(nodes: Iterable[Node]) -> frozenset[str]:
    """Give every name that nodes refer to, in arguments, conditions, loops, expectations and instructions."""
    found: set[str] = set()
    for node in nodes:
        if node.when:
            found |= expression_names(node.when)
        match node:
            case PlannedAction():
                found |= _referred_to_by(node)
            case PlannedManual():
                found |= names(node.instructions)
            case _:
                found |= referred_to(parts_of(node))
    return frozenset(found)


def _referred_to_by(node: PlannedAction) -> set[str]:
    found = set(names(node.loop))
    for expression in (node.options.until, node.options.expect):
        found |= expression_names(expression) if expression else set()
    for target in node.targets:
        for call in (*target.calls, *target.verify, *target.undo, *target.capture):
            found |= set(call.late)
        for check in target.verify:
            found |= expression_names(check.expect) if check.expect else set()
    return found
