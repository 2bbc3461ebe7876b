"""Guards: what must hold before every single effect, however long ago it was checked before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import assert_never

from mimrun.errors import GateError, LeaseError, RefusedError
from mimrun.gate.approval import Closed, Open, Waiting
from mimrun.log.kinds import GuardTripped
from mimrun.run.cell.permit import Permit
from mimrun.run.hold.stop import Halt as Halt  # noqa: PLC0414 - it is what a guard raises
from mimrun.run.hold.stop import Stop
from mimrun.run.hold.worktime import TimeOver, heed_time, time_left
from mimrun.run.journal import Journal
from mimrun.runbook.node import Leaf, PlannedGate
from mimrun.runbook.plan import Plan, may_bypass


class Guard:
    """Asks, before each intent, whether this worker may still do this.

    Arguments:
        plan: the frozen plan.
        journal: the worker's journal.
        stop: a person's wish to stop.
        permit: what the rules say at this moment.
        clock: the present moment, UTC.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        stop: Stop,
        permit: Permit,
        clock: Callable[[], datetime],
    ) -> None:
        self._plan, self._journal, self._stop = plan, journal, stop
        self._permit, self._clock = permit, clock
        self._gates = {node.path: node for node in plan.walk() if isinstance(node, PlannedGate)}
        self._before = _gates_before(plan)

    def check(self, path: str, *, changes: bool) -> None:
        """Refuse the effect of a step unless all of this holds now:

        1. The lease is ours.
        2. Nobody asked to stop, and the kill switch of this machine is not pulled.
        3. The run has not been at work for longer than it may be.
        4. The gate in front of the step is open: the rules ask for nothing else now, enough people agreed to this
           very digest, they still have their roles, their approvals have not expired, no calendar is closed that
           nobody answered for, and the change record allows it. Where only the record, or a rule, stands in the
           way, what people said stays, and the run waits at the gate until that has passed. Where no gate is in
           front, the rules ask for nothing.

        Arguments:
            path: the step.
            changes: whether it may change something; a reading needs no approval.

        Raises:
            LeaseError: (1) does not hold.
            Halt: (2), (3) or (4) does not hold.
            GateError: (4) the step was reached past a gate that was never asked for.
            RefusedError: (4) a rules file cannot be read, so that nobody knows; or no gate is in front, and the rules
                ask for something.
            LogError: the log cannot be read, so that nobody knows about (2).
        """
        if not self._journal.lease.held():
            raise LeaseError(f"run {self._journal.state.run}: the lease is not held any more")
        if self._stop.wanted():
            raise self._stop.halt()
        try:
            heed_time(self._plan, self._journal.state, self._clock())
        except TimeOver as over:
            self._journal.note(GuardTripped(guard="time", reason=over.reason), step=path)
            raise
        if not changes:
            return
        gate = self._gate_of(path)
        if gate is None:
            self._check_ungated(path)
            return
        node = self._gates[gate]
        verdict = self._permit.verdict(node, self._journal.state)
        if not isinstance(verdict, Open):
            reason = f"the gate '{node.name}' is not open any more: {_why(verdict)}"
            self._journal.note(GuardTripped(guard="gate", reason=reason), step=path)
            passes = isinstance(verdict, Waiting) and not verdict.missing
            raise Halt(reason, gate=gate, waits="gate" if passes else None)

    def _check_ungated(self, path: str) -> None:
        """Refuse a change of a plan that was made before there were rules, where they ask for something now.

        Raises:
            RefusedError: they do, or nobody can know it.
        """
        asks = self._permit.ungated()
        if asks:
            run = self._journal.state.run
            raise RefusedError(
                f"step {path} has no gate in front, since {run} was planned before there were rules, and now they ask"
                f" for somebody's word: {asks}; cancel it, and `mimrun retry {run}` plans what is left, with a gate"
            )

    def time_left(self) -> float:
        """Say for how many more seconds the run may be at work; 0 when its time is over."""
        return max(0.0, time_left(self._plan, self._journal.state, self._clock()).total_seconds())

    def _gate_of(self, path: str) -> str | None:
        """Give the gate that was passed last on the way to a step; None where there was none to pass."""
        state = self._journal.state
        for gate in self._before[path]:
            if state.finished.get(gate) == "skipped":
                continue  # then the one before it is the last that was passed
            asked = state.gates.get(gate)
            if asked is not None and asked.request:
                return gate
            if not may_bypass(path, gate):
                raise GateError(
                    f"step {path} stands behind the gate '{self._gates[gate].name}' ({gate}), which was not"
                    " asked for because a step in front of it failed; nobody agreed to this step"
                )
        return None


def _why(verdict: Waiting | Closed) -> str:
    match verdict:
        case Closed(_, detail):
            return detail
        case Waiting():
            return f"it needs {verdict.needs}"
        case _:
            assert_never(verdict)


def _gates_before(plan: Plan) -> Mapping[str, Sequence[str]]:
    """Give, for each step, the gates that are written before it, the nearest first."""
    before: dict[str, Sequence[str]] = {}
    gates: tuple[str, ...] = ()
    for node in plan.walk():
        if isinstance(node, PlannedGate):
            gates = (node.path, *gates)
        elif isinstance(node, Leaf):
            before[node.path] = gates
    return before
