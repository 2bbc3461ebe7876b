"""Answers: what targets and people have said, read back from the log in the form in which templates see it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from mimrun.log.store import RunStore
from mimrun.run.cell.facts import Facts
from mimrun.run.record.manual_state import ManualState
from mimrun.run.record.state import Cell, CellKey, RunState
from mimrun.run.record.transitions import CellStatus
from mimrun.runbook.node import Node, PlannedAction, PlannedManual, PlannedParallel, inside_of, parts_of
from mimrun.runbook.plan import Plan


def answer_of(store: RunStore, cell: Cell) -> dict[str, JsonValue]:
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


def evidence_of(store: RunStore, manual: ManualState) -> dict[str, JsonValue]:
    """Give the evidence that a person left, and who it was."""
    entry = store.entry(manual.attested)
    evidence: dict[str, JsonValue] = json.loads(store.blob(entry, "evidence") or b"{}")
    return {**evidence, "by": manual.by}


def recall_all(plan: Plan, state: RunState, store: RunStore, facts: Facts, *, inside: str = "") -> None:
    """Take up every answer that a run has registered, as the run itself saw it in the end.

    Arguments:
        inside: a step; the branches around it stay open, so that their answers are known there.
    """
    _Recall(plan, state, store, facts, inside).nodes((*plan.nodes, *plan.handlers_behind("")))


@dataclass(frozen=True, slots=True)
class _Recall:
    """Takes up answers, in the order in which the steps that gave them were done."""

    plan: Plan
    state: RunState
    store: RunStore
    facts: Facts
    inside: str

    def nodes(self, nodes: Iterable[Node]) -> None:
        """Take up those of some nodes, and of the handlers that follow them."""
        for node in nodes:
            self._node(node)
            self.nodes(self.plan.handlers_behind(inside_of(node)))

    def _node(self, node: Node) -> None:
        state, store, facts = self.state, self.store, self.facts
        if isinstance(node, PlannedAction):
            _recall_action(node, state, store, facts)
        elif isinstance(node, PlannedManual):
            manual = state.manuals.get(node.path)
            if node.register_ and manual is not None and manual.is_done:
                evidence, seq = evidence_of(store, manual), manual.attested
                facts.register(node.register_, "", evidence, source=seq, path=node.path)
        elif isinstance(node, PlannedParallel):
            paths = [branch.path for branch in node.branches]
            for path in paths:
                facts.fork(path)
            self.nodes(node.branches)
            facts.join(path for path in paths if not f"{self.inside}.".startswith(f"{path}."))
        else:
            self.nodes(parts_of(node))


def _recall_action(node: PlannedAction, state: RunState, store: RunStore, facts: Facts) -> None:
    if not node.options.register_:
        return
    answers: dict[str, list[CellKey]] = {}
    for key in sorted(state.steps.get(node.path, {})):
        answers.setdefault(key.target, []).append(key)
    for target, keys in answers.items():
        cells = [state.cells[key] for key in keys]
        value = registered(node, [answer_of(store, cell) for cell in cells])
        source = max(cell.outcome for cell in cells)
        facts.register(node.options.register_, target, value, source=source, path=node.path)
