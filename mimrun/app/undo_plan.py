"""The steps of an undo plan: each made from what is on record about the one that it takes back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from mimrun import canonical
from mimrun.app.home import Home
from mimrun.app.runs import load_plan, load_state
from mimrun.errors import InputError, RunError
from mimrun.run.cell.answer import answer_of, recall_all
from mimrun.run.cell.compare import UNDO
from mimrun.run.cell.facts import Facts
from mimrun.run.cell.scopes import Scope, scopes_of
from mimrun.run.record.state import Cell, CellKey, RunState
from mimrun.runbook.expression import names, truth
from mimrun.runbook.inputs import is_secret
from mimrun.runbook.node import (
    Node,
    PlannedAction,
    PlannedCall,
    PlannedGate,
    PlannedInclude,
    StepOptions,
    TargetCalls,
    handler_place,
)
from mimrun.runbook.plan import Plan, Segment
from mimrun.runbook.render import render_call


@dataclass(frozen=True, slots=True)
class Record:
    """What is on record about a run.

    Arguments:
        frozen: every action as it was really done: as approved where there was a gate, else as planned.
        scopes: by the path of a step, in which part of the plan its names mean what they mean.
    """

    home: Home
    plan: Plan
    state: RunState
    frozen: Mapping[str, PlannedAction]
    scopes: Mapping[str, Scope]
    known: dict[str, Facts] = field(default_factory=dict)

    def facts(self, step: str) -> Facts:
        """Give everything that a step knew, and what the run has learned since."""
        scope = self.scopes.get(step, Scope()).path
        if scope not in self.known:
            self.known[scope] = Facts(self.plan)
            recall_all(self.plan, self.state, self.home.store, self.known[scope], inside=step)
        return self.known[scope]

    def include(self, step: str) -> PlannedInclude | None:
        """Give the included runbook that a step belongs to."""
        return self.scopes.get(step, Scope()).include


def record_of(home: Home, run: str) -> Record:
    """Read what is on record about a run.

    Raises:
        TamperError: it is not what was recorded.
    """
    state, plan = load_state(home, run), load_plan(home, run)
    return Record(home, plan, state, _frozen_nodes(home, plan, state), scopes_of(plan))


def _frozen_nodes(home: Home, plan: Plan, state: RunState) -> Mapping[str, PlannedAction]:
    nodes: dict[str, Node] = {node.path: node for node in plan.walk()}
    for path, gate in state.gates.items():
        if gate.passed and isinstance(nodes[path], PlannedGate):
            blob = home.store.blob(home.store.entry(gate.passed), "segment")
            nodes.update((node.path, node) for node in Segment.decode(blob or b"{}").nodes)
    return {path: node for path, node in nodes.items() if isinstance(node, PlannedAction)}


@dataclass(frozen=True, slots=True)
class DoneOnce:
    """One thing that happened and can be taken back: where, and what is on record about it."""

    record: Record
    node: PlannedAction
    key: CellKey
    cell: Cell

    @property
    def target(self) -> TargetCalls:
        """The target's part of the step."""
        return next(t for t in self.node.targets if t.target == self.key.target)

    def call(self, calls: tuple[PlannedCall, ...]) -> PlannedCall:
        """The call that belongs to this item; a loop that was not known to the plan has one for all."""
        return calls[self.key.iteration if len(calls) > self.key.iteration else 0]


def origin(key: CellKey) -> str:
    """Name what an undo takes back: step, iteration and target of the run that did it."""
    return f"{key.step} {key.iteration} {key.target}"


def undo_node(done: DoneOnce, number: int, notify: tuple[str, ...]) -> Node:
    """Make the step that takes something back.

    Arguments:
        notify: the paths of the handlers that follow it.

    Raises:
        RunError: its undo needs a secret together with something that a plan cannot hold.
        PlanError: its undo cannot be filled in.
    """
    node, key = done.node, done.key
    variables = _variables(done)
    call, given = _filled(done, done.call(done.target.undo), variables)
    seen, left = None, None
    if done.target.capture:
        seen, more = _filled(done, done.call(done.target.capture), variables)
        given |= more
        left = {"before": done.record.state.captured.get(key, 0), "left": done.record.state.left.get(key, 0)}
    options = StepOptions(
        timeout_ms=node.options.timeout_ms,
        become=node.options.become,
        environment=node.options.environment,
        no_log=node.options.no_log,
    )
    target = TargetCalls(target=key.target, calls=(call,), compare=seen, left=left, given=given)
    include = done.record.include(key.step) if call.late or (seen and seen.late) else None
    undo = PlannedAction(
        path=f"{number}.include.1" if include else str(number),
        name=f"{UNDO}{node.name}",
        action=call.action,
        targets=(target,),
        options=options,
        notify=notify,
        undoes=origin(key),
    )
    # What waits for a secret of an included runbook is done within it: there the secret has its name.
    return (
        include.model_copy(update={"path": str(number), "when": None, "steps": (undo,)}) if include else undo
    )


