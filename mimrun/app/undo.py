"""Undo: the way back from a run, as a plan of its own.

The undo plan is made from the log: the undo actions of every step that happened, in reverse order of
their outcomes, filled in with what the steps answered and what was captured before them. It is a plan
like any other, with its own digest, and is executed by the same executor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.runs import RunView, find_run, list_runs, load_plan, load_state
from mimrun.errors import RunError
from mimrun.run.answer import answer_of, recall_all
from mimrun.run.facts import Facts
from mimrun.run.state import Cell, CellKey, RunState
from mimrun.run.transitions import TERMINAL, CellStatus, RunStatus
from mimrun.runbook.expression import names
from mimrun.runbook.inputs import is_secret
from mimrun.runbook.model import Needed, OnTimeout
from mimrun.runbook.node import Node, PlannedAction, PlannedCall, PlannedGate, StepOptions, TargetCalls
from mimrun.runbook.plan import Plan, Segment
from mimrun.runbook.render import render_call

COVERED: Final = timedelta(hours=24)
"""So long an approval of a step is one of its undo as well, which its approvers have seen with it."""


def plan_undo(home: Home, run: str) -> Plan:
    """Make the plan that takes back what a run did.

    Raises:
        RunError: the run has not ended, is in doubt, did nothing that can be taken back, or was taken
            back already.
    """
    view = find_run(home, run)
    name = view.summary.run
    if view.summary.status not in TERMINAL:
        raise RunError(f"{name} is {view.status}; cancel it or let it end, then undo it")
    gone = _taken_back(home, view)
    state, plan = load_state(home, name), load_plan(home, name)
    if state.in_doubt():
        raise RunError(f"{name} has steps in doubt; settle them with `mimrun resolve` first")
    frozen = _frozen_nodes(home, plan, state)
    left = [
        _Done(home, plan, state, frozen[key.step], key, cell)
        for key, cell in _done_backwards(state, frozen)
        if _origin(key) not in gone
    ]
    nodes: list[Node] = [*_asked_again(home, plan, state)] if left else []
    nodes += [_node(done, number) for number, done in enumerate(left, start=len(nodes) + 1)]
    if not nodes and gone:
        raise RunError(f"{name} has been taken back already, by runs that failed at other steps")
    if not nodes:
        pivot = _last_irreversible(state, frozen)
        why = f": step {pivot[0].step} '{frozen[pivot[0].step].name}' has happened" if pivot else ""
        raise RunError(f"{name} has nothing that can be taken back{why}; the way is forward")
    # Read back from its bytes: a copy would keep the digest of the plan that it was copied from.
    return Plan.decode(plan.model_copy(update={"nodes": tuple(nodes), "undo_of": name}).encode())


def _taken_back(home: Home, view: RunView) -> Set[str]:
    """Give what undo runs that failed have taken back; what they did is not done again.

    Raises:
        RunError: the run was taken back as a whole, or is at this moment.
    """
    name, gone = view.summary.run, set[str]()
    for other in list_runs(home):
        summary = other.summary
        if summary.incident != view.summary.incident or summary.first_seq < view.summary.last_seq:
            continue
        way_back = load_plan(home, summary.run)
        if way_back.undo_of != name:
            continue
        if summary.status is RunStatus.SUCCEEDED:
            raise RunError(f"{name} has been taken back by {summary.run} already")
        if summary.status not in TERMINAL:
            raise RunError(f"{name} is being taken back by {summary.run}, which is {other.status}")
        cells = load_state(home, summary.run).cells
        for node in way_back.walk():
            if isinstance(node, PlannedAction):
                cell = cells.get(CellKey(node.path, node.targets[0].target))
                if cell is not None and cell.status is CellStatus.OK:
                    gone.add(node.undoes)
    return gone


def _origin(key: CellKey) -> str:
    return f"{key.step} {key.iteration} {key.target}"


def _asked_again(home: Home, plan: Plan, state: RunState) -> Iterator[PlannedGate]:
    """Give one gate with the roles of those that were opened too long ago to cover the way back as well."""
    stale = [
        node
        for path, gate in state.gates.items()
        if gate.opened and gate.asked_at is not None and home.clock() - gate.asked_at > COVERED
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
        expires_ms=min(node.expires_ms for node in stale),
        on_timeout=OnTimeout.FAIL,
    )


def left_standing(home: Home, run: str) -> list[str]:
    """Name the steps of a run that changed something and have no undo."""
    name = find_run(home, run).summary.run
    state, plan = load_state(home, name), load_plan(home, name)
    frozen = _frozen_nodes(home, plan, state)
    undone = {key.step for key, _ in _done_backwards(state, frozen)}
    changed = {key.step for key, cell in state.cells.items() if cell.changed and key.step in frozen}
    return [f"{path} {frozen[path].name}" for path in sorted(changed - undone)]


def _frozen_nodes(home: Home, plan: Plan, state: RunState) -> Mapping[str, PlannedAction]:
    """Give every action as it was really done: as approved where there was a gate, else as planned."""
    nodes: dict[str, Node] = {node.path: node for node in plan.walk()}
    for path, gate in state.gates.items():
        if gate.opened and isinstance(nodes[path], PlannedGate):
            blob = home.store.blob(home.store.entry(gate.request), "segment")
            nodes.update((node.path, node) for node in Segment.decode(blob or b"{}").nodes)
    return {path: node for path, node in nodes.items() if isinstance(node, PlannedAction)}


def _done_backwards(state: RunState, nodes: Mapping[str, PlannedAction]) -> Iterator[tuple[CellKey, Cell]]:
    """Give what happened and has an undo, the last first, back to the last step that has no way back."""
    for key, cell in _happened_backwards(state, nodes):
        node = nodes[key.step]
        if node.options.irreversible:
            return
        if any(t.undo for t in node.targets if t.target == key.target):
            yield key, cell


def _last_irreversible(state: RunState, nodes: Mapping[str, PlannedAction]) -> tuple[CellKey, Cell] | None:
    happened = _happened_backwards(state, nodes)
    return next(((k, c) for k, c in happened if nodes[k.step].options.irreversible), None)


def _happened_backwards(
    state: RunState, nodes: Mapping[str, PlannedAction]
) -> Iterator[tuple[CellKey, Cell]]:
    """Give what happened, the last first.

    A failure that may have had an effect counts. What was as wanted before its one attempt does not: taking
    it back would change what the run has found.
    """
    for key, cell in sorted(state.cells.items(), key=lambda item: item[1].outcome, reverse=True):
        as_found = not cell.changed and not cell.resolved and cell.attempts == 1
        failed = cell.status is CellStatus.FAILED and not cell.clean
        happened = failed or (cell.status is CellStatus.OK and not as_found)
        if key.step in nodes and happened:
            yield key, cell


@dataclass(frozen=True, slots=True)
class _Done:
    """One thing that happened and can be taken back: where, and what is on record about it."""

    home: Home
    plan: Plan
    state: RunState
    node: PlannedAction
    key: CellKey
    cell: Cell

    @property
    def target(self) -> TargetCalls:
        """The target's part of the step."""
        return next(t for t in self.node.targets if t.target == self.key.target)


