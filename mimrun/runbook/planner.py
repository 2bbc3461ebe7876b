"""The planner: from a runbook, inputs and an inventory to a plan that is frozen and has a digest.

Pure: the same files and inputs give the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.errors import PlanError, Problem
from mimrun.runbook.finding import Level
from mimrun.runbook.include_plan import Opener, Unit, no_includes
from mimrun.runbook.inputs import GivenInputs, complete_inputs
from mimrun.runbook.inventory import Inventory
from mimrun.runbook.launch import with_launch_gate
from mimrun.runbook.lint import lint
from mimrun.runbook.lint_include import Includes
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.model import ActionCall, Handler, Runbook
from mimrun.runbook.node import Node, PlannedAction
from mimrun.runbook.node_plan import NodePlanner, ref_of
from mimrun.runbook.plan import Plan, PlannedTarget
from mimrun.runbook.reach import (
    changed_hosts,
    check_branches,
    check_domains,
    check_people,
    check_shares,
    host_locks,
)
from mimrun.runbook.scope import Complaints, Scope, frozen_vars
from mimrun.runbook.tree import action_steps, handlers


def make_plan(
    loaded: LoadedRunbook,
    inputs: GivenInputs | Mapping[str, JsonValue],
    inventory: Inventory,
    catalog: Catalog,
    connector_versions: Mapping[str, str],
    *,
    includes: Includes = no_includes,
    launch_gate: bool = False,
) -> Plan:
    """Fill in a runbook, and freeze it.

    Arguments:
        loaded: the runbook.
        inputs: what the caller gave, or values by name; a secret is a reference: `env:NAME`, `file:PATH`.
        inventory: where the targets and their variables come from.
        catalog: the installed actions.
        connector_versions: the version of each installed connector, by name.
        includes: gives the runbooks that this one includes, by `name@version`.
        launch_gate: put a gate in front, where something is changed before the author's first one.

    Raises:
        PlanError: with everything that does not go together, each with its place.
    """
    scope = Scope(loaded, check_parts(loaded, inputs, catalog), Complaints(loaded))
    unit = Opener(inventory, catalog, includes).open(scope)
    _freeze_hosts(unit, inventory)
    _refuse(unit)
    planner = NodePlanner(unit, catalog, inventory)
    nodes, handlers = planner.nodes(loaded.runbook.steps, ""), planner.handlers()
    every = (*nodes, *handlers)
    changed = changed_hosts(every)
    check_shares(scope, inventory.groups, changed)
    check_domains(scope, every)
    check_branches(scope, nodes)
    check_people(scope, nodes)
    locks = host_locks(changed).union(*(_locks(one.scope) for one in unit.all()))
    _refuse(unit)
    parts = _Parts(nodes, handlers, tuple(sorted(locks)))
    plan = _assembled(unit, parts, connector_versions)
    return _encodable(with_launch_gate(plan) if launch_gate else plan, loaded)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What was planned of a runbook."""

    nodes: tuple[Node, ...]
    handlers: tuple[PlannedAction, ...]
    locks: tuple[str, ...]


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


def _refuse(unit: Unit) -> None:
    problems = {problem for one in unit.all() for problem in one.scope.complaints.problems()}
    if problems:
        raise PlanError(problems=problems)


def _freeze_hosts(unit: Unit, inventory: Inventory) -> None:
    """Freeze the variables of every host of the plan; all of its runbooks see the same."""
    scope = unit.scope
    for host in unit.targets.all:
        variables = frozen_vars(inventory.vars(host), scope.complaints, host)
        scope.hostvars[host] = {**variables, "inventory_hostname": host}
    scope.groups = {name: list(hosts) for name, hosts in unit.targets.groups().items()}
    for inner in unit.all():
        inner.scope.hostvars, inner.scope.groups = scope.hostvars, scope.groups


def _locks(scope: Scope) -> set[str]:
    locks = scope.loaded.runbook.locks
    return {scope.fixed_text(lock, ("locks", n)) for n, lock in enumerate(locks)}


def _assembled(unit: Unit, parts: _Parts, connector_versions: Mapping[str, str]) -> Plan:
    scope, targets = unit.scope, unit.targets
    runbook = scope.loaded.runbook
    used = {call.action.partition(".")[0] for one in unit.all() for call in _calls(one.scope.loaded.runbook)}
    return Plan(
        runbook=ref_of(scope.loaded),
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
        locks=parts.locks,
        max_failures=targets.failures,
        timeout_ms=runbook.timeout,
        nodes=parts.nodes,
        handlers=parts.handlers,
    )


def _encodable(plan: Plan, loaded: LoadedRunbook) -> Plan:
    """Give the plan back when it has a canonical form."""
    try:
        plan.encode()
    except ValueError as exc:
        raise PlanError(
            problems=[Problem(loaded.file, 0, 0, f"the plan has no canonical form: {exc}")]
        ) from exc
    return plan


def _calls(runbook: Runbook) -> Iterator[ActionCall]:
    steps: Iterator[tuple[str, Handler]] = chain(action_steps(runbook), handlers(runbook))
    for _, step in steps:
        yield from (call for call in (step.call, step.verify, step.undo, step.capture) if call is not None)
