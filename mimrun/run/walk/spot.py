"""One item of one target's loop: look, act, judge, until its cell is at rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.errors import InputError
from mimrun.log.entry import Blob
from mimrun.log.kinds import StepCaptured, StepSkipped, StepVerified
from mimrun.run.cell.attempt import Attempts, Until, Work
from mimrun.run.cell.compare import WayBack
from mimrun.run.cell.facts import Facts
from mimrun.run.journal import Journal
from mimrun.run.record.state import Cell, CellKey
from mimrun.run.record.transitions import CellStatus
from mimrun.runbook.duration import format_duration
from mimrun.runbook.expression import truth
from mimrun.runbook.node import PlannedAction, PlannedCall, PlannedCheck, StepOptions, TargetCalls
from mimrun.runbook.render import fill, render_call


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


class Spots:
    """Brings spots to rest.

    Arguments:
        journal, attempts, facts, catalog: the worker's.
    """

    def __init__(self, journal: Journal, attempts: Attempts, facts: Facts, catalog: Catalog) -> None:
        self._journal, self._attempts, self._facts, self._catalog = journal, attempts, facts, catalog
        self._way_back = WayBack(journal, attempts)

    def rest(self, spot: Spot) -> None:
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
            self._facts.fetch(_late_names(spot), path=spot.node.path)
            if spot.target.capture and cell.status is CellStatus.READY and not self._capture(spot):
                return
            calls = spot.target.calls
            call, shown = self._rendered(spot, calls), self._shown(spot, calls)
            until = self._until(spot, options.until)
            ends = spot.alone and not (spot.has_item or _is_followed(spot))
            work = Work(spot.key, spot.node.path, call, options, ends_step=ends, shown=shown)
            cell = self._attempts.work(work, until)
            if options.revert_after_ms and spot.target.undo:
                self._way_back.schedule(spot.key, options.revert_after_ms)
            try:
                if cell.status is CellStatus.OK:
                    self._judge(spot, cell)
            finally:
                # Also where somebody asked to stop: without it the way back has to ask a person.
                if _is_compared(spot):
                    self._way_back.note_left(spot.key, lambda: self._reading(spot, spot.target.capture))
        except InputError as exc:
            self.fail(spot.key, str(exc))

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
                self.fail(spot.key, _unmet(keyword, expression, options))
                return
        if spot.target.verify:
            reason = self._verify(spot)
            if self.in_doubt(spot.key):
                return
            if reason:
                self.fail(spot.key, reason)
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
        hidden = self._facts.hidden(call.late, path=spot.node.path)
        return fill(call.args, {**self._variables(spot, None), **hidden})[0] if hidden else None

    def _variables(
        self, spot: Spot, result: JsonValue, *, secrets: Sequence[str] = ()
    ) -> Mapping[str, JsonValue]:
        variables = self._facts.variables(spot.target.target, path=spot.node.path, secrets=secrets)
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

    def in_doubt(self, key: CellKey) -> bool:
        """Say whether a person has to settle the action of a cell, or the look before or after it."""
        cells = self._journal.state.cells
        parts = (cells.get(key._replace(step=key.step + part)) for part in ("", ".capture", ".verify"))
        return any(cell is not None and cell.status is CellStatus.IN_DOUBT for cell in parts)

    def has_begun(self, key: CellKey) -> bool:
        """Say whether anything was done in a cell, the look before it included."""
        cells = self._journal.state.cells
        known = (cells.get(key), cells.get(key._replace(step=f"{key.step}.capture")))
        return any(c is not None and (c.attempts or c.status is not CellStatus.READY) for c in known)

    def skip(self, key: CellKey, reason: str) -> None:
        """Record that a cell was left out, unless something was done in it."""
        if self._journal.state.cell(key).status is CellStatus.READY:
            self._note(key, StepSkipped(reason=reason, iteration=key.iteration))

    def fail(self, key: CellKey, reason: str) -> None:
        """Record that a cell failed although its action did not say so, or was not performed at all."""
        reason = self._facts.masker.mask_text(reason)
        self._note(key, StepVerified(passed=False, reason=reason, iteration=key.iteration))

    def _note(self, key: CellKey, body: StepVerified | StepSkipped | StepCaptured, *blobs: Blob) -> None:
        self._journal.note(body, step=key.step, target=key.target, blobs=blobs)


def _late_names(spot: Spot) -> set[str]:
    calls = (*spot.target.calls, *spot.target.verify, *spot.target.capture)
    return {name for call in calls for name in call.late}


def _unmet(keyword: str, expression: str, options: StepOptions) -> str:
    told = f"{keyword} is not true: {expression}"
    if keyword == "until" and options.deadline_ms is not None:
        told += f" (the deadline was {format_duration(options.deadline_ms)})"
    return told


def _is_judged(spot: Spot) -> bool:
    options = spot.node.options
    return bool(options.until or options.expect or spot.target.verify)


def _is_compared(spot: Spot) -> bool:
    """Say whether the state that is left is of use to an undo."""
    return bool(spot.target.capture and spot.target.undo)


def _is_followed(spot: Spot) -> bool:
    """Say whether something is to be recorded behind the outcome, before the step is over."""
    return _is_judged(spot) or _is_compared(spot) or bool(spot.node.options.revert_after_ms)


def has_failed(cell: Cell) -> bool:
    """Say whether a cell counts as failed."""
    return cell.status in (CellStatus.FAILED, CellStatus.UNKNOWN) or cell.passed is False
