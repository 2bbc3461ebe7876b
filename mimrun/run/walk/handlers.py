"""Handlers: what follows on the hosts where a step that notifies it changed something.

It follows the last step; what a batch or an included runbook notified follows that one.

Nothing is kept about them: what is due is read from the recorded outcomes each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mimrun.run.record.state import RunState
from mimrun.run.record.transitions import CellStatus
from mimrun.runbook.node import PlannedAction
from mimrun.runbook.plan import Plan

_NAMED: Final = 3


def notified(plan: Plan, state: RunState) -> Mapping[str, frozenset[str]]:
    """Give the hosts that each handler is due on, by its path: there a step that notifies it changed something."""
    due: dict[str, set[str]] = {}
    if not plan.handlers:
        return {}
    for node in plan.walk():
        if isinstance(node, PlannedAction) and node.notify:
            cells = state.steps.get(node.path, {}).items()
            changed = {key.target for key, cell in cells if cell.changed and cell.status is CellStatus.OK}
            for handler in node.notify:
                due.setdefault(handler, set()).update(changed)
    return {handler: frozenset(hosts) for handler, hosts in due.items() if hosts}


def due_hosts(handler: PlannedAction, due: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Give the hosts on which a handler is due, of those that it is for."""
    return due.get(handler.path, frozenset()).intersection(target.target for target in handler.targets)


def waiting_handlers(plan: Plan, state: RunState) -> str:
    """Say which handlers a run has left undone that were due; "" where there are none."""
    due = notified(plan, state)
    left: dict[str, set[str]] = {}
    for handler in plan.handlers:
        hosts = due_hosts(handler, due)
        if hosts and handler.path not in state.finished:
            left.setdefault(handler.name, set()).update(hosts)
    told = [f"'{name}' on {_some(frozenset(hosts))}" for name, hosts in left.items()]
    return f"handlers not done: {', '.join(told)}" if told else ""


def _some(hosts: frozenset[str]) -> str:
    shown = ", ".join(sorted(hosts)[:_NAMED])
    return shown if len(hosts) <= _NAMED else f"{shown} and {len(hosts) - _NAMED} more"
