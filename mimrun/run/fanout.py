"""An action step on all its targets: side by side over targets, one after the other over loop items."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.errors import GateError, InputError
from mimrun.log.entry import Blob
from mimrun.log.kinds import LoopExpanded, StepCaptured, StepFinished, StepSkipped, StepStarted, StepVerified
from mimrun.run.answer import registered
from mimrun.run.attempt import Attempts, Until, Work
from mimrun.run.compare import WayBack
from mimrun.run.facts import Facts
from mimrun.run.guard import Halt
from mimrun.run.journal import Journal
from mimrun.run.result import Done, Failed, Parked, Result
from mimrun.run.state import Cell, CellKey
from mimrun.run.transitions import CellStatus
from mimrun.runbook.expression import truth
from mimrun.runbook.node import PlannedAction, PlannedCall, PlannedCheck, StepOptions, TargetCalls
from mimrun.runbook.render import fill, loop_items, render_call

FORKS = 50
"""How many targets are worked on at once."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One item of one target's loop: where a cell's templates get their values from.

    Arguments:
        alone: the step has no other target.
    """

    node: PlannedAction
    target: TargetCalls
    key: CellKey
    item: JsonValue
    has_item: bool
    alone: bool = False

    def call(self, calls: Sequence[PlannedCall]) -> PlannedCall:
        """Give this item's call; a loop that was not known to the plan has one call for all its items."""
        return calls[self.key.iteration if len(calls) > self.key.iteration else 0]


