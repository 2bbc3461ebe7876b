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
from mimrun.runbook.inputs import GivenInputs, complete_inputs
from mimrun.runbook.inventory import Inventory
from mimrun.runbook.lint import lint
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.model import ActionCall, Handler, Runbook
from mimrun.runbook.node import Node, PlannedAction, RunbookRef
from mimrun.runbook.node_plan import NodePlanner
from mimrun.runbook.plan import Plan, PlannedTarget
from mimrun.runbook.reach import changed_hosts, check_branches, check_domains, check_shares, host_locks
from mimrun.runbook.scope import Complaints, Scope, frozen_vars
from mimrun.runbook.targets import Targets
from mimrun.runbook.tree import action_steps, handlers


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
    planner = NodePlanner(scope, targets, catalog)
    nodes, handlers = planner.nodes(loaded.runbook.steps, ""), planner.handlers()
    every = (*nodes, *handlers)
    changed = changed_hosts(every)
    check_shares(scope, inventory.groups, changed)
    check_domains(scope, every)
    check_branches(scope, nodes)
    parts = _Parts(nodes, handlers, tuple(sorted(_locks(scope) | host_locks(changed))))
    _refuse(scope)
    return _encodable(_assembled(scope, targets, parts, connector_versions), loaded)


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


def _refuse(scope: Scope) -> None:
    problems = scope.complaints.problems()
    if problems:
        raise PlanError(problems=set(problems))


def _freeze_hosts(scope: Scope, targets: Targets, inventory: Inventory) -> None:
    for host in targets.all:
        variables = frozen_vars(inventory.vars(host), scope.complaints, host)
        scope.hostvars[host] = {**variables, "inventory_hostname": host}
    scope.groups = {name: list(hosts) for name, hosts in targets.groups().items()}


def _locks(scope: Scope) -> set[str]:
    locks = scope.loaded.runbook.locks
    return {scope.fixed_text(lock, ("locks", n)) for n, lock in enumerate(locks)}


def _assembled(scope: Scope, targets: Targets, parts: _Parts, connector_versions: Mapping[str, str]) -> Plan:
    runbook = scope.loaded.runbook
    used = {call.action.partition(".")[0] for call in _calls(runbook)}
    return Plan(
        runbook=_reference(scope.loaded),
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


def _reference(loaded: LoadedRunbook) -> RunbookRef:
    runbook = loaded.runbook
    return RunbookRef(
        name=runbook.name,
        version=runbook.version,
        digest=loaded.digest,
        title=runbook.title,
        stage=runbook.stage,
        risk=runbook.risk,
        owner=runbook.owner,
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
