"""Check mode: what a plan would change on the targets as they are now, without changing anything.

Readings are made, so that conditions and arguments that depend on them are known. Everything else is
only asked for the difference it would make. What cannot be known is unknown, and says why: it is never
left undefined and never shown as fine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, assert_never

from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.connector import Action, Call, Difference, Effect, Ok
from mimrun.errors import MimrunError
from mimrun.output import Output
from mimrun.run.cell.connections import Connections
from mimrun.run.cell.facts import Condition, Facts
from mimrun.runbook.expression import expression_names, names, truth
from mimrun.runbook.node import (
    Leaf,
    Node,
    PlannedAction,
    PlannedBlock,
    PlannedCall,
    PlannedGate,
    PlannedInclude,
    PlannedManual,
    PlannedParallel,
    PlannedSerial,
    TargetCalls,
    inside_of,
    parts_of,
)
from mimrun.runbook.pattern import LOCALHOSTS
from mimrun.runbook.plan import Plan
from mimrun.runbook.render import loop_items, render_call

FORKS: Final = 50
"""How many targets are looked at once."""


class Prospect(StrEnum):
    """What would come of a step on a target."""

    CHANGES = "changes"  #: it would change something, as its detail says
    UNCHANGED = "unchanged"  #: it would find everything as it wants it
    READ = "read"  #: a reading; it was made
    SKIPPED = "skipped"  #: its condition does not hold
    UNKNOWN = "unknown"  #: nobody can tell before it is done
    FAILS = "fails"  #: it would fail on this target as it is now
    ASKS = "asks"  #: a gate or a manual step: the run would wait for people


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would come of one step on one target for one item of its loop.

    Arguments:
        target: the inventory name; "" for a step that belongs to no host.
        detail: for a person: the difference, or why it is not known.
        tolerated: it would fail, and the run would go on all the same: by `ignore_errors`, or with a rescue.
    """

    step: str
    name: str
    target: str
    prospect: Prospect
    detail: str = ""
    iteration: int = 0
    tolerated: bool = False

    def as_json(self) -> dict[str, JsonValue]:
        """The forecast for `--json`."""
        return {
            "step": self.step,
            "name": self.name,
            "target": self.target,
            "iteration": self.iteration,
            "prospect": self.prospect.value,
            "detail": self.detail,
            "tolerated": self.tolerated,
        }


class _Unknown(Exception):
    """Something that is needed cannot be known before the run; the message says why."""


@dataclass(slots=True)
class _Seen:
    """What one target's part of a step brought: forecasts, and the answer where there is one."""

    forecasts: list[Forecast] = field(default_factory=list)
    answers: list[Mapping[str, JsonValue]] = field(default_factory=list)


