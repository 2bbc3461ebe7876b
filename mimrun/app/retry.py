"""Retry: a run that failed on some hosts, done again where it failed, and gone on with where it stopped.

It is a run of its own: made from the frozen plan of the first, with its own digest and its own gates. What
the first run has done it does not do again; what its steps need to know of that is taken from the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from mimrun import canonical
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.policies import asks_at_launch
from mimrun.app.runs import create_run, find_run
from mimrun.app.undo import follow_ups, taken_back
from mimrun.app.undo_plan import Record, record_of
from mimrun.connector import Effect
from mimrun.errors import RefusedError, RunError
from mimrun.run.hold.lock import HOST
from mimrun.run.record.followup import FollowUps, check_followups
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import TERMINAL
from mimrun.run.walk.remaining import due, due_before, handlers_of, leaves, referred_to, remaining, targets_of
from mimrun.runbook.launch import with_launch_gate
from mimrun.runbook.node import (
    Leaf,
    Node,
    PlannedAction,
    PlannedInclude,
    PlannedManual,
    TargetCalls,
    with_parts,
)
from mimrun.runbook.plan import Plan, PlannedTarget


def plan_retry(home: Home, run: str) -> Plan:
    """Make the plan of what a run has left to do.

    Raises:
        RunError: the run has not ended, is in doubt, has nothing left to do, was taken back or repeated
            already, or what is left needs to know something that cannot be handed on.
    """
    view = find_run(home, run)
    name = view.summary.run
    if view.summary.status not in TERMINAL:
        raise RunError(f"{name} is {view.status}; `mimrun resume {name}` goes on with it")
    record = record_of(home, name)
    _check_follow_ups(home, record, name)
    plan = _with_known_items(record)
    steps = remaining(plan, record.state)
    nodes = (*steps, *_handlers_left(record, steps))
    if not nodes:
        raise RunError(f"{name} failed nowhere: nothing is left to do")
    handlers = handlers_of(plan, record.state, steps)
    every = (*nodes, *handlers)
    handed = _handed_on(record, every)
    hosts = _hosts(plan, every)
    changed = {
        "nodes": nodes,
        "handlers": handlers,
        "retry_of": name,
        "locks": _locks(plan, every),
        "vars": {**plan.vars, **handed.everywhere},
        "targets": tuple(_target(t, handed.by_host.get(t.name, {})) for t in plan.targets if t.name in hosts),
        "groups": {group: tuple(h for h in names if h in hosts) for group, names in plan.groups.items()},
    }
    # Read back from its bytes: a copy would keep the digest of the plan that it was copied from.
    left = Plan.decode(plan.model_copy(update=changed).encode())
    return with_launch_gate(left) if asks_at_launch(home.settings) else left


def create_retry(home: Home, run: str, plan: Plan, identity: Identity, *, direct: bool = False) -> str:
    """Ask for a retry to be executed, in the incident of the run that it repeats.

    Arguments:
        run: the run that is repeated.
        plan: as it was looked at.
        direct: Prefect is left out by wish.

    Returns:
        the name of the new run.

    Raises:
        RefusedError: the plan would be another one now, or somebody else repeats the run or takes it back.
        StoreError: the log cannot be written.
    """
    summary = find_run(home, run).summary
    seen = follow_ups(home, summary.run)
    if plan_retry(home, summary.run).digest != plan.digest:
        raise RefusedError(f"{summary.run} has changed since you looked; look at the retry again")
    return create_run(
        home,
        plan,
        identity,
        incident=summary.incident,
        direct=direct,
        guard=lambda view: check_followups(view, summary.run, seen),
    )


def _check_follow_ups(home: Home, record: Record, name: str) -> None:
    if record.plan.undo_of:
        raise RunError(f"{name} is a way back; `mimrun undo {record.plan.undo_of}` goes on with it")
    if record.state.in_doubt():
        raise RunError(f"{name} has steps in doubt; settle them with `mimrun resolve` first")
    known: FollowUps = follow_ups(home, name)
    if known.retries:
        newest = known.retries[-1]
        status = RunSummary.decode(home.store.projection(RunSummaries.name, newest)).status
        raise RunError(f"{name} has been repeated by {newest}, which is {status}; look at that one")
    gone = taken_back(home, name)
    if gone:
        raise RunError(f"{name} has been taken back by {', '.join(sorted(set(gone.values())))}; run it anew")


def _handlers_left(record: Record, steps: Iterable[Node]) -> tuple[Leaf, ...]:
    """Give the handlers that the run has not come to, behind the gate that they stood behind.

    Raises:
        RunError: one belongs to an included runbook, outside of which its names mean nothing.
    """
    inside = [
        handler for handler in due(record.plan, record.state) if record.include(handler.path) is not None
    ]
    left = due_before(record.plan, record.state, steps)
    if inside:
        raise RunError(
            f"the handler '{inside[0].name}' of an included runbook may be due and cannot be done alone;"
            " run the runbook anew"
        )
    return left


def _with_known_items(record: Record) -> Plan:
    """Give the plan with the items of every loop that began, as they were then."""

    def known(node: Node) -> Node:
        if not isinstance(node, PlannedAction):
            return with_parts(node, known)
        if node.loop is None:
            return node
        return node.model_copy(update={"targets": tuple(_with_items(record, node, t) for t in node.targets)})

    nodes = tuple(known(node) for node in record.plan.nodes)
    return record.plan.model_copy(update={"nodes": nodes})


def _with_items(record: Record, node: PlannedAction, target: TargetCalls) -> TargetCalls:
    if target.items is not None:
        return target
    frozen = (t.items for t in record.frozen[node.path].targets if t.target == target.target)
    items = next(frozen, None)
    recorded = record.state.loops.get((node.path, target.target))
    if items is None and recorded is not None:
        entry = record.home.store.entry(recorded)
        items = tuple(json.loads(record.home.store.blob(entry, "items") or b"[]"))
        _check_canonical(f"the items of step {node.path}", [*items])
    return target if items is None else target.model_copy(update={"items": items})


def _hosts(plan: Plan, nodes: tuple[Node, ...]) -> frozenset[str]:
    """Give the hosts that something is left on; all of them where a step that is left asks for others by name."""
    if referred_to(nodes) & {"hostvars", "groups"}:
        return frozenset(target.name for target in plan.targets)
    return targets_of(nodes)


def _locks(plan: Plan, nodes: Iterable[Node]) -> tuple[str, ...]:
    """Give the author's locks, and those of the hosts that something is left to do on."""
    changed = {
        target.target
        for node in leaves(nodes)
        if isinstance(node, PlannedAction)
        for target in node.targets
        if any(call.effect is not Effect.READ for call in target.calls)
    }
    return tuple(
        lock for lock in plan.locks if not lock.startswith(HOST) or lock.removeprefix(HOST) in changed
    )


