"""The board of a run: everything that people see of it while it happens, folded from its entries one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mimrun.app.shown.batches import BatchView
from mimrun.app.shown.under_way import UnderWay, step_of
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.run.record.fold import apply
from mimrun.run.record.state import CellKey, RunState
from mimrun.runbook.node import Node
from mimrun.runbook.plan import Plan


@dataclass(slots=True)
class Span:
    """When something was begun and ended, and how long it took; looks before and after it do not count.

    Arguments:
        reason: what the log says of its end, or "".
    """

    began: datetime | None = None
    ended: datetime | None = None
    took_ms: int = 0
    reason: str = ""


class Board:
    """A run, as far as its entries were taken.

    Arguments:
        plan: its frozen plan; None where that was erased.
        missing: why there is no plan, or "".
    """

    def __init__(self, plan: Plan | None, missing: str = "") -> None:
        self.plan, self.missing, self.state = plan, missing, RunState()
        self.nodes: Mapping[str, Node] = {node.path: node for node in plan.walk()} if plan else {}
        self.steps: dict[str, Span] = {}
        """By path, the steps that have begun."""
        self.names: dict[str, str] = {}
        """What steps are called, as the log has it."""
        self.cells: dict[CellKey, Span] = {}
        self.entries: dict[tuple[str, str], list[int]] = {}
        """By step and target, the entries about it, looks before and after it among them."""
        self.pauses: dict[str, str] = {}
        """By the path of a step in batches, the pause that it makes now."""
        self._batches, self._under_way = BatchView(plan), UnderWay(self.nodes)

    def take(self, entry: LogEntry) -> None:
        """Take the next entry.

        Raises:
            TamperError: it cannot follow.
        """
        apply(self.state, entry)
        if entry.target:
            self.entries.setdefault((step_of(entry.step), entry.target), []).append(entry.seq)
        self._under_way.take(entry)
        match entry.body:
            case kinds.StepStarted() as body:
                self.steps.setdefault(entry.step, Span(began=entry.ts))
                self.names[entry.step] = body.name
                self._go_on(entry.step)
            case kinds.GateRequested() as body:
                self.steps[entry.step] = Span(began=entry.ts)
                self.names[entry.step] = body.title
            case kinds.ManualRequested():
                self.steps[entry.step] = Span(began=entry.ts)
            case kinds.StepFinished() as body:
                span = self.steps.setdefault(entry.step, Span())
                span.ended, span.reason = entry.ts, body.reason
                self.pauses |= dict(self._batches.left(entry.step, self.state, entry.ts))
            case _:
                self._cell(entry)

    def _cell(self, entry: LogEntry) -> None:
        match entry.body:
            case kinds.StepIntent() as intent if step_of(entry.step) == entry.step:
                key = CellKey(entry.step, entry.target, intent.iteration)
                self.cells.setdefault(key, Span(began=entry.ts))
            case kinds.StepOutcome() as outcome if step_of(entry.step) == entry.step:
                key = CellKey(entry.step, entry.target, outcome.iteration)
                span = self.cells.setdefault(key, Span())
                span.ended, span.took_ms = entry.ts, span.took_ms + outcome.dur_ms
            case _:
                pass

    def _go_on(self, step: str) -> None:
        """The pause in front of a batch is over when one of its steps begins."""
        for serial in [path for path in self.pauses if step.startswith(f"{path}.")]:
            del self.pauses[serial]

    def doing(self, now: datetime) -> dict[str, str]:
        """Say what the steps under way are doing, by their paths.

        Arguments:
            now: the present moment, UTC.
        """
        return {**self.pauses, **self._under_way.words(now)}
