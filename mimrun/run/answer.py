"""Answers: what targets and people have said, read back from the log in the form in which templates see it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from mimrun.log.store import Store
from mimrun.run.facts import Facts
from mimrun.run.state import Cell, ManualState, RunState
from mimrun.run.transitions import CellStatus
from mimrun.runbook.node import PlannedAction, PlannedManual
from mimrun.runbook.plan import Plan


def answer_of(store: Store, cell: Cell) -> dict[str, JsonValue]:
    """Give the recorded answer of a cell, with what became of it."""
    data: dict[str, JsonValue] = {}
    if cell.outcome:
        entry = store.entry(cell.outcome)
        data = json.loads(store.blob(entry, "data") or b"{}")
    failed = cell.passed is False or cell.status not in (CellStatus.OK, CellStatus.SKIPPED)
    data |= {"changed": cell.changed, "failed": failed, "reason": cell.reason}
    return data | {"skipped": cell.status is CellStatus.SKIPPED}


def registered(node: PlannedAction, answers: Sequence[Mapping[str, JsonValue]]) -> JsonValue:
    """Give what a step registers for a target: its answer, or those of all the items of its loop."""
    if node.loop is None:
        return {**answers[0]}
    changed, failed = any(a["changed"] for a in answers), any(a["failed"] for a in answers)
    return {"results": [{**answer} for answer in answers], "changed": changed, "failed": failed}


def evidence_of(store: Store, manual: ManualState) -> dict[str, JsonValue]:
    """Give the evidence that a person left, and who it was."""
    entry = store.entry(manual.attested)
    evidence: dict[str, JsonValue] = json.loads(store.blob(entry, "evidence") or b"{}")
    return {**evidence, "by": manual.by}


def recall_all(plan: Plan, state: RunState, store: Store, facts: Facts) -> None:
    """Take up every answer that a run has registered, as the run itself saw it in the end."""
    for node in plan.walk():
        if isinstance(node, PlannedAction) and node.options.register_:
            cells = state.steps.get(node.path, {})
            for target in {key.target: None for key in sorted(cells)}:
                keys = [key for key in sorted(cells) if key.target == target]
                value = registered(node, [answer_of(store, cells[key]) for key in keys])
                source = max(cells[key].outcome for key in keys)
                facts.register(node.options.register_, target, value, source=source)
        elif isinstance(node, PlannedManual) and node.register_:
            manual = state.manuals.get(node.path)
            if manual is not None and manual.attested:
                facts.register(node.register_, "", evidence_of(store, manual), source=manual.attested)