class Fanout:
    """Does action steps.

    Arguments:
        journal, attempts, facts, catalog: the worker's.
        failures: how many hosts may fail over the whole run.
    """

    def __init__(
        self, journal: Journal, attempts: Attempts, facts: Facts, catalog: Catalog, *, failures: int
    ) -> None:
        self._journal, self._attempts, self._facts, self._catalog = journal, attempts, facts, catalog
        self._failures, self._way_back = failures, WayBack(journal, attempts)
        self.failed: set[str] = set()
        """Hosts that failed and take no part any more."""

    def begin(self) -> None:
        """Begin the walk over the plan: what is known of hosts and answers is taken up again from the log."""
        self.failed.clear()
        self._facts.forget()

    def perform(self, node: PlannedAction, conditions: Sequence[str]) -> Result:
        """Do a step on every target that is still taking part.

        Arguments:
            conditions: the `when` of the step and of the blocks around it; all must hold for a target.
        """
        targets = [t for t in node.targets if t.target not in self.failed]
        if not targets and self._is_missed(node, conditions):
            return self._missed(node)
        if node.path not in self._journal.state.started:
            started = StepStarted(name=node.name, form=node.action, targets=tuple(t.target for t in targets))
            draft = self._journal.draft(started, step=node.path)
            if len(targets) == 1:
                self._journal.hold(draft)
            else:
                self._journal.write(draft)
        if len(targets) <= 1:
            for target in targets:
                self._on_target(node, target, conditions, alone=True)
        else:
            self._on_all(node, targets, conditions)
        return self._conclude(node, targets)

    def recall(self, node: PlannedAction) -> Result:
        """Take up the recorded end of a step that is over: its answers, its failed hosts, its result."""
        for target in node.targets:
            self._register(node, target)
        self.failed |= set(self._failing(node, node.targets))
        if self._journal.state.finished[node.path] == "failed":
            return Failed(f"step {node.path} '{node.name}' failed")
        return Done()

    def take_back(self, failed: frozenset[str]) -> frozenset[str]:
        """Let hosts take part again, but for those that had failed before; give those that had failed."""
        now = frozenset(self.failed)
        self.failed.clear()
        self.failed |= failed
        return now

    def _on_all(self, node: PlannedAction, targets: Sequence[TargetCalls], conditions: Sequence[str]) -> None:
        with ThreadPoolExecutor(min(len(targets), FORKS), thread_name_prefix="target") as pool:
            futures = [pool.submit(self._on_target, node, target, conditions) for target in targets]
        errors = [error for future in futures if (error := future.exception())]
        if errors:
            # That something cannot be recorded weighs more than that somebody wants to stop: an intent may be open.
            raise min(errors, key=lambda error: isinstance(error, Halt | GateError))

    def _is_missed(self, node: PlannedAction, conditions: Sequence[str]) -> bool:
        """Say whether a step that no host is left for should have been done on one that has failed."""

        def wanted(target: str) -> bool:
            variables = self._facts.variables(target)
            try:
                return all(truth(condition, variables) for condition in conditions)
            except InputError:
                return True

        return not node.options.ignore_errors and any(wanted(t.target) for t in node.targets)

    def _missed(self, node: PlannedAction) -> Result:
        """Fail a step that nobody is left to do: what comes after it was written for a world in which it is done."""
        hosts = _some([t.target for t in node.targets])
        reason = f"every host of the step had failed before: {hosts}"
        self._journal.note(StepFinished(status="failed", reason=reason), step=node.path)
        return Failed(f"step {node.path} '{node.name}' cannot be done: {reason}")

    def _on_target(
        self, node: PlannedAction, target: TargetCalls, conditions: Sequence[str], *, alone: bool = False
    ) -> None:
        first = CellKey(node.path, target.target)
        try:
            variables = self._facts.variables(target.target)
            if self._journal.state.cell(first).status is CellStatus.READY:
                unmet = next((c for c in conditions if not truth(c, variables)), None)
                if unmet is not None:
                    self._skip(first, f"when: {unmet}")
                    return
            items = self._items(node, target, variables)
            if not items:
                self._skip(first, "the loop has no items")
        except InputError as exc:
            self._fail(first, str(exc))
            return
        for number, item in enumerate(items):
            key = CellKey(node.path, target.target, number)
            spot = Spot(node, target, key, item, has_item=node.loop is not None, alone=alone)
            self._one(spot)
            if _has_failed(self._journal.state.cell(key)) or self._in_doubt(key):
                break
        self._register(node, target)

    def _items(
        self, node: PlannedAction, target: TargetCalls, variables: Mapping[str, JsonValue]
    ) -> Sequence[JsonValue]:
        if target.items is not None:
            return target.items
        if node.loop is None:
            return [None]
        recorded = self._journal.state.loops.get((node.path, target.target))
        if recorded is None:
            items = loop_items(node.loop, variables)
            blob = Blob("items", json.dumps(items).encode(), "data")
            body = LoopExpanded(count=len(items))
            self._journal.note(body, step=node.path, target=target.target, blobs=[blob])
            return items
        entry = self._journal.store.entry(recorded)
        return list(json.loads(self._journal.store.blob(entry, "items") or b"[]"))

    def _one(self, spot: Spot) -> None:
        """Bring one cell to rest and judge its answer."""
        state, options = self._journal.state, spot.node.options
        cell = state.cell(spot.key)
        if cell.passed is not None or cell.status in (CellStatus.SKIPPED, CellStatus.IN_DOUBT):
            return
        try:
            if spot.node.undoes:
                self._take_back(spot)
                return
            # Whatever the step will need, its verification included, is fetched before it has any effect.
            self._facts.fetch(_late_names(spot))
            if spot.target.capture and cell.status is CellStatus.READY and not self._capture(spot):
                return
            calls = spot.target.calls
            call, shown = self._rendered(spot, calls), self._shown(spot, calls)
            until = self._until(spot, options.until)
            ends = spot.alone and not (spot.has_item or _is_judged(spot) or _is_compared(spot))
            work = Work(spot.key, spot.node.path, call, options, ends_step=ends, shown=shown)
            cell = self._attempts.work(work, until)
            try:
                if cell.status is CellStatus.OK:
                    self._judge(spot, cell)
            finally:
                # Also where somebody asked to stop: without it the way back has to ask a person.
                if _is_compared(spot):
                    self._way_back.note_left(spot.key, lambda: self._reading(spot, spot.target.capture))
        except InputError as exc:
            self._fail(spot.key, str(exc))

    def _take_back(self, spot: Spot) -> None:
        """Do an undo; whatever goes wrong with it waits for a person."""
        try:
            call, shown = self._rendered(spot, spot.target.calls), self._shown(spot, spot.target.calls)
            seen = spot.target.compare
            reading = self._reading(spot, (seen,)) if seen else None
            work = Work(spot.key, spot.node.path, call, spot.node.options, ends_step=spot.alone, shown=shown)
            self._way_back.take_back(work, reading, spot.target.left)
        except InputError as exc:
            self._way_back.stick(spot.key, str(exc))

    def _reading(self, spot: Spot, calls: Sequence[PlannedCall]) -> Work:
        return Work(spot.key, spot.node.path, self._rendered(spot, calls), spot.node.options, whole=True)

    def _judge(self, spot: Spot, cell: Cell) -> None:
        """Ask `until`, `expect` and `verify`, and record what they say, where there is one of them."""
        options = spot.node.options
        if not _is_judged(spot):
            return
        result = self._attempts.answer(spot.key)
        # A step that a person settled has no answer to look into; what proves the effect is `verify`.
        for keyword, expression in (("until", options.until), ("expect", options.expect)):
            if expression and not cell.resolved and not truth(expression, self._variables(spot, result)):
                self._fail(spot.key, f"{keyword} is not true: {expression}")
                return
        if spot.target.verify:
            reason = self._verify(spot)
            if self._in_doubt(spot.key):
                return
            if reason:
                self._fail(spot.key, reason)
                return
        self._note(spot.key, StepVerified(passed=True, reason="", iteration=spot.key.iteration))

    def _verify(self, spot: Spot) -> str:
        """Look until the effect is proven; give the reason why it is not, or ""."""
        check, shown = self._rendered(spot, spot.target.verify), self._shown(spot, spot.target.verify)
        assert isinstance(check, PlannedCheck)
        options = StepOptions(
            retries=check.retries,
            delay_ms=check.delay_ms,
            timeout_ms=spot.node.options.timeout_ms,
            become=spot.node.options.become,
            environment=spot.node.options.environment,
            no_log=spot.node.options.no_log,
        )
        key = spot.key._replace(step=f"{spot.key.step}.verify")
        until = self._until(spot, check.expect)
        cell = self._attempts.work(Work(key, spot.node.path, check, options, shown=shown), until)
        if cell.status is not CellStatus.OK:
            return f"verify: {cell.reason}"
        if until and not until(self._attempts.answer(key)):
            return f"verify is not true: {check.expect}"
        return ""

    def _capture(self, spot: Spot) -> bool:
        """Record the state before; say whether it is on record."""
        if spot.key in self._journal.state.captured:
            return True
        key = spot.key._replace(step=f"{spot.key.step}.capture")
        options = spot.node.options.model_copy(update={"until": None, "expect": None})
        call = self._rendered(spot, spot.target.capture)
        shown = self._shown(spot, spot.target.capture)
        cell = self._attempts.work(Work(key, spot.node.path, call, options, shown=shown, whole=True))
        if cell.status is CellStatus.IN_DOUBT:
            return False
        if cell.status is not CellStatus.OK:
            raise InputError(f"the state before could not be captured: {cell.reason}")
        data = json.dumps(self._attempts.answer(key), sort_keys=True).encode()
        self._note(spot.key, StepCaptured(iteration=spot.key.iteration), Blob("data", data, "data"))
        return True

    def _rendered(self, spot: Spot, calls: Sequence[PlannedCall]) -> PlannedCall:
        call = spot.call(calls)
        return render_call(call, self._catalog, self._variables(spot, None, secrets=call.late))

    def _shown(self, spot: Spot, calls: Sequence[PlannedCall]) -> JsonValue:
        """Give the arguments for the log, where a secret goes into them: hidden before anything is made of it."""
        call = spot.call(calls)
        hidden = self._facts.hidden(call.late)
        return fill(call.args, {**self._variables(spot, None), **hidden})[0] if hidden else None

    def _variables(
        self, spot: Spot, result: JsonValue, *, secrets: Sequence[str] = ()
    ) -> Mapping[str, JsonValue]:
        variables = self._facts.variables(spot.target.target, secrets=secrets)
        variables |= spot.target.given
        if spot.has_item:
            variables["item"] = spot.item
        if result is not None:
            variables["result"] = result
            if spot.node.options.register_:
                variables[spot.node.options.register_] = result
        return variables

    def _until(self, spot: Spot, expression: str | None) -> Until | None:
        if expression is None:
            return None
        return lambda answer: truth(expression, self._variables(spot, dict(answer)))

    def _register(self, node: PlannedAction, target: TargetCalls) -> None:
        name = node.options.register_
        keys = sorted(k for k in self._cells(node) if k.target == target.target)
        if not name or not keys:
            return
        value = registered(node, [self._attempts.answer(key) for key in keys])
        cells = [self._journal.state.cell(key) for key in keys]
        self._facts.register(name, target.target, value, source=max(c.outcome for c in cells))

    def _conclude(self, node: PlannedAction, targets: Sequence[TargetCalls]) -> Result:
        if self._journal.state.finished.get(node.path) == "ok":
            return Done()
        cells = self._cells(node)
        doubtful = sorted({k.target for k in cells if self._in_doubt(k)})
        if doubtful:
            return Parked("doubt", node.path, self._doubted(node, doubtful))
        failing = self._failing(node, targets)
        self.failed |= set(failing)
        left = [t for t in targets if t.target not in self.failed]
        if failing and (len(self.failed) > self._failures or not left):
            reason = "; ".join(f"{host}: {why}" for host, why in list(failing.items())[:3])
            self._journal.note(StepFinished(status="failed", reason=reason), step=node.path)
            return Failed(f"step {node.path} '{node.name}' failed on {_some(sorted(failing))}: {reason}")
        skipped = all(c.status is CellStatus.SKIPPED for c in cells.values())
        self._journal.note(StepFinished(status="skipped" if skipped else "ok", reason=""), step=node.path)
        return Done()

    def _doubted(self, node: PlannedAction, hosts: Sequence[str]) -> str:
        if node.undoes:
            cells = self._cells(node).items()
            return f"{node.name}: " + "; ".join(f"{key.target}: {cell.reason}" for key, cell in cells)
        return f"it is not known whether '{node.name}' happened on {_some(hosts)}"

    def _failing(self, node: PlannedAction, targets: Sequence[TargetCalls]) -> dict[str, str]:
        if node.options.ignore_errors:
            return {}
        names = {t.target for t in targets}
        return {
            key.target: cell.why_not or cell.reason
            for key, cell in self._cells(node).items()
            if key.target in names and _has_failed(cell)
        }

    def _cells(self, node: PlannedAction) -> Mapping[CellKey, Cell]:
        return self._journal.state.steps.get(node.path, {})

    def _in_doubt(self, key: CellKey) -> bool:
        """Say whether a person has to settle the action of a cell, or the look before or after it."""
        cells = self._journal.state.cells
        parts = (cells.get(key._replace(step=key.step + part)) for part in ("", ".capture", ".verify"))
        return any(cell is not None and cell.status is CellStatus.IN_DOUBT for cell in parts)

    def _skip(self, key: CellKey, reason: str) -> None:
        if self._journal.state.cell(key).status is CellStatus.READY:
            self._note(key, StepSkipped(reason=reason, iteration=key.iteration))

    def _fail(self, key: CellKey, reason: str) -> None:
        reason = self._facts.masker.mask_text(reason)
        self._note(key, StepVerified(passed=False, reason=reason, iteration=key.iteration))

    def _note(self, key: CellKey, body: StepVerified | StepSkipped | StepCaptured, *blobs: Blob) -> None:
        self._journal.note(body, step=key.step, target=key.target, blobs=blobs)


def _late_names(spot: Spot) -> set[str]:
    calls = (*spot.target.calls, *spot.target.verify, *spot.target.capture)
    return {name for call in calls for name in call.late}


def _is_judged(spot: Spot) -> bool:
    options = spot.node.options
    return bool(options.until or options.expect or spot.target.verify)


def _is_compared(spot: Spot) -> bool:
    """Say whether the state that is left is of use to an undo."""
    return bool(spot.target.capture and spot.target.undo)


def _has_failed(cell: Cell) -> bool:
    return cell.status in (CellStatus.FAILED, CellStatus.UNKNOWN) or cell.passed is False


def _some(hosts: Sequence[str]) -> str:
    shown = ", ".join(hosts[:5])
    return shown if len(hosts) <= 5 else f"{shown} and {len(hosts) - 5} more"
