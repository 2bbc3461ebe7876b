"""Undo: the way back from a run, as a plan of its own.

The undo plan is made from the log: the undo actions of every step that happened, in reverse order of
their outcomes, filled in with what the steps answered and what was captured before them. It is a plan
like any other, with its own digest, and is executed by the same executor.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.runs import create_run, find_run, load_plan, load_state
from mimrun.app.undo_plan import DoneOnce, Record, origin, record_of, undo_handlers, undo_node
from mimrun.errors import InputError, RefusedError, RunError
from mimrun.run.record.followup import FollowUpRuns, FollowUps, check_followups
from mimrun.run.record.state import Cell, CellKey, RunState
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import TERMINAL, CellStatus
from mimrun.runbook.model import Needed, OnTimeout
from mimrun.runbook.node import Node, PlannedAction, PlannedGate
from mimrun.runbook.plan import Plan

COVERED: Final = timedelta(hours=24)
"""So long an approval of a step is one of its undo as well, which its approvers have seen with it."""

Wanted = Callable[[CellKey], bool]
"""Says whether something that happened is to be taken back."""


def everything(key: CellKey) -> bool:  # noqa: ARG001
    """Take back all that can be taken back."""
    return True


def steps_only(home: Home, run: str, steps: Collection[str]) -> Wanted:
    """Take back some steps of a run only; "3" means every step within step 3 as well.

    Raises:
        InputError: there is no such step.
    """
    if not steps:
        return everything
    known = [node.path for node in load_plan(home, find_run(home, run).summary.run).walk()]
    unknown = [step for step in steps if step not in known]
    if unknown:
        raise InputError(f"no step {', '.join(unknown)}; the run has the steps {', '.join(known[:20])}")
    return lambda key: any(key.step == step or key.step.startswith(f"{step}.") for step in steps)


def plan_undo(home: Home, run: str, wanted: Wanted = everything) -> Plan:
    """Make the plan that takes back what a run did.

    Arguments:
        wanted: what of it.

    Raises:
        RunError: the run has not ended, is in doubt, is a way back itself, did nothing that can be taken
            back, or was taken back already.
    """
    view = find_run(home, run)
    name = view.summary.run
    if view.summary.status not in TERMINAL:
        raise RunError(f"{name} is {view.status}; cancel it or let it end, then undo it")
    record = record_of(home, name)
    if record.plan.undo_of:
        raise RunError(f"{name} takes back {record.plan.undo_of}; a way back is not taken back, run it anew")
    if record.state.in_doubt():
        raise RunError(f"{name} has steps in doubt; settle them with `mimrun resolve` first")
    gone = taken_back(home, name)
    all_ = [DoneOnce(record, record.frozen[key.step], key, cell) for key, cell in _done_backwards(record)]
    left = [done for done in all_ if origin(done.key) not in gone and wanted(done.key)]
    if not left:
        raise RunError(_why_nothing(record, name, gone, all_))
    nodes: list[Node] = [*_asked_again(home, record.plan, record.state)]
    first = len(nodes) + 1
    behind = undo_handlers(record, left, first + len(left))
    for number, done in enumerate(left, start=first):
        nodes.append(undo_node(done, number, behind.notified(done.node.notify)))
    nodes += behind.includes
    changed = {
        "nodes": tuple(nodes),
        "handlers": behind.handlers,
        "undo_of": name,
        "retry_of": None,
    }
    # Read back from its bytes: a copy would keep the digest of the plan that it was copied from.
    return Plan.decode(record.plan.model_copy(update=changed).encode())


def _why_nothing(record: Record, name: str, gone: Mapping[str, str], all_: Collection[DoneOnce]) -> str:
    if all_ and all(origin(done.key) in gone for done in all_):
        return f"{name} has been taken back by {', '.join(sorted(set(gone.values())))} already"
    if all_:
        return f"nothing of these steps of {name} is left to be taken back"
    pivot = _last_irreversible(record)
    why = f": step {pivot[0].step} '{record.frozen[pivot[0].step].name}' has happened" if pivot else ""
    return f"{name} has nothing that can be taken back{why}; the way is forward"


@dataclass(frozen=True, slots=True)
class WayBackWishes:
    """How a way back is asked for.

    Arguments:
        wanted: what is to be taken back.
        direct: Prefect is left out by wish.
    """

    wanted: Wanted = everything
    direct: bool = False


def create_undo(
    home: Home, run: str, plan: Plan, identity: Identity, wishes: WayBackWishes | None = None
) -> str:
    """Ask for an undo plan to be executed, in the incident of the run that it takes back.

    Of two people, or a person and a timer, who ask for it at the same moment only one is heard.

    Arguments:
        run: the run that is taken back.
        plan: the undo plan, as it was looked at.

    Returns:
        the name of the new run.

    Raises:
        RefusedError: the plan would be another one now, or somebody else takes the run back.
        StoreError: the log cannot be written.
    """
    wishes = wishes or WayBackWishes()
    summary = find_run(home, run).summary
    seen = follow_ups(home, summary.run)
    if plan_undo(home, summary.run, wishes.wanted).digest != plan.digest:
        raise RefusedError(f"{summary.run} has changed since you looked; look at the way back again")
    return create_run(
        home,
        plan,
        identity,
        incident=summary.incident,
        direct=wishes.direct,
        guard=lambda view: check_followups(view, summary.run, seen),
    )


def follow_ups(home: Home, run: str) -> FollowUps:
    """Give the runs that were made from a run."""
    return FollowUps.decode(home.store.projection(FollowUpRuns.name, run))


def taken_back(home: Home, run: str) -> Mapping[str, str]:
    """Give what has been taken back of a run, each with the run that did it.

    Raises:
        RunError: it is being taken back at this moment.
    """
    gone: dict[str, str] = {}
    for other in follow_ups(home, run).undos:
        summary = RunSummary.decode(home.store.projection(RunSummaries.name, other))
        if summary.status not in TERMINAL:
            raise RunError(f"{run} is being taken back by {other}, which is {find_run(home, other).status}")
        gone |= dict.fromkeys(undone_by(home, other), other)
    return gone


def undone_by(home: Home, undo: str) -> Set[str]:
    """Give what an undo run has taken back, or has found to be back."""
    cells = load_state(home, undo).cells
    return {
        node.undoes
        for node in load_plan(home, undo).walk()
        if isinstance(node, PlannedAction) and node.undoes
        if (cell := cells.get(CellKey(node.path, node.targets[0].target))) is not None
        if cell.status is CellStatus.OK
    }


def _asked_again(home: Home, plan: Plan, state: RunState) -> Iterator[PlannedGate]:
    """Give one gate with the roles of those that were opened too long ago to cover the way back as well."""
    stale = [
        node
        for path, gate in state.gates.items()
        if gate.passed_at is not None and home.clock() - gate.passed_at > COVERED
        if isinstance(node := plan.node(path), PlannedGate)
    ]
    if not stale:
        return
    counts: dict[str, int] = {}
    for need in (need for node in stale for need in node.approvals):
        counts[need.role] = max(need.count, counts.get(need.role, 0))
    yield PlannedGate(
        path="1",
        name="Taking it back is approved",
        change=stale[-1].change,
        approvals=tuple(Needed(role=role, count=count) for role, count in sorted(counts.items())),
        # 0 is as long as the policy says: that of a gate in front of a launch.
        expires_ms=min((node.expires_ms for node in stale if node.expires_ms), default=0),
        on_timeout=OnTimeout.FAIL,
    )


def left_standing(home: Home, run: str) -> list[str]:
    """Name the steps of a run that changed something and have no undo."""
    record = record_of(home, find_run(home, run).summary.run)
    undone = {key.step for key, _ in _done_backwards(record)}
    changed = {
        key.step for key, cell in record.state.cells.items() if cell.changed and key.step in record.frozen
    }
    return [f"{path} {record.frozen[path].name}" for path in sorted(changed - undone)]


def _done_backwards(record: Record) -> Iterator[tuple[CellKey, Cell]]:
    """Give what happened and has an undo, the last first, back to the last step that has no way back."""
    for key, cell in _happened_backwards(record):
        node = record.frozen[key.step]
        if node.options.irreversible:
            return
        if any(t.undo for t in node.targets if t.target == key.target):
            yield key, cell


def _last_irreversible(record: Record) -> tuple[CellKey, Cell] | None:
    happened = _happened_backwards(record)
    return next(((k, c) for k, c in happened if record.frozen[k.step].options.irreversible), None)


def _happened_backwards(record: Record) -> Iterator[tuple[CellKey, Cell]]:
    """Give what happened, the last first, wherever it stands in the plan.

    A failure that may have had an effect counts. What was as wanted before its one attempt does not: taking
    it back would change what the run has found.
    """
    cells = record.state.cells.items()
    for key, cell in sorted(cells, key=lambda item: item[1].outcome, reverse=True):
        as_found = not cell.changed and not cell.resolved and cell.attempts == 1
        failed = cell.status is CellStatus.FAILED and not cell.clean
        happened = failed or (cell.status is CellStatus.OK and not as_found)
        if key.step in record.frozen and happened:
            yield key, cell