class _HandedOn:
    """What steps that are not repeated have said, for those that are.

    Arguments:
        everywhere: what everybody sees.
        by_host: what each host has said.
    """

    def __init__(self) -> None:
        self.everywhere: dict[str, JsonValue] = {}
        self.by_host: dict[str, dict[str, JsonValue]] = {}


def _handed_on(record: Record, nodes: tuple[Node, ...]) -> _HandedOn:
    """Give the answers that the steps which are left refer to, and that nobody will give anew.

    Raises:
        RunError: one of them cannot be handed on.
    """
    handed = _HandedOn()
    for name in sorted(_lost(record, nodes) & referred_to(nodes)):
        for host in ("", *(target.name for target in record.plan.targets)):
            value = record.facts("").variables(host).get(name)
            own = record.plan.vars_of(host) if host else {}
            if value is None or (value == handed.everywhere.get(name) and name not in own):
                continue
            _check_canonical(f"what was registered as {name!r}", value)
            if host:
                _check_free(own, name, host)
                handed.by_host.setdefault(host, {})[name] = value
            else:
                handed.everywhere[name] = value
    return handed


def _lost(record: Record, nodes: tuple[Node, ...]) -> set[str]:
    """Give the names that steps registered which are not repeated, at least not on all their hosts.

    Raises:
        RunError: a step of an included runbook is among them, and one that is left refers to it.
    """
    left = {node.path: node for node in leaves(nodes)}
    lost = set()
    for node in leaves(record.plan.nodes):
        again = left.get(node.path)
        if isinstance(node, PlannedAction) and isinstance(again, PlannedAction):
            whole = len(again.targets) == len(node.targets)
        else:
            whole = again is not None
        name = _registers(node)
        if not name or whole:
            continue
        include = record.include(node.path)
        if include is not None and name in _referred_to_within(include, nodes):
            raise RunError(
                f"step {node.path} of the included runbook {include.runbook.name} is done, and its answer"
                f" {name!r} is needed by what is left there; run the runbook anew"
            )
        lost |= set() if include is not None else {name}
    return lost


def _registers(node: Node) -> str | None:
    match node:
        case PlannedAction():
            return node.options.register_
        case PlannedManual():
            return node.register_
        case _:
            return None


def _referred_to_within(include: PlannedInclude, nodes: Iterable[Node]) -> frozenset[str]:
    inside = [node for node in leaves(nodes) if node.path.startswith(f"{include.path}.")]
    return referred_to(inside)


def _target(target: PlannedTarget, handed: Mapping[str, JsonValue]) -> PlannedTarget:
    return target.model_copy(update={"vars": {**target.vars, **handed}}) if handed else target


def _check_free(variables: Mapping[str, JsonValue], name: str, host: str) -> None:
    if name in variables:
        raise RunError(
            f"the answer {name!r} has the name of an inventory variable of {host} and cannot be handed on;"
            " run the runbook anew"
        )


def _check_canonical(what: str, value: JsonValue) -> None:
    try:
        canonical.encode(value)
    except ValueError as exc:
        raise RunError(f"{what} cannot stand in a plan: {exc}; run the runbook anew") from exc