@dataclass(frozen=True, slots=True)
class Following:
    """The handlers of an undo plan.

    Arguments:
        handlers: what they do, one behind the other.
        includes: for those of included runbooks, a part of the plan in which their names mean what they mean.
        of: by the path of a handler in the run, the paths of those that stand for it now.
    """

    handlers: tuple[PlannedAction, ...]
    includes: tuple[PlannedInclude, ...]
    of: Mapping[str, tuple[str, ...]]

    def notified(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Give the paths that stand for some handlers of the run."""
        return tuple(dict.fromkeys(path for each in paths for path in self.of.get(each, ())))


def undo_handlers(record: Record, undone: Sequence[DoneOnce], first: int) -> Following:
    """Give the handlers that follow where what notified them is taken back: a service reads its old file again.

    Each follows once on a host, in the batches that the run had. They are filled in with what the run knew, and stay
    away where their condition did not hold in it.

    Arguments:
        first: the number of the first step behind all that is taken back.
    """
    due: dict[str, set[str]] = {}
    for done in undone:
        for path in done.node.notify:
            due.setdefault(path, set()).add(done.key.target)
    pieces: dict[tuple[str, str], list[PlannedAction]] = {}
    stands: dict[str, tuple[str, str]] = {}
    for written in record.plan.handlers:
        handler, include = record.frozen.get(written.path, written), record.include(written.path)
        same = (include.path if include else "", handler_place(written.path)[1])
        stands[written.path] = same
        hosts = due.get(written.path, set()).difference(
            t.target for p in pieces.get(same, ()) for t in p.targets
        )
        targets = tuple(_again(record, handler, t) for t in handler.targets if t.target in hosts)
        kept = tuple(target for target in targets if target is not None)
        if kept:
            pieces.setdefault(same, []).append(handler.model_copy(update={"targets": kept, "when": None}))
    return _placed(record, pieces, stands, first)


def _placed(
    record: Record,
    pieces: Mapping[tuple[str, str], Sequence[PlannedAction]],
    stands: Mapping[str, tuple[str, str]],
    first: int,
) -> Following:
    """Give handlers the paths that they have behind the way back, in which there are no batches."""
    around = list(dict.fromkeys(path for path, _ in pieces if path))
    number = {path: first + place for place, path in enumerate(around)}
    handlers, now = list[PlannedAction](), dict[tuple[str, str], tuple[str, ...]]()
    for (path, own), parts in pieces.items():
        whole = f"{number[path]}.include.{own}" if path else own
        paths = [whole] if len(parts) == 1 else [f"{whole}.batch.{n}" for n, _ in enumerate(parts, 1)]
        handlers += [part.model_copy(update={"path": at}) for at, part in zip(paths, parts, strict=True)]
        now[path, own] = tuple(paths)
    includes = (record.plan.node(path) for path in around)
    empty = tuple(
        node.model_copy(update={"path": str(number[node.path]), "when": None, "steps": ()})
        for node in includes
        if isinstance(node, PlannedInclude)
    )
    return Following(tuple(handlers), empty, {path: now.get(same, ()) for path, same in stands.items()})


def _again(record: Record, handler: PlannedAction, target: TargetCalls) -> TargetCalls | None:
    """Fill in a handler's part for a host; None where its condition did not hold there."""
    done = DoneOnce(record, handler, CellKey(handler.path, target.target), Cell())
    variables = record.facts(handler.path).variables(target.target, path=handler.path)
    with contextlib.suppress(InputError):  # where nobody can tell any more, it follows
        if handler.when and not truth(handler.when, variables):
            return None
    if handler.loop is not None and target.items is None:
        return target
    known = [variables] if target.items is None else [{**variables, "item": item} for item in target.items]
    calls = [_filled(done, call, more)[0] for call, more in zip(target.calls, known, strict=True)]
    return target.model_copy(update={"calls": tuple(calls), "undo": (), "capture": ()})


def _filled(
    done: DoneOnce, call: PlannedCall, variables: Mapping[str, JsonValue]
) -> tuple[PlannedCall, dict[str, JsonValue]]:
    """Fill in a call. One that needs a secret stays the author's text: no plan holds a secret.

    Returns:
        the call, and the data that it refers to besides, where it stays late.
    """
    plan, step = done.record.plan, done.key.step
    runbook = done.record.include(step) or plan
    secrets = {name for name, value in runbook.inputs.items() if is_secret(value)} & set(call.late)
    if not secrets:
        return render_call(call, done.record.home.catalog, variables), {}
    known_anyway = Facts(plan).variables(done.key.target, path=step).keys()
    given = {name: variables[name] for name in names(call.args) - secrets - known_anyway if name in variables}
    try:
        canonical.encode(given)
    except ValueError as exc:
        raise RunError(
            f"step {step} '{done.node.name}' cannot be taken back by mimrun: its undo needs the secret"
            f" {', '.join(sorted(secrets))} together with what the run found out, and no plan can hold that: {exc}"
        ) from exc
    return call, given


def _variables(done: DoneOnce) -> dict[str, JsonValue]:
    home, state, key = done.record.home, done.record.state, done.key
    variables = done.record.facts(key.step).variables(key.target, path=key.step)
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
