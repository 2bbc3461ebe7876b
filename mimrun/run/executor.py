"""The executor: walks a frozen plan from wherever the log says it is, to its end or to a person.

It keeps nothing of its own. A first start, a resume after `kill -9` and a resume after an approval are
the same walk: what the log says is finished is taken up, what is open is settled, the rest is done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import assert_never

from mimrun.errors import GateError, InputError, RunError
from mimrun.log.kinds import GateClosed, Recap, RunEnded, RunWaiting
from mimrun.run.compare import standing
from mimrun.run.fanout import Fanout
from mimrun.run.guard import Halt
from mimrun.run.journal import Journal
from mimrun.run.result import (
    AroundStep,
    Cancelled,
    Denied,
    Done,
    Failed,
    Parked,
    Result,
    StepFailed,
    StepLabel,
    directly,
)
from mimrun.run.stop import Stop
from mimrun.run.transitions import CellStatus
from mimrun.run.waiting import PeopleSteps
from mimrun.runbook.node import (
    Node,
    PlannedAction,
    PlannedBlock,
    PlannedGate,
    PlannedInclude,
    PlannedManual,
    PlannedParallel,
    PlannedSerial,
    parts_of,
)
from mimrun.runbook.plan import Plan


class Executor:
    """Executes one plan for one run.

    Arguments:
        plan: the frozen plan.
        journal: the worker's journal; it has the state.
        fanout: does actions.
        people_steps: does gates and manual steps.
        stop: a person's wish to stop.
        around_step: called around each step that is done now; Prefect shows it as a task run.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        fanout: Fanout,
        people_steps: PeopleSteps,
        *,
        stop: Stop,
        around_step: AroundStep = directly,
    ) -> None:
        self._plan, self._journal, self._stop = plan, journal, stop
        self._fanout, self._people_steps, self._around = fanout, people_steps, around_step
        self._frozen: dict[str, Node] = {}

    def execute(self) -> Result:
        """Go on with the run until it ends or needs a person, and record which.

        Raises:
            LogError: the log cannot be written, or is not what was recorded.
            LeaseError: another worker has taken over.
        """
        while True:
            result = self._settled(self._until_it_rests())
            if not isinstance(result, Parked) or self._parked(result):
                return self._recorded(result)
            # Somebody took a pause back in the moment in which the run was about to rest.
            self._stop.catch_up()

    def _parked(self, result: Parked) -> bool:
        try:
            self._journal.note(RunWaiting(on=result.on, reason=result.reason), step=result.step)
        except Halt:
            return False
        return True

    def _recorded(self, result: Result) -> Result:
        match result:
            case Done():
                left = standing(self._plan, self._journal.state)
                return self._end("succeeded", f"partly taken back: {left}" if left else "", Done(left))
            case Failed(reason) | Denied(reason):
                return self._end("failed", reason, result)
            case Cancelled(reason):
                return self._end("cancelled", reason, result)
            case Parked():
                return result
            case _:
                assert_never(result)

    def _until_it_rests(self) -> Result:
        while True:
            try:
                return self._walk()
            except Halt as halt:
                if halt.gate is None:
                    return Parked(halt.waits, "", halt.reason) if halt.waits else Cancelled(halt.reason)
                # The gate is not open any more: void it, and walk again, which asks people anew.
                body = GateClosed(
                    digest=self._journal.state.gates[halt.gate].digest, reason="void", detail=halt.reason
                )
                self._journal.note(body, step=halt.gate)
            except GateError as exc:
                return Denied(str(exc))
            except InputError as exc:
                return Failed(str(exc))

    def _walk(self) -> Result:
        self._frozen.clear()
        self._fanout.begin()
        return self._sequence(self._plan.nodes, ())

    def _settled(self, result: Result) -> Result:
        """Let nothing be over, however it ended, while it is not known of some effect whether it happened.

        Raises:
            RunError: an intent has no outcome; a resume settles it.
        """
        if isinstance(result, Parked) and result.on in ("gate", "manual", "doubt"):
            return result
        cells = self._journal.state.cells
        begun = sorted(key for key, cell in cells.items() if cell.status is CellStatus.PERFORMING)
        if begun:
            where = f"step {begun[0].step} on {begun[0].target}"
            raise RunError(f"{where} was begun and its outcome is not on record; resume the run to settle it")
        doubts = sorted(self._journal.state.in_doubt())
        if not doubts:
            return result
        shown = ", ".join(f"{key.step} on {key.target}" for key in doubts[:5])
        return Parked("doubt", doubts[0].step, f"it is not known whether it happened: {shown}")

    def _end(self, status: str, reason: str, result: Result) -> Result:
        left = standing(self._plan, self._journal.state)
        if status != "succeeded" and left:
            reason = f"{reason}; {left}"
        recap = Recap(**self._journal.state.recap())
        plan = self._plan
        # The way back, and a second try on the hosts that failed, say nothing of the runbook.
        runbook = "" if plan.undo_of or plan.retry_of else plan.runbook.name
        body = {"status": status, "reason": reason, "recap": recap, "runbook": runbook}
        self._journal.note(RunEnded.model_validate(body))
        return result

    def _sequence(self, nodes: Sequence[Node], conditions: Sequence[str]) -> Result:
        for node in nodes:
            result = self._node(node, conditions)
            if not isinstance(result, Done):
                return result
        return Done()

    def _node(self, node: Node, outer: Sequence[str]) -> Result:
        node = self._frozen.get(node.path, node)
        conditions = (*outer, node.when) if node.when else tuple(outer)
        if isinstance(node, PlannedBlock):
            return self._block(node, conditions)
        if isinstance(node, PlannedSerial | PlannedParallel | PlannedInclude):
            return self._sequence(parts_of(node), conditions)
        if node.path in self._journal.state.finished:
            return self._recall(node)
        if self._stop.wanted() and node.path not in self._journal.state.started:
            # A step that was begun is settled first; what is not begun is left alone.
            raise self._stop.halt()
        match node:
            case PlannedAction():
                action = node
                names = tuple(target.target for target in node.targets)
                return self._step(node, names, lambda: self._fanout.perform(action, conditions))
            case PlannedGate():
                return self._gate(node, conditions)
            case PlannedManual():
                result = self._people_steps.manual(node, conditions)
                return result if isinstance(result, Parked) else self._step(node, (), lambda: result)
            case _:
                assert_never(node)

    def _gate(self, node: PlannedGate, conditions: Sequence[str]) -> Result:
        result = self._people_steps.gate(node, conditions)
        if isinstance(result, Parked):
            return result
        self._freeze(node)
        return self._step(node, (), lambda: result)

    def _freeze(self, node: PlannedGate) -> None:
        """From here on, do exactly what people agreed to and not what the plan would render now."""
        gate = self._journal.state.gates.get(node.path)
        if gate is not None and gate.opened:
            self._frozen.update((frozen.path, frozen) for frozen in self._people_steps.frozen(node.path))

    def _recall(self, node: PlannedAction | PlannedGate | PlannedManual) -> Result:
        """Take up a step that is over."""
        match node:
            case PlannedAction():
                return self._fanout.recall(node)
            case PlannedManual():
                self._people_steps.recall(node)
            case PlannedGate():
                self._freeze(node)
            case _:
                assert_never(node)
        if self._journal.state.finished[node.path] == "failed":
            reason = f"step {node.path} '{node.name}' failed"
            return Failed(reason) if isinstance(node, PlannedManual) else Denied(reason)
        return Done()

    def _block(self, node: PlannedBlock, conditions: Sequence[str]) -> Result:
        """Do a block; when it fails, its rescue; and in any case, unless it waits, its always part."""
        before = frozenset(self._fanout.failed)
        result = self._sequence(node.block, conditions)
        if isinstance(result, Failed) and node.rescue:
            # The hosts that failed take part in the rescue, and after it in the rest of the run.
            self._fanout.take_back(before)
            result = self._sequence(node.rescue, conditions)
        if isinstance(result, Parked | Denied) or not node.always:
            return result
        failed = self._fanout.take_back(before)
        last = self._sequence(node.always, conditions)
        self._fanout.failed |= failed
        return result if isinstance(last, Done) else last

    def _step(
        self,
        node: PlannedAction | PlannedGate | PlannedManual,
        targets: tuple[str, ...],
        do: Callable[[], Result],
    ) -> Result:
        """Do a step inside whatever drives the run, which may do anything but change the result."""
        label = StepLabel(node.path, node.name, node.kind, targets)
        results: list[Result] = []
        raised: list[Exception] = []

        def once() -> None:
            if results or raised:
                return
            try:
                results.append(do())
            except Exception as exc:
                raised.append(exc)
                raise StepFailed(str(exc)) from exc
            if isinstance(results[0], Failed | Denied | Parked):
                # A gate or manual step comes here decided, so what is parked is in doubt.
                raise StepFailed(results[0].reason)

        with contextlib.suppress(StepFailed):
            self._around(label, once)
        if not results and not raised:
            once()
        if raised:
            raise raised[0]
        return results[0]
