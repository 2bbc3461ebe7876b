"""What is said above and below the steps of a plan: what holds the run, and what one must know before the go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from mimrun.app.shown.plan import count, first
from mimrun.app.shown.text import safe_line
from mimrun.app.shown.tone import Told, Tone
from mimrun.connector import Effect
from mimrun.runbook.batch import written
from mimrun.runbook.duration import format_duration
from mimrun.runbook.node import Node, PlannedAction, PlannedGate, PlannedManual
from mimrun.runbook.plan import Plan
from mimrun.runbook.reach import HOST_LOCK

RISK: Final[dict[str, Tone]] = {"low": "good", "medium": "care", "high": "alarm"}
"""How a risk is said."""
_LOCKS_SHOWN: Final = 10
"""Hosts whose locks a plan names one by one."""
_STEPS_SHOWN: Final = 8
"""Steps that are named at the end of a plan, of each kind."""


def bounds(plan: Plan) -> Iterator[tuple[str, str]]:
    """Give what holds the run, each with what it is about: `limits` (how much may fail, be changed, and take), `locks`."""
    limits = plan.limits
    said = [f"{count(plan.max_failures, 'host')} may fail", f"{format_duration(plan.timeout_ms)} at work"]
    said += [f"at most {share} of {safe_line(group)} changed" for group, share in limits.share.items()]
    if limits.domains is not None:
        said.append(f"hosts of {limits.domains.at_once} {limits.domains.by} at once")
    yield "limits", ", ".join(said)
    named = [safe_line(lock) for lock in plan.locks if not lock.startswith(HOST_LOCK)]
    hosts = [safe_line(lock) for lock in plan.locks if lock.startswith(HOST_LOCK)]
    if len(hosts) > _LOCKS_SHOWN:
        hosts = [f"each of the {len(hosts)} hosts that are changed"]
    if named or hosts:
        yield "locks", ", ".join(named + hosts)


def judgement(plan: Plan) -> Iterator[Told]:
    """Say what a responder must know before the go."""
    every = list(written((*plan.nodes, *plan.handlers)))
    actions = [node for node in every if isinstance(node, PlannedAction)]
    changing = [node for node in actions if _changes(node)]
    # A way back has no way back of its own; to say so of each of its steps would only frighten.
    final = [n for n in changing if plan.undo_of is None and not all(t.undo for t in n.targets)]
    late = [n for n in actions if any(c.late for t in n.targets for c in t.calls)]
    gates = sum(isinstance(node, PlannedGate) for node in every)
    manual = sum(isinstance(node, PlannedManual) for node in every)
    changes = "changes" if len(changing) == 1 else "change"
    doing = f"{count(len(actions), 'action')}, {len(changing)} of them {changes} something"
    yield Told(((f"{doing}; {count(gates, 'gate')}, {count(manual, 'manual step')}", "strong"),))
    timed = [node for node in actions if node.options.revert_after_ms is not None]
    kinds: tuple[tuple[str, list[PlannedAction], Tone], ...] = (
        ("cannot be undone", final, "danger"),
        ("takes itself back", timed, "strong"),
        ("not known in full until they are reached", late, "care"),
    )
    for word, nodes, tone in kinds:
        if nodes:
            yield Told(((f"{word}: ", tone), (first([*map(_title, nodes)], _STEPS_SHOWN), "")))


def way_back(nodes: Iterable[Node]) -> tuple[list[str], list[str]]:
    """Say of steps that change something which can be undone, and which cannot."""
    back, final = list[str](), list[str]()
    for node in written(nodes):
        if isinstance(node, PlannedAction) and _changes(node):
            undone = all(t.undo for t in node.targets) and not node.options.irreversible
            (back if undone else final).append(_title(node))
    return back, final


def _changes(node: PlannedAction) -> bool:
    return any(call.effect is not Effect.READ for target in node.targets for call in target.calls)


def _title(node: PlannedAction) -> str:
    after = node.options.revert_after_ms
    return f"{node.path} {node.name}" + (f" (after {format_duration(after)})" if after is not None else "")