def _node(done: _Done, number: int) -> PlannedAction:
    node, key, undos = done.node, done.key, done.target.undo
    undo = undos[key.iteration if len(undos) > key.iteration else 0]
    call = undo if _waits_for_secret(done, undo) else render_call(undo, done.home.catalog, _variables(done))
    options = StepOptions(
        timeout_ms=node.options.timeout_ms,
        become=node.options.become,
        environment=node.options.environment,
        no_log=node.options.no_log,
    )
    return PlannedAction(
        path=str(number),
        name=f"Undo: {node.name}",
        action=undo.action,
        targets=(TargetCalls(target=key.target, calls=(call,)),),
        options=options,
        undoes=_origin(key),
    )


def _waits_for_secret(done: _Done, undo: PlannedCall) -> bool:
    """Say whether an undo has to stay late: no plan holds a secret.

    Raises:
        RunError: it needs something that only this run knows as well, which is data and no template.
    """
    secrets = {name for name, value in done.plan.inputs.items() if is_secret(value)} & set(undo.late)
    more = names(undo.args) - secrets - Facts(done.plan).variables(done.key.target).keys()
    if secrets and more:
        raise RunError(
            f"step {done.key.step} '{done.node.name}' cannot be taken back by mimrun: its undo needs a secret"
            f" ({', '.join(sorted(secrets))}) together with what the run found out ({', '.join(sorted(more))})"
        )
    return bool(secrets)


def _variables(done: _Done) -> dict[str, JsonValue]:
    home, state, key = done.home, done.state, done.key
    facts = Facts(done.plan)
    recall_all(done.plan, state, home.store, facts)
    variables = facts.variables(key.target)
    if done.node.loop is not None:
        variables["item"] = _items(home, state, done.target, key)[key.iteration]
    if done.cell.outcome:
        variables["result"] = answer_of(home.store, done.cell)
    if key in state.captured:
        variables["captured"] = _blob(home, state.captured[key], "data")
    return variables


def _items(home: Home, state: RunState, target: TargetCalls, key: CellKey) -> list[JsonValue]:
    if target.items is not None:
        return list(target.items)
    entry = home.store.entry(state.loops[key.step, key.target])
    return list(json.loads(home.store.blob(entry, "items") or b"[]"))


def _blob(home: Home, seq: int, name: str) -> JsonValue:
    value: JsonValue = json.loads(home.store.blob(home.store.entry(seq), name) or b"{}")
    return value
