"""The premise: what a changed runbook is planned with when it is tried on a record, and where each part comes from.

Inputs and hosts are those of the recorded plan, unless others are given. No connector is loaded: which class an action
has is taken from the record, and whether its arguments fit is for lint to say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from pydantic import JsonValue

from mimrun.connector import Effect
from mimrun.errors import PlanError
from mimrun.replay.standin import Effects, RecordedCatalog, args_digest
from mimrun.runbook.inputs import parse_inputs
from mimrun.runbook.inventory import Inventory, parse_inventory
from mimrun.runbook.launch import LAUNCH
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.model import Handler, Runbook
from mimrun.runbook.node import Node, PlannedAction, PlannedCall, with_parts
from mimrun.runbook.plan import Plan
from mimrun.runbook.planner import make_plan
from mimrun.runbook.tree import action_steps, handlers

Includes = Callable[[str], LoadedRunbook]

_OWN: Final = frozenset({"inventory_hostname", "inventory_hostname_short", "group_names"})
"""What an inventory says of every host by itself."""
_ALL: Final = frozenset({"all", "ungrouped"})
_WEAK: Final = (Effect.ONCE, Effect.PROBE, Effect.IDEMPOTENT, Effect.READ)


@dataclass(frozen=True, slots=True)
class Premise:
    """What a changed runbook is planned with.

    Arguments:
        then: the recorded plan.
        loaded: the changed runbook.
        words: inputs, as on the command line; they win over those of the record.
        inventory: where hosts come from; None for the record.
        includes: gives the runbooks that it includes.
    """

    then: Plan
    loaded: LoadedRunbook
    words: Sequence[str]
    inventory: Inventory | None
    includes: Includes

    def plan(self) -> Plan:
        """Make the plan.

        Raises:
            PlanError: runbook, inputs and hosts do not go together.
        """
        opened: list[LoadedRunbook] = [self.loaded]

        def included(reference: str) -> LoadedRunbook:
            found = self.includes(reference)
            opened.append(found)
            return found

        try:
            return self._plan(included, self._catalog(opened))
        except PlanError as exc:
            try:
                # What looks may be of a class that the record does not tell: nothing is done here in any case.
                return self._plan(included, self._catalog(opened, unknown=Effect.READ))
            except PlanError:
                raise exc from None

    def _catalog(self, opened: Iterable[LoadedRunbook], unknown: Effect | None = None) -> RecordedCatalog:
        effects = effects_of(self.then)
        for loaded in opened:
            for action, looks in _actions(loaded.runbook):
                if action not in effects or unknown is not None:
                    known = effects[action].by_args if action in effects else {}
                    weakest = unknown or (Effect.READ if looks else Effect.ONCE)
                    effects[action] = Effects(weakest, known)
        return RecordedCatalog(effects=effects)

    def _plan(self, includes: Includes, catalog: RecordedCatalog) -> Plan:
        given = parse_inputs(self.loaded.runbook, self.words)
        inputs = replace(given, values={**self._recorded_inputs(), **given.values})
        plan = make_plan(
            self.loaded,
            inputs,
            self.inventory or recorded_inventory(self.then),
            catalog,
            self.then.connectors,
            includes=includes,
            launch_gate=any(node.path == LAUNCH for node in self.then.nodes),
        )
        return _with_recorded_effects(plan, effects_of(self.then), catalog)

    def _recorded_inputs(self) -> dict[str, JsonValue]:
        wanted = self.loaded.runbook.inputs
        return {
            name: value for name, value in self.then.inputs.items() if name in wanted and value is not None
        }

    def taken(self, now: Plan) -> Iterator[str]:
        """Say what was taken from where, a line each."""
        ref, then = now.runbook, self.then.runbook
        yield f"the plan: made now, of {self.loaded.file} ({ref.name} {ref.version})"
        if (ref.name, ref.version) == (then.name, then.version) and ref.digest != then.digest:
            yield f"{ref.name} {ref.version} ran with other content; give it another version before it runs"
        given = parse_inputs(self.loaded.runbook, self.words).values
        recorded = self._recorded_inputs().keys() - given.keys()
        default = now.inputs.keys() - recorded - given.keys()
        for names, where in (
            (recorded, "the record"),
            (given, "the command line"),
            (default, "their defaults"),
        ):
            if names:
                yield f"inputs from {where}: {', '.join(sorted(names))}"
        gone = self.then.inputs.keys() - self.loaded.runbook.inputs.keys()
        if gone:
            yield f"inputs that are not asked for any more: {', '.join(sorted(gone))}"
        if self.inventory is None:
            count = len(self.then.targets)
            hosts = "the one host" if count == 1 else f"the {count} hosts"
            yield f"hosts, variables and groups: {hosts} of the record's plan; of others it knows nothing"
        else:
            yield "hosts, their variables and groups: the inventory that was given"
        yield "answers of targets, and what people said: from the record, where the same is asked"
        yield "arguments are not checked against connectors, as none is loaded: `mimrun runbook lint` does that"


def recorded_inventory(plan: Plan) -> Inventory:
    """Give the hosts that a plan was made for as an inventory, with the variables that they had then."""
    hosts = {
        target.name: {name: value for name, value in target.vars.items() if name not in _OWN}
        for target in plan.targets
    }
    children: dict[str, JsonValue] = {
        name: {"hosts": {host: {} for host in members if host in hosts}}
        for name, members in plan.groups.items()
        if name not in _ALL
    }
    text = json.dumps({"all": {"hosts": hosts, "children": children}})
    return parse_inventory(text, "the record.json")


def effects_of(plan: Plan) -> dict[str, Effects]:
    """Give the class of every action of a plan: by its arguments, and the weakest of all."""
    found: dict[str, dict[str, Effect]] = {}
    for call in _calls(plan):
        found.setdefault(call.action, {})[_digest(call)] = call.effect
    return {
        action: Effects(min(by_args.values(), key=_WEAK.index), by_args) for action, by_args in found.items()
    }


def _calls(plan: Plan) -> Iterator[PlannedCall]:
    nodes = (node for node in plan.walk() if isinstance(node, PlannedAction))
    targets = (target for node in nodes for target in node.targets)
    return chain.from_iterable((*t.calls, *t.verify, *t.undo, *t.capture) for t in targets)


def _digest(call: PlannedCall) -> str:
    return args_digest(call.args)


def _with_recorded_effects(plan: Plan, effects: Mapping[str, Effects], catalog: RecordedCatalog) -> Plan:
    """Give calls that wait for a value the class that they had then, where they are written as then."""

    def call(one: PlannedCall) -> PlannedCall:
        known = effects.get(one.action)
        weakest = catalog.action(one.action).effect
        if known is None or one.effect is not weakest or _digest(one) not in known.by_args:
            return one
        return one.model_copy(update={"effect": known.by_args[_digest(one)]})

    def node(one: Node) -> Node:
        if not isinstance(one, PlannedAction):
            return with_parts(one, node)
        parts = ("calls", "verify", "undo", "capture")
        targets = tuple(
            target.model_copy(
                update={part: tuple(call(each) for each in getattr(target, part)) for part in parts}
            )
            for target in one.targets
        )
        return one.model_copy(update={"targets": targets})

    fields = {name: getattr(plan, name) for name in Plan.model_fields}
    changed = {
        "nodes": tuple(node(one) for one in plan.nodes),
        "handlers": tuple(node(one) for one in plan.handlers),
    }
    return Plan(**{**fields, **changed})


def _actions(runbook: Runbook) -> Iterator[tuple[str, bool]]:
    """Give the actions that a runbook names, and whether each stands where a look is asked for."""
    steps: Iterator[tuple[str, Handler]] = chain(action_steps(runbook), handlers(runbook))
    for _, step in steps:
        yield step.call.action, bool(getattr(step, "waits", False))
        for call, looks in ((step.verify, True), (step.capture, True), (step.undo, False)):
            if call is not None:
                yield call.action, looks