class Check:
    """Walks a plan in check mode.

    Arguments:
        plan: the frozen plan.
        facts: what is known; readings are added to it.
        catalog: the action types.
        connections: the open connectors.
    """

    def __init__(self, plan: Plan, facts: Facts, catalog: Catalog, connections: Connections) -> None:
        self._plan, self._facts = plan, facts
        self._catalog, self._connections = catalog, connections
        self._unknown: dict[str, dict[str, str]] = {}
        self._changed_by = self._by_hand = ""
        self._changed_on: dict[str, str] = {}
        self._failed: set[str] = set()
        self._stopped = ""
        self._rescues = 0

    def forecasts(self) -> Iterator[tuple[Forecast, ...]]:
        """Give what would come of each step, one step after the other, as soon as it is known."""
        return self._in_order((*self._plan.nodes, *self._plan.handlers_behind("")), ())

    def _leaf(self, node: Leaf, conditions: tuple[Condition, ...]) -> tuple[Forecast, ...]:
        if self._stopped:
            return (Forecast(node.path, node.name, "", Prospect.SKIPPED, self._stopped),)
        match node:
            case PlannedAction():
                return self._action(node, conditions)
            case PlannedGate():
                return (Forecast(node.path, node.name, "", Prospect.ASKS, "people must agree here"),)
            case PlannedManual():
                self._register_unknown(node.path, node.register_, f"a person does step {node.path}")
                self._changed_by = self._by_hand = node.path
                return (Forecast(node.path, node.name, "", Prospect.ASKS, "done by a person"),)
            case _:
                assert_never(node)

    def _block(self, node: PlannedBlock, conditions: tuple[Condition, ...]) -> Iterator[tuple[Forecast, ...]]:
        """Look at a block, and, where it would fail, at its rescue; what is done in any case follows either.

        As in the run, the hosts that failed take part in the rescue, and behind it. Where nothing would fail the rescue
        is not done, and not looked at.
        """
        before, stopped = set(self._failed), self._stopped
        self._rescues += bool(node.rescue)
        yield from self._in_order(node.block, conditions)
        self._rescues -= bool(node.rescue)
        if node.rescue and self._stopped and not stopped:
            self._failed, self._stopped = set(before), ""
            yield from self._in_order(node.rescue, conditions)
        if node.always and not stopped:
            failed, why = self._failed, self._stopped
            self._failed, self._stopped = set(before), ""
            yield from self._in_order(node.always, conditions)
            self._failed, self._stopped = self._failed | failed, why or self._stopped
        else:
            yield from self._in_order(node.always, conditions)

    def _in_order(
        self, nodes: Sequence[Node], outer: tuple[Condition, ...]
    ) -> Iterator[tuple[Forecast, ...]]:
        """Look at steps one after the other, each with the conditions that hold for it."""
        for node in nodes:
            conditions = (*outer, Condition(node.path, node.when)) if node.when else outer
            match node:
                case PlannedAction() | PlannedGate() | PlannedManual():
                    yield self._leaf(node, conditions)
                case PlannedBlock():
                    yield from self._block(node, conditions)
                case PlannedParallel():
                    for branch in node.branches:
                        self._facts.fork(branch.path)
                    yield from self._in_order(node.branches, conditions)
                    self._facts.join(branch.path for branch in node.branches)
                case PlannedInclude():
                    yield from self._in_order(parts_of(node), conditions)
                    yield from self._in_order(self._plan.handlers_behind(inside_of(node)), outer)
                case PlannedSerial():
                    for batch in node.batches:
                        yield from self._in_order([batch], conditions)
                        yield from self._in_order(self._plan.handlers_behind(batch.path), outer)
                case _:
                    assert_never(node)

    def _action(self, node: PlannedAction, conditions: Sequence[Condition]) -> tuple[Forecast, ...]:
        targets = [target for target in node.targets if target.target not in self._failed]
        with ThreadPoolExecutor(max(1, min(len(targets), FORKS)), thread_name_prefix="check") as pool:
            seen = list(pool.map(lambda target: self._target(node, target, conditions), targets))
        for target, one in zip(targets, seen, strict=True):
            self._take(node, target.target, one)
        may_change = {f.target for one in seen for f in one.forecasts if f.prospect in _MAY_CHANGE}
        if may_change and not _is_reading(node):
            self._changed_by = node.path
            self._changed_on |= dict.fromkeys(may_change, node.path)
        gone = self._failed.intersection(target.target for target in targets)
        if len(self._failed) > self._plan.max_failures or (gone and len(gone) == len(targets)):
            would = f"{', '.join(sorted(self._failed)[:3])} would have failed"
            self._stopped = f"{'its block' if self._rescues else 'the run'} would have stopped: {would}"
        return tuple(forecast for one in seen for forecast in one.forecasts)

    def _take(self, node: PlannedAction, target: str, seen: _Seen) -> None:
        name = node.options.register_
        if seen.answers and name:
            value: JsonValue = {**seen.answers[0]}
            if node.loop is not None:
                value = {
                    "results": [{**answer} for answer in seen.answers],
                    "changed": False,
                    "failed": False,
                }
            self._facts.register(name, target, value, source=0, path=node.path)
        else:
            self._register_unknown(node.path, name, _why_unknown(node, seen.forecasts))
        failing = any(f.prospect is Prospect.FAILS for f in seen.forecasts)
        if failing and not node.options.ignore_errors:
            self._failed.add(target)

    def _register_unknown(self, path: str, name: str | None, why: str) -> None:
        if name:
            self._unknown.setdefault(self._facts.runbook_of(path), {}).setdefault(name, why)

    def _target(self, node: PlannedAction, target: TargetCalls, conditions: Sequence[Condition]) -> _Seen:
        seen = _Seen()

        def note(prospect: Prospect, detail: str = "", number: int = 0) -> None:
            shown = self._facts.masker.mask_text(detail)
            goes_on = node.options.ignore_errors or self._rescues > 0
            tolerated = prospect is Prospect.FAILS and goes_on
            forecast = Forecast(node.path, node.name, target.target, prospect, shown, number, tolerated)
            seen.forecasts.append(forecast)

        try:
            for where, text in conditions:
                if not self._truth(text, self._variables(where, target.target), where):
                    note(Prospect.SKIPPED, f"when: {text}")
                    seen.answers.append({**_READ, "reason": f"when: {text}", "skipped": True})
                    return seen
            variables = self._variables(node.path, target.target)
            before = self._changed_before(target.target)
            for number, item in enumerate(self._items(node, target, variables)):
                more = variables if node.loop is None else {**variables, "item": item}
                call = target.calls[number if len(target.calls) > number else 0]
                prospect, detail, answer = self._one(node, target.target, call, more, before=before)
                note(prospect, detail, number)
                before = node.path if prospect in _MAY_CHANGE else before
                if answer is not None:
                    seen.answers.append(answer)
        except _Unknown as exc:
            note(Prospect.UNKNOWN, str(exc))
        except MimrunError as exc:
            note(Prospect.FAILS, str(exc))
        if any(f.prospect is not Prospect.READ for f in seen.forecasts):
            seen.answers.clear()
        return seen

    def _changed_before(self, target: str) -> str:
        """Give the step that may have prepared the ground: on the target itself, or here, where files come from."""
        here = (self._changed_on[name] for name in (target, *LOCALHOSTS) if name in self._changed_on)
        return next(here, self._by_hand)

    def _one(
        self,
        node: PlannedAction,
        target: str,
        call: PlannedCall,
        variables: Mapping[str, JsonValue],
        *,
        before: str,
    ) -> tuple[Prospect, str, Mapping[str, JsonValue] | None]:
        """Look at one item on one target: make the reading, or ask for the difference.

        Arguments:
            before: the nearest step before it that may change this target, or "".
        """
        self._require(call.late, variables, node.path)
        self._facts.fetch(call.late, path=node.path)
        secrets = self._facts.variables(target, path=node.path, secrets=call.late)
        full = render_call(call, self._catalog, {**secrets, **variables})
        action = self._catalog.action(full.action).model_validate(full.args)
        connector = self._connections.connector(full.action, target)
        circumstances = self._call(node)
        if not _is_made(node, full, action):
            if full.effect is Effect.READ:
                return (
                    Prospect.UNKNOWN,
                    "a reading by its author's word; `check_mode: false` makes it here",
                    None,
                )
            return *_prospect(connector.check(action, circumstances), before), None
        if self._changed_by:
            why = f"what it reads may be different once step {self._changed_by} is done"
            return Prospect.UNKNOWN, why, None
        outcome = connector.perform(action, circumstances)
        if not isinstance(outcome, Ok):
            return Prospect.FAILS, outcome.reason, None
        return self._judged(node, outcome, variables)

    def _judged(
        self, node: PlannedAction, outcome: Ok, variables: Mapping[str, JsonValue]
    ) -> tuple[Prospect, str, Mapping[str, JsonValue] | None]:
        """Hold the answer of a reading against what its step waits for and expects."""
        answer: dict[str, JsonValue] = json.loads(json.dumps(outcome.data, default=str)) | dict(_READ)
        known = {**variables, "result": answer}
        if node.options.register_:
            known[node.options.register_] = answer
        if node.options.until and not self._truth(node.options.until, known, node.path):
            return Prospect.UNKNOWN, f"it would wait: until {node.options.until}", None
        if node.options.expect and not self._truth(node.options.expect, known, node.path):
            return Prospect.FAILS, f"expect is not true: {node.options.expect}", None
        return Prospect.READ, "", answer

    def _items(
        self, node: PlannedAction, target: TargetCalls, variables: Mapping[str, JsonValue]
    ) -> Sequence[JsonValue]:
        if target.items is not None:
            return target.items
        if node.loop is None:
            return [None]
        self._require(names(node.loop), variables, node.path)
        return loop_items(node.loop, variables)

    def _variables(self, path: str, target: str) -> dict[str, JsonValue]:
        variables, unknown = self._facts.variables(target, path=path), self._unknown_at(path)
        return {name: value for name, value in variables.items() if name not in unknown}

    def _unknown_at(self, path: str) -> Mapping[str, str]:
        return self._unknown.get(self._facts.runbook_of(path), {})

    def _truth(self, expression: str, variables: Mapping[str, JsonValue], path: str) -> bool:
        self._require(expression_names(expression), variables, path)
        return truth(expression, variables)

    def _require(self, wanted: Collection[str], variables: Mapping[str, JsonValue], path: str) -> None:
        """Raise where a name is asked for that only the run itself can know."""
        unknown = self._unknown_at(path)
        for name in sorted(wanted):
            if name in unknown and name not in variables:
                raise _Unknown(f"it depends on {name!r}, which is not known: {unknown[name]}")
            if name == "hostvars" and unknown:
                raise _Unknown(f"it depends on what other hosts answer, and {min(unknown)!r} is not known")

    def _call(self, node: PlannedAction) -> Call:
        return Call(
            key="check",
            deadline=time.monotonic() + node.options.timeout_ms / 1000,
            output=Output(self._facts.masker),
            become=node.options.become,
            environment=node.options.environment,
        )


