"""What a change record says of a plan: what is done step by step, how it is taken back, and how one sees that it worked.

The texts are made of the plan alone, which has references in the place of secrets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from mimrun.connector import Effect
from mimrun.gate.register import Content
from mimrun.runbook.node import (
    Node,
    PlannedAction,
    PlannedCall,
    PlannedGate,
    PlannedManual,
    TargetCalls,
)
from mimrun.runbook.plan import Plan

LONGEST: Final = 12_000
"""Characters of one text; a change system takes a few ten thousand."""
_HOSTS: Final = 10
_ARGS: Final = 300


def steps_text(nodes: Iterable[Node]) -> str:
    """Say what is done, a line for each step and what it does on its hosts."""
    return _cut([line for node in nodes for line in _step(node)], "steps")


def backout_text(nodes: Iterable[Node]) -> str:
    """Say how it is taken back, in the order in which that is done, and what cannot be."""
    back = [line for node in reversed(list(nodes)) for line in _back(node)]
    return _cut(back, "steps back") if back else ""


def test_text(nodes: Iterable[Node]) -> str:
    """Say how one sees that it worked: what is checked behind each step."""
    return _cut([line for node in nodes for line in _checks(node)], "checks")


def changes_something(plan: Plan) -> bool:
    """Say whether a plan does anything but read."""
    actions = (node for node in plan.walk() if isinstance(node, PlannedAction))
    return any(
        call.effect is not Effect.READ for node in actions for one in node.targets for call in one.calls
    )


def content_of_plan(
    plan: Plan, *, justification: str = "", incident: str = "", requested_by: str = ""
) -> Content:
    """Fill in the draft of a normal change from a plan: its approval is for the digest of this plan."""
    nodes = list(plan.walk())
    return Content(
        type="normal",
        title=title_of(plan),
        risk=plan.runbook.risk.value,
        justification=justification,
        implementation=steps_text(nodes),
        backout=backout_text(nodes),
        test=test_text(nodes),
        targets=hosts_of(plan),
        digest=plan.digest,
        runbook=f"{plan.runbook.name}@{plan.runbook.version}",
        owner=plan.runbook.owner,
        incident=incident,
        requested_by=requested_by,
    )


def title_of(plan: Plan) -> str:
    """Give the title of a plan's change."""
    return f"{plan.runbook.title} ({plan.runbook.name}@{plan.runbook.version})"[:200]


def hosts_of(plan: Plan) -> tuple[str, ...]:
    """Give every host that a plan may touch."""
    return tuple(target.name for target in plan.targets)


def _step(node: Node) -> Iterator[str]:
    match node:
        case PlannedAction():
            condition = f", when {node.when}" if node.when else ""
            yield f"{node.path}. {node.name}: {node.action} on {_hosts(node.targets)}{condition}"
            yield from _distinct(node.targets, "   ")
        case PlannedManual():
            yield f"{node.path}. {node.name}: by hand, by {node.role or 'anybody'}"
        case PlannedGate():
            yield f"{node.path}. {node.name}: people must agree"
        case _:
            return


def _distinct(targets: Sequence[TargetCalls], indent: str) -> Iterator[str]:
    """Give what a step does, once for all hosts on which it is the same."""
    seen: dict[str, list[str]] = {}
    for one in targets:
        for call in one.calls:
            seen.setdefault(_call(call), []).append(one.target)
    for text, hosts in list(seen.items())[:_HOSTS]:
        where = "" if len(hosts) == len(targets) else f" ({', '.join(hosts[:_HOSTS])})"
        yield f"{indent}{text}{where}"


def _call(call: PlannedCall) -> str:
    args = json.dumps(call.args, sort_keys=True, ensure_ascii=False)
    late = f"; filled in during the run: {', '.join(call.late)}" if call.late else ""
    return f"{call.action} {args[:_ARGS]}{'…' if len(args) > _ARGS else ''}{late}"


def _back(node: Node) -> Iterator[str]:
    if not isinstance(node, PlannedAction) or not _changes(node):
        return
    if not any(one.undo for one in node.targets):
        why = "it cannot be undone" if node.options.irreversible else "no undo is written for it"
        yield f"step {node.path}, {node.name}: {why}"
        return
    yield f"step {node.path}, {node.name}, is taken back on {_hosts(node.targets)}:"
    for text in dict.fromkeys(_call(call) for one in node.targets for call in one.undo):
        yield f"   {text}"


def _checks(node: Node) -> Iterator[str]:
    if not isinstance(node, PlannedAction):
        return
    if node.options.expect:
        yield f"step {node.path}, {node.name}: {node.options.expect}"
    for check in dict.fromkeys(
        f"{_call(check)}, expecting {check.expect}" for one in node.targets for check in one.verify
    ):
        yield f"behind step {node.path}, {node.name}: {check}"


def _changes(node: PlannedAction) -> bool:
    return any(call.effect is not Effect.READ for one in node.targets for call in one.calls)


def _hosts(targets: Sequence[TargetCalls]) -> str:
    names = [one.target for one in targets]
    more = f" and {len(names) - _HOSTS} more" if len(names) > _HOSTS else ""
    return ", ".join(names[:_HOSTS]) + more or "no host"


def _cut(lines: Sequence[str], what: str) -> str:
    """Join lines as far as there is room; what is left out is counted, and covered by the digest all the same."""
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line) + 1
        if size > LONGEST:
            kept.append(f"… and {len(lines) - len(kept)} more lines of {what}; the digest covers all of them")
            break
        kept.append(line)
    return "\n".join(kept)
