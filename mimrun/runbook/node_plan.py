"""Planned nodes: each step with its hosts, its calls and its circumstances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import assert_never

from mimrun.catalog import Catalog
from mimrun.runbook.allowance import allowed
from mimrun.runbook.batch import Borders, actions_in, cut, hosts_of, in_batches
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
from mimrun.runbook.pattern import LOCALHOSTS
from mimrun.runbook.reach import changed_hosts, check_domains, check_shares, domain_of
from mimrun.runbook.render import instructions
from mimrun.runbook.tree import handlers, walk_steps


class NodePlanner:
    """Turns steps into nodes, from top to bottom, so that each knows what is registered before it."""

    def __init__(self, unit: Unit, catalog: Catalog, inventory: Inventory) -> None:
        self._unit, self._catalog, self._inventory = unit, catalog, inventory
        scope, targets = unit.scope, unit.targets
        self._scope, self._targets = scope, targets
        self._calls = CallPlanner(scope, catalog)
        self._handlers = {
            path: handler for path, handler in handlers(scope.loaded.runbook) if path in targets.of_step
        }
        self._at_end = {path: self._pieces(path, handler) for path, handler in self._handlers.items()}
        self._in_batches = False
        self._behind: list[PlannedAction] = []
        """The handlers of batches and of included runbooks."""

    def handlers(self) -> tuple[PlannedAction, ...]:
        """Plan the handlers that some step notifies, to be called when the steps are planned.

        Those that are notified in batches follow each batch; the others come after all steps.
        """
        at_end: list[PlannedAction] = []
        for path, pieces in self._at_end.items():
            every = self._handler(path, {host for hosts in pieces.values() for host in hosts})
            for piece, hosts in pieces.items():
                targets = tuple(target for target in every.targets if target.target in hosts)
                at_end.append(every.model_copy(update={"path": piece, "targets": targets}))
        return (*self._behind, *at_end)

    def _pieces(self, path: str, handler: Handler) -> Mapping[str, Sequence[str]]:
        """Give the hosts that a handler follows the last step on, by its path; nothing where only batches notify it.

        Where `limits: {domains: …}` would not let it be done on all of them at once, in as many pieces as needed.
        """
        steps = list(walk_steps(self._scope.loaded.runbook.steps))
        batches = [f"{at}." for at, step in steps if getattr(step, "serial", None)]
        notifying = {
            host
            for at, step in steps
            if isinstance(step, ActionStep)
            and handler.name in step.notify
            and not any(f"{at}.".startswith(batch) for batch in batches)
            for host in self._targets.of_step[at]
        }
        hosts = [host for host in self._targets.of_step[path] if host in notifying]
        whole = f"{self._unit.prefix}{path}"
        borders = self._borders() if hosts else []
        cuts = (
            cut([host for host in hosts if host not in LOCALHOSTS], [len(hosts)], borders) if borders else []
        )
        if len(cuts) < 2:
            return {whole: hosts} if hosts else {}
        here = [host for host in hosts if host in LOCALHOSTS]
        return {f"{whole}.batch.{n}": (*part, *here * (n == 1)) for n, part in enumerate(cuts, 1)}

    def _handler(self, path: str, hosts: Set[str]) -> PlannedAction:
        """Plan a handler on some of its hosts."""
        handler = self._handlers[path]
        name = self._scope.fixed_text(handler.name, self._path(path, "name"))
        return self._action(handler, path, name, hosts)

    def nodes(self, steps: tuple[Step, ...], prefix: str) -> tuple[Node, ...]:
        """Plan some steps.

        Arguments:
            prefix: what their paths begin with: "", "3.block.".
        """
        return tuple(self._node(step, f"{prefix}{number}") for number, step in enumerate(steps, 1))

    def _node(self, step: Step, path: str) -> Node:
        before = self._in_batches
        if isinstance(step, ActionStep | BlockStep):
            self._in_batches = before or step.serial is not None
        try:
            return self._planned(step, path)
        finally:
            self._in_batches = before

    def _planned(self, step: Step, path: str) -> Node:
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
        planner = NodePlanner(unit, self._catalog, self._inventory)
        steps = planner.nodes(scope.loaded.runbook.steps, "")
        behind = planner.handlers()
        check_shares(scope, self._inventory.groups, changed_hosts((*steps, *behind)))
        check_domains(scope, (*steps, *behind), unit.prefix)
        self._behind += behind
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

    def _action(self, step: Handler, path: str, name: str, among: Set[str] | None = None) -> PlannedAction:
        hosts = [host for host in self._targets.of_step[path] if among is None or host in among]
        node = PlannedAction(
            path=self._unit.prefix + path,
            name=name,
            when=step.when,
            action=step.call.action,
            targets=tuple(self._calls.on_target(step, path, host) for host in hosts),
            loop=step.loop,
            options=self._options(step, path),
            notify=self._notified(step),
        )
        self._register(step.register_)
        return node

    def _notified(self, step: Handler) -> tuple[str, ...]:
        """Give the paths of the handlers that a step notifies, each once and in the order of the handlers.

        In batches these are not yet those that follow each batch.
        """
        wanted = step.notify if isinstance(step, ActionStep) else ()
        notified = [path for path, handler in self._handlers.items() if handler.name in wanted]
        if self._in_batches:
            return tuple(f"{self._unit.prefix}{path}" for path in notified)
        return tuple(piece for path in notified for piece in self._at_end[path])

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
        batches = cut(hosts, step.serial or (), self._borders()) or [()]
        serial, behind = in_batches(node, batches, self._behind_batches(node))
        self._behind += behind
        budget = self._allowed(step.max_failures, len(hosts), path)
        return serial.model_copy(update={"pause_ms": step.pause, "max_failures": budget})

    def _behind_batches(self, node: PlannedAction | PlannedBlock) -> list[PlannedAction]:
        """Give the handlers of what is put into batches, on all of its hosts: those that it notifies, and inner ones."""
        inner = [handler for handler in self._behind if handler.path.startswith(f"{node.path}.")]
        self._behind = [handler for handler in self._behind if handler not in inner]
        own = []
        for path in self._handlers:
            told = [a for a in actions_in(node) if f"{self._unit.prefix}{path}" in a.notify]
            if told:
                own.append(self._handler(path, {t.target for action in told for t in action.targets}))
        return [*inner, *own]

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
        second = step.manual.second_person
        node = PlannedManual(
            path=self._unit.prefix + path,
            name=name,
            when=step.when,
            role=step.manual.role,
            instructions=text,
            late=late,
            evidence=step.manual.evidence,
            register_=step.register_,
            checklist=step.manual.checklist,
            second=second if isinstance(second, str) else "anybody" if second else "",
            remind_ms=step.manual.remind,
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