_READ: Final[Mapping[str, JsonValue]] = {"changed": False, "failed": False, "reason": "", "skipped": False}
"""What an answer has besides its data, as after a real reading."""
_MAY_CHANGE: Final = frozenset({Prospect.CHANGES, Prospect.UNKNOWN})
_PROSPECTS: Final = {True: Prospect.CHANGES, False: Prospect.UNCHANGED, None: Prospect.UNKNOWN}


def _prospect(found: Difference, before: str) -> tuple[Prospect, str]:
    """Say what comes of a step by its connector's word; a failure may be cured by the step `before` it."""
    if not found.fails:
        return _PROSPECTS[found.changes], found.detail
    if before:
        return Prospect.UNKNOWN, f"it fails as long as step {before} has not changed that: {found.detail}"
    return Prospect.FAILS, found.detail


def _why_unknown(node: PlannedAction, forecasts: Sequence[Forecast]) -> str:
    """Say why what a step leaves is not known."""
    failing = [f for f in forecasts if f.prospect is Prospect.FAILS]
    said = f"step {node.path} is not done in check mode"
    if failing:
        said = f"step {node.path} {'failed' if _is_reading(node) else 'would fail'}"
    why = next((f.detail for f in failing or forecasts if f.detail), "")
    return f"{said}: {why}" if why else said


def _is_reading(node: PlannedAction) -> bool:
    return all(call.effect is Effect.READ for target in node.targets for call in target.calls)


def _is_made(node: PlannedAction, call: PlannedCall, action: Action) -> bool:
    """Say whether a reading is made in check mode: its connector vouches for it, or its author asks for it."""
    if call.effect is not Effect.READ:
        return False
    return action.effect_class() is Effect.READ or not node.options.check_mode
