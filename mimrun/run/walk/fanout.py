"""An action step on all its targets: side by side over targets, one after the other over loop items."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final

from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.errors import InputError
from mimrun.log.entry import Blob
from mimrun.log.kinds import LoopExpanded, StepFinished, StepStarted
from mimrun.run.cell.answer import registered
from mimrun.run.cell.attempt import Attempts
from mimrun.run.cell.facts import Condition, Facts
from mimrun.run.journal import Journal
from mimrun.run.record.state import Cell, CellKey
from mimrun.run.record.transitions import CellStatus
from mimrun.run.walk.result import Done, Failed, Parked, Walked, gravest
from mimrun.run.walk.roster import Roster
from mimrun.run.walk.spot import Spot, Spots, has_failed
from mimrun.run.walk.tally import NOT_BEGUN, Tally
from mimrun.runbook.node import PlannedAction, TargetCalls
from mimrun.runbook.render import loop_items

FORKS: Final = 50
"""How many targets are worked on at once."""


class Fanout:
    """Does action steps.

    Arguments:
        journal, attempts, facts, catalog: the worker's.
        pool: makes the threads that work side by side.
    """

    def __init__(
        self,
        journal: Journal,
        attempts: Attempts,
        facts: Facts,
        catalog: Catalog,
        *,
        pool: Callable[..., Executor] | None = None,
    ) -> None:
        self._journal, self._attempts, self._facts = journal, attempts, facts
        self._pool = pool or ThreadPoolExecutor
        self._spots = Spots(journal, attempts, facts, catalog)

    def perform(self, node: PlannedAction, conditions: Sequence[Condition], roster: Roster) -> Walked:
        """Do a step on every target that is still taking part.

        Once more of them have failed than may, those that were not begun are left alone.

        Arguments:
            conditions: the `when` of the step and of the blocks around it; all must hold for a target.
            roster: who takes part, and how many may fail.
        """
        targets = [t for t in node.targets if roster.takes_part(t.target)]
        if not targets and self._is_missed(node, conditions):
            return Walked(self._missed(node), roster)
        if node.path not in self._journal.state.started:
            started = StepStarted(name=node.name, form=node.action, targets=tuple(t.target for t in targets))
            draft = self._journal.draft(started, step=node.path)
            if len(targets) == 1:
                self._journal.hold(draft)
            else:
                self._journal.write(draft)
        inner = roster.within(f"step {node.path}", node.options.max_failures)
        tally = Tally(inner, self._failing(node, targets))
        if len(targets) <= 1:
            for target in targets:
                self._on_target(node, target, conditions, alone=True)
        else:
            self._on_all(node, targets, conditions, tally)
        return self._conclude(node, targets, roster, inner)

    def recall(self, node: PlannedAction, roster: Roster) -> Walked:
        """Take up the recorded end of a step that is over: its answers, its failed hosts, its result."""
        for target in node.targets:
            self._register(node, target)
        after = roster.without(self._failing(node, node.targets))
        if self._journal.state.finished[node.path] == "failed":
            return Walked(Failed(f"step {node.path} '{node.name}' failed"), after)
        return Walked(Done(), after)

    def _on_all(
        self,
        node: PlannedAction,
        targets: Sequence[TargetCalls],
        conditions: Sequence[Condition],
        tally: Tally,
    ) -> None:
        with self._pool(min(len(targets), FORKS), thread_name_prefix="target") as pool:
            # What is logged from a thread belongs to this run and step, too.
            futures = [
                pool.submit(contextvars.copy_context().run, self._one_of_all, node, target, conditions, tally)
                for target in targets
            ]
        errors = [error for future in futures if (error := future.exception())]
        if errors:
            raise gravest(errors)

    def _one_of_all(
        self, node: PlannedAction, target: TargetCalls, conditions: Sequence[Condition], tally: Tally
    ) -> None:
        key = CellKey(node.path, target.target)
        if tally.exceeded and not self._spots.has_begun(key):
            self._spots.skip(key, tally.reason())
            self._register(node, target)
            return
        self._on_target(node, target, conditions)
        if self._failing(node, [target]):
            tally.note(target.target)

    def _is_missed(self, node: PlannedAction, conditions: Sequence[Condition]) -> bool:
        """Say whether a step that no host is left for should have been done on one that has failed."""

        def wanted(target: str) -> bool:
            try:
                return self._facts.unmet(conditions, target) is None
            except InputError:
                return True

        return not node.options.ignore_errors and any(wanted(t.target) for t in node.targets)

    def _missed(self, node: PlannedAction) -> Failed:
        """Fail a step that nobody is left to do: what comes after it was written for a world in which it is done."""
        hosts = _some([t.target for t in node.targets])
        reason = f"every host of the step had failed before: {hosts}"
        self._journal.note(StepFinished(status="failed", reason=reason), step=node.path)
        return Failed(f"step {node.path} '{node.name}' cannot be done: {reason}")

    def _on_target(
        self,
        node: PlannedAction,
        target: TargetCalls,
        conditions: Sequence[Condition],
        *,
        alone: bool = False,
    ) -> None:
        first = CellKey(node.path, target.target)
        items: Sequence[JsonValue] = ()
        try:
            if self._is_wanted(node, target, conditions):
                items = self._items(node, target)
                if not items:
                    self._spots.skip(first, "the loop has no items")
        except InputError as exc:
            self._spots.fail(first, str(exc))
        for number, item in enumerate(items):
            key = CellKey(node.path, target.target, number)
            spot = Spot(node, target, key, item, has_item=node.loop is not None, alone=alone)
            self._spots.rest(spot)
            if has_failed(self._journal.state.cell(key)) or self._spots.in_doubt(key):
                break
        self._register(node, target)

    def _is_wanted(self, node: PlannedAction, target: TargetCalls, conditions: Sequence[Condition]) -> bool:
        """Say whether there is anything to do on a target; once it was begun its conditions are not asked again."""
        first = CellKey(node.path, target.target)
        cell = self._journal.state.cell(first)
        if cell.status is CellStatus.READY:
            if cell.passed is False:
                return False
            unmet = self._facts.unmet(conditions, target.target)
            if unmet is not None:
                self._spots.skip(first, f"when: {unmet.text}")
        return cell.status is not CellStatus.SKIPPED or cell.resolved

    def _items(self, node: PlannedAction, target: TargetCalls) -> Sequence[JsonValue]:
        if target.items is not None:
            return target.items
        if node.loop is None:
            return [None]
        recorded = self._journal.state.loops.get((node.path, target.target))
        if recorded is None:
            items = loop_items(node.loop, self._facts.variables(target.target, path=node.path))
            blob = Blob("items", json.dumps(items).encode(), "data")
            body = LoopExpanded(count=len(items))
            self._journal.note(body, step=node.path, target=target.target, blobs=[blob])
            return items
        entry = self._journal.store.entry(recorded)
        return list(json.loads(self._journal.store.blob(entry, "items") or b"[]"))

    def _register(self, node: PlannedAction, target: TargetCalls) -> None:
        name = node.options.register_
        cells = dict(self._cells(node, target.target))
        if not name or not cells:
            return
        value = registered(node, [self._attempts.answer(key) for key in cells])
        source = max(cell.outcome for cell in cells.values())
        self._facts.register(name, target.target, value, source=source, path=node.path)

    def _conclude(
        self, node: PlannedAction, targets: Sequence[TargetCalls], roster: Roster, inner: Roster
    ) -> Walked:
        """Record the end of a step, where it has one.

        Arguments:
            inner: the roster with what the step itself may lose.
        """
        if self._journal.state.finished.get(node.path) == "ok":
            return Walked(Done(), roster)
        cells = [(key, cell) for t in targets for key, cell in self._cells(node, t.target)]
        doubtful = sorted({key.target for key, _ in cells if self._spots.in_doubt(key)})
        if doubtful:
            return Walked(Parked("doubt", node.path, self._doubted(node, doubtful)), roster)
        failing = self._failing(node, targets)
        after = roster.without(failing)
        over = inner.overdrawn(frozenset(failing))
        if failing and (over or not any(after.takes_part(t.target) for t in targets)):
            reason = "; ".join(f"{host}: {why}" for host, why in list(failing.items())[:3])
            reason += _left_alone(cells, inner.left()) if over else ""
            self._journal.note(StepFinished(status="failed", reason=reason), step=node.path)
            told = f"step {node.path} '{node.name}' failed on {_some(sorted(failing))}: {reason}"
            return Walked(Failed(told), after)
        skipped = all(c.status is CellStatus.SKIPPED for _, c in cells)
        self._journal.note(StepFinished(status="skipped" if skipped else "ok", reason=""), step=node.path)
        return Walked(Done(), after)

    def _doubted(self, node: PlannedAction, hosts: Sequence[str]) -> str:
        if node.undoes:
            cells = (self._journal.state.cell(CellKey(node.path, host)) for host in hosts)
            return f"{node.name}: " + "; ".join(f"{h}: {c.reason}" for h, c in zip(hosts, cells, strict=True))
        return f"it is not known whether '{node.name}' happened on {_some(hosts)}"

    def _failing(self, node: PlannedAction, targets: Sequence[TargetCalls]) -> dict[str, str]:
        """Give the targets that the step has failed on, with the reason; none where that is ignored."""
        if node.options.ignore_errors:
            return {}
        return {
            key.target: cell.why_not or cell.reason
            for target in targets
            for key, cell in self._cells(node, target.target)
            if has_failed(cell)
        }

    def _cells(self, node: PlannedAction, target: str) -> Iterator[tuple[CellKey, Cell]]:
        """Give the cells of a target, by item. Other threads may make cells of other targets meanwhile."""
        cells: Mapping[CellKey, Cell] = self._journal.state.cells
        key = CellKey(node.path, target)
        while (cell := cells.get(key)) is not None:
            yield key, cell
            key = key._replace(iteration=key.iteration + 1)


def _left_alone(cells: Sequence[tuple[CellKey, Cell]], allowed: int) -> str:
    """Say which targets were not begun any more, and which were under way when it was enough.

    Arguments:
        allowed: so many more hosts could have failed.
    """
    alone = [key.target for key, cell in cells if cell.reason.startswith(NOT_BEGUN)]
    if not alone:
        return ""
    enough = sorted(cell.outcome for _, cell in cells if has_failed(cell))[allowed]
    going = sorted({key.target for key, cell in cells if cell.intent < enough < cell.outcome})
    told = f"; not begun any more: {_some(alone)}"
    return told + (f"; begun before that, and finished: {_some(going)}" if going else "")


def _some(hosts: Sequence[str]) -> str:
    shown = ", ".join(hosts[:5])
    return shown if len(hosts) <= 5 else f"{shown} and {len(hosts) - 5} more"
