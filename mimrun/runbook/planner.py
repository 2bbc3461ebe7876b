"""The planner: from a runbook, inputs and an inventory to a plan that is frozen and has a digest.

Pure: the same files and inputs give the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.errors import PlanError, Problem
from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.call_plan import CallPlanner, known_truth
from mimrun.runbook.document import ValuePath
from mimrun.runbook.expression import names
from mimrun.runbook.finding import Level
from mimrun.runbook.inputs import GivenInputs, complete_inputs
from mimrun.runbook.inventory import Inventory
from mimrun.runbook.lint import lint
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.model import ActionCall, ActionStep, BlockStep, GateStep, ManualStep, Step
from mimrun.runbook.node import (
    Node,
    PlannedAction,
    PlannedBlock,
    PlannedGate,
    PlannedManual,
    RunbookRef,
    StepOptions,
)
from mimrun.runbook.plan import Plan, PlannedTarget
from mimrun.runbook.render import instructions
from mimrun.runbook.scope import Complaints, Scope, frozen_vars
from mimrun.runbook.targets import Targets, action_steps


def make_plan(
    loaded: LoadedRunbook,
    inputs: GivenInputs | Mapping[str, JsonValue],
    inventory: Inventory,
    catalog: Catalog,
    connector_versions: Mapping[str, str],
) -> Plan:
    """Fill in a runbook, and freeze it.

    Arguments:
        loaded: the runbook.
        inputs: what the caller gave, or values by name; a secret is `env:NAME` or `file:PATH`.
        inventory: where the targets and their variables come from.
        catalog: the installed actions.
        connector_versions: the version of each installed connector, by name.

    Raises:
        PlanError: with everything that does not go together, each with its place.
    """
    scope = Scope(loaded, check_parts(loaded, inputs, catalog), Complaints(loaded))
    scope.settle_constants()
    targets = Targets(inventory, scope)
    targets.check_limit()
    _freeze_hosts(scope, targets, inventory)
    _refuse(scope)
    nodes = _NodePlanner(scope, targets, catalog).nodes(loaded.runbook.steps, "")
    locks = sorted({scope.fixed_text(lock, ("locks", n)) for n, lock in enumerate(loaded.runbook.locks)})
    _refuse(scope)
    return _assembled(scope, targets, nodes, tuple(locks), connector_versions)


def check_parts(
    loaded: LoadedRunbook, inputs: GivenInputs | Mapping[str, JsonValue], catalog: Catalog
) -> Mapping[str, JsonValue]:
    """Check the runbook and the inputs, which needs no inventory; give the inputs, complete.

    Raises:
        PlanError: with everything that is wrong with the one and the other.
    """
    problems = [f.problem for f in lint(loaded, catalog) if f.level is Level.ERROR]
    complete: Mapping[str, JsonValue] = {}
    try:
        complete = complete_inputs(loaded.runbook, inputs)
    except PlanError as exc:
        problems += exc.problems
    if problems:
        raise PlanError(problems=problems)
    return complete


def _refuse(scope: Scope) -> None:
    problems = scope.complaints.problems()
    if problems:
        raise PlanError(problems=set(problems))


def _freeze_hosts(scope: Scope, targets: Targets, inventory: Inventory) -> None:
    for host in targets.all:
        variables = frozen_vars(inventory.vars(host), scope.complaints, host)
        scope.hostvars[host] = {**variables, "inventory_hostname": host}
    scope.groups = {name: list(hosts) for name, hosts in targets.groups().items()}


def _assembled(
    scope: Scope,
    targets: Targets,
    nodes: tuple[Node, ...],
    locks: tuple[str, ...],
    connector_versions: Mapping[str, str],
) -> Plan:
    loaded = scope.loaded
    runbook = loaded.runbook
    used = {call.action.partition(".")[0] for _, step in action_steps(runbook.steps) for call in _calls(step)}
    plan = Plan(
        runbook=RunbookRef(
            name=runbook.name,
            version=runbook.version,
            digest=loaded.digest,
            title=runbook.title,
            stage=runbook.stage,
            risk=runbook.risk,
            owner=runbook.owner,
        ),
        inputs=dict(scope.inputs),
        vars=scope.constants,
        targets=tuple(
            PlannedTarget(name=host, vars=vars_)
            for host in targets.all
            if isinstance(vars_ := scope.hostvars[host], dict)
        ),
        groups=dict(targets.groups()),
        connectors={name: connector_versions.get(name, "unknown") for name in sorted(used)},
        limits=runbook.limits,
        locks=locks,
        nodes=nodes,
    )
    try:
        plan.encode()
    except ValueError as exc:
        raise PlanError(
            problems=[Problem(loaded.file, 0, 0, f"the plan has no canonical form: {exc}")]
        ) from exc
    return plan


def _calls(step: ActionStep) -> list[ActionCall]:
    return [call for call in (step.call, step.verify, step.undo, step.capture) if call is not None]


class _NodePlanner:
    """Turns steps into nodes, from top to bottom, so that each knows what is registered before it."""

    def __init__(self, scope: Scope, targets: Targets, catalog: Catalog) -> None:
        self._scope, self._targets = scope, targets
        self._calls = CallPlanner(scope, catalog)

    def nodes(self, steps: tuple[Step, ...], prefix: str) -> tuple[Node, ...]:
        return tuple(self._node(step, f"{prefix}{number}") for number, step in enumerate(steps, 1))

    def _node(self, step: Step, path: str) -> Node:
        name = self._scope.fixed_text(step.name, self._path(path, "name"))
        match step:
            case ActionStep():
                return self._action(step, path, name)
            case GateStep():
                self._condition(step.when, path)
                gate = step.gate
                return PlannedGate(
                    path=path,
                    name=name,
                    when=step.when,
                    change=gate.change,
                    approvals=gate.approvals,
                    expires_ms=gate.expires,
                    on_timeout=gate.on_timeout,
                )
            case ManualStep():
                return self._manual(step, path, name)
            case BlockStep():
                return PlannedBlock(
                    path=path,
                    name=name,
                    when=step.when,
                    block=self.nodes(step.block, f"{path}.block."),
                    rescue=self.nodes(step.rescue, f"{path}.rescue."),
                    always=self.nodes(step.always, f"{path}.always."),
                )
            case _:
                assert_never(step)

    def _action(self, step: ActionStep, path: str, name: str) -> PlannedAction:
        node = PlannedAction(
            path=path,
            name=name,
            when=step.when,
            action=step.call.action,
            targets=tuple(self._calls.on_target(step, path, t) for t in self._targets.of_step[path]),
            loop=step.loop,
            options=self._options(step, path),
        )
        self._register(step.register_)
        return node

    def _options(self, step: ActionStep, path: str) -> StepOptions:
        become = step.become
        if isinstance(become, str):
            become = self._scope.fixed_text(become, self._path(path, "become"))
        environment = {
            key: self._scope.fixed_text(value, self._path(path, "environment", key))
            for key, value in step.environment.items()
        }
        return StepOptions(
            register_=step.register_,
            retries=step.retries,
            until=step.until,
            delay_ms=step.delay,
            timeout_ms=step.timeout,
            expect=step.expect,
            become=("root" if become else None) if isinstance(become, bool) else become,
            environment=environment,
            ignore_errors=step.ignore_errors,
            irreversible=step.irreversible,
            no_log=step.no_log,
            effect_reason=step.effect.reason if step.effect else "",
        )

    def _manual(self, step: ManualStep, path: str, name: str) -> PlannedManual:
        self._condition(step.when, path)
        variables = self._scope.variables("")
        place = self._path(path, "manual", "instructions")
        text = step.manual.instructions
        late = self._scope.late(text, variables, frozenset())
        for missing in sorted(self._scope.undefined(text, variables, late)):
            hint = "a manual step belongs to no host: name it as hostvars['HOST'].NAME"
            self._scope.complaints.add(place, f"{missing!r} is undefined", hint)
        if not late:
            try:
                text, late = instructions(text, tuple(sorted(names(text))), variables)
            except ExpressionError as exc:
                self._scope.complaints.add(place, exc.message, exc.hint)
        node = PlannedManual(
            path=path,
            name=name,
            when=step.when,
            role=step.manual.role,
            instructions=text,
            late=late,
            evidence=step.manual.evidence,
            register_=step.register_,
        )
        self._register(step.register_)
        return node

    def _condition(self, when: str | None, path: str) -> None:
        """Check the condition of a step that belongs to no host."""
        known = None if when is None else known_truth(when, self._scope.variables(""), self._scope)
        if isinstance(known, ExpressionError):
            self._scope.complaints.add(self._path(path, "when"), known.message, known.hint)

    def _register(self, name: str | None) -> None:
        if name is not None:
            self._scope.registered.add(name)

    def _path(self, step: str, *inner: str) -> ValuePath:
        return self._scope.loaded.step_path(step, *inner)
