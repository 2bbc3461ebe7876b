"""Planned nodes: each step with its hosts, its calls and its circumstances."""

from __future__ import annotations

from typing import assert_never

from mimrun.catalog import Catalog
from mimrun.runbook.allowance import allowed
from mimrun.runbook.batch import Borders, cut, hosts_of, in_batches
from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.call_plan import CallPlanner, known_truth
from mimrun.runbook.document import ValuePath
from mimrun.runbook.expression import names
from mimrun.runbook.include_plan import Unit
from mimrun.runbook.inventory import Inventory
from mimrun.runbook.lint_call import waits
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.model import (
    ActionStep,
    BlockStep,
    GateStep,
    Handler,
    IncludeStep,
    ManualStep,
    ParallelStep,
    Step,
)
from mimrun.runbook.node import (
    Node,
    PlannedAction,
    PlannedBlock,
    PlannedGate,
    PlannedInclude,
    PlannedManual,
    PlannedParallel,
    PlannedSerial,
    RunbookRef,
    StepOptions,
)
from mimrun.runbook.reach import changed_hosts, check_domains, check_shares, domain_of
from mimrun.runbook.render import instructions
from mimrun.runbook.tree import handlers


class NodePlanner:
    """Turns steps into nodes, from top to bottom, so that each knows what is registered before it."""

    def __init__(self, unit: Unit, catalog: Catalog, inventory: Inventory) -> None:
        self._unit, self._catalog, self._inventory = unit, catalog, inventory
        scope, targets = unit.scope, unit.targets
        self._scope, self._targets = scope, targets
        self._calls = CallPlanner(scope, catalog)
        self._handlers = {
            handler.name: path for path, handler in handlers(scope.loaded.runbook) if path in targets.of_step
        }

    def handlers(self) -> tuple[PlannedAction, ...]:
        """Plan the handlers that some step notifies; they come after all steps."""
        runbook = self._scope.loaded.runbook
        return tuple(
            self._action(handler, path, self._scope.fixed_text(handler.name, self._path(path, "name")))
            for path, handler in handlers(runbook)
            if path in self._targets.of_step
        )

    def nodes(self, steps: tuple[Step, ...], prefix: str) -> tuple[Node, ...]:
        """Plan some steps.

        Arguments:
            prefix: what their paths begin with: "", "3.block.".
        """
        return tuple(self._node(step, f"{prefix}{number}") for number, step in enumerate(steps, 1))

    def _node(self, step: Step, path: str) -> Node:
        name = self._scope.fixed_text(step.name, self._path(path, "name"))
        match step:
            case ActionStep():
                action = self._action(step, path, name)
                return action if step.serial is None else self._batched(step, path, action)
            case GateStep():
                self._condition(step.when, path)
                gate = step.gate
                return PlannedGate(
                    path=self._unit.prefix + path,
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
                block = PlannedBlock(
                    path=self._unit.prefix + path,
                    name=name,
                    when=step.when,
                    block=self.nodes(step.block, f"{path}.block."),
                    rescue=self.nodes(step.rescue, f"{path}.rescue."),
                    always=self.nodes(step.always, f"{path}.always."),
                )
                return block if step.serial is None else self._batched(step, path, block)
            case ParallelStep():
                return self._parallel(step, path, name)
            case IncludeStep():
                return self._include(step, path, name)
            case _:
                assert_never(step)

    def _include(self, step: IncludeStep, path: str, name: str) -> PlannedInclude:
        """Plan the steps of an included runbook, and hold them against its own limits."""
        self._condition(step.when, path)
        unit = self._unit.inner[path]
        scope = unit.scope
        steps = NodePlanner(unit, self._catalog, self._inventory).nodes(scope.loaded.runbook.steps, "")
        check_shares(scope, self._inventory.groups, changed_hosts(steps))
        check_domains(scope, steps, unit.prefix)
        own = unit.targets.failures
        return PlannedInclude(
            path=self._unit.prefix + path,
            name=name,
            when=step.when,
            runbook=ref_of(scope.loaded),
            inputs=dict(scope.inputs),
            vars=scope.constants,
            max_failures=own if own < self._targets.failures else None,
            steps=steps,
        )

    def _parallel(self, step: ParallelStep, path: str, name: str) -> PlannedParallel:
        """Plan branches, none of which knows what another one registers."""
        before, after = frozenset(self._scope.registered), set(self._scope.registered)
        branches: list[Node] = []
        for number, branch in enumerate(step.parallel, 1):
            self._scope.registered = set(before)
            branches.append(self._node(branch, f"{path}.branch.{number}"))
            after |= self._scope.registered
        self._scope.registered = after
        return PlannedParallel(
            path=self._unit.prefix + path,
            name=name,
            when=step.when,
            branches=tuple(branches),
            on_failure=step.on_failure,
            max_failures=step.max_failures,
        )

    def _action(self, step: Handler, path: str, name: str) -> PlannedAction:
        node = PlannedAction(
            path=self._unit.prefix + path,
            name=name,
            when=step.when,
            action=step.call.action,
            targets=tuple(self._calls.on_target(step, path, t) for t in self._targets.of_step[path]),
            loop=step.loop,
            options=self._options(step, path),
            notify=self._notified(step),
        )
        self._register(step.register_)
        return node

    def _notified(self, step: Handler) -> tuple[str, ...]:
        """Give the paths of the handlers that a step notifies, each once and in the order of the handlers."""
        wanted = step.notify if isinstance(step, ActionStep) else ()
        return tuple(path for name, path in self._handlers.items() if name in wanted)

    def _options(self, step: Handler, path: str) -> StepOptions:
        become = step.become
        if isinstance(become, str):
            become = self._scope.fixed_text(become, self._path(path, "become"))
        environment = {
            key: self._scope.fixed_text(value, self._path(path, "environment", key))
            for key, value in step.environment.items()
        }
        return StepOptions(
            register_=step.register_,
            retries=_looks(step) if waits(step) else step.retries,
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
            max_failures=self._budget(step, path),
            deadline_ms=step.deadline,
            revert_after_ms=step.revert_after if isinstance(step, ActionStep) else None,
            check_mode=not isinstance(step, ActionStep) or step.check_mode,
        )

    def _batched(
        self, step: ActionStep | BlockStep, path: str, node: PlannedAction | PlannedBlock
    ) -> PlannedSerial:
        """Give a step batch by batch; what its hosts may fail is counted over all batches."""
        own = hosts_of(node)
        hosts = [host for host in self._targets.all if host in own]
        serial = in_batches(node, cut(hosts, step.serial or (), self._borders()) or [()])
        budget = self._allowed(step.max_failures, len(hosts), path)
        return serial.model_copy(update={"pause_ms": step.pause, "max_failures": budget})

    def _borders(self) -> list[Borders]:
        rule = self._scope.loaded.runbook.limits.domains
        hostvars = self._scope.hostvars
        return [(lambda host: domain_of(hostvars.get(host), rule.by), rule.at_once)] if rule else []

    def _budget(self, step: Handler, path: str) -> int | None:
        """Give how many hosts of a step may fail; in batches it is the batches' to count."""
        if not isinstance(step, ActionStep) or step.serial is not None:
            return None
        return self._allowed(step.max_failures, len(self._targets.of_step[path]), path)

    def _allowed(self, rule: int | str | None, hosts: int, path: str) -> int | None:
        """Give how many of some hosts may fail, and complain where the run would allow fewer."""
        if rule is None:
            return None
        own, whole = allowed(rule, hosts), self._targets.failures
        if own > whole:
            message = f"{rule} of {hosts} hosts are {own}, and the run lets {whole} fail"
            hint = "a step cannot widen what `limits: {failures: …}` allows"
            self._scope.complaints.add(self._path(path, "max_failures"), message, hint)
        return own

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
            path=self._unit.prefix + path,
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


def _looks(step: Handler) -> int:
    """Give how many more looks than the first can begin before the deadline of a wait."""
    return max((step.deadline or 0) // max(step.delay, 1), 1)


def ref_of(loaded: LoadedRunbook) -> RunbookRef:
    """Say which runbook it is, exactly."""
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
