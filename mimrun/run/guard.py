"""Guards: what must hold before every single effect, however long ago it was checked before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from mimrun.errors import LeaseError
from mimrun.gate.approval import Open, Request, check_gate
from mimrun.gate.people import People
from mimrun.log.kinds import GuardTripped
from mimrun.run.journal import Journal
from mimrun.run.state import GateState
from mimrun.run.stop import Stop
from mimrun.runbook.plan import Plan, PlannedBlock, PlannedGate


class Halt(Exception):
    """The run stops here, in order.

    Arguments:
        reason: for a person.
        cancelled: somebody asked for it; otherwise a gate has to be asked again.
    """

    def __init__(self, reason: str, *, cancelled: bool) -> None:
        super().__init__(reason)
        self.reason, self.cancelled = reason, cancelled


class Guard:
    """Asks, before each intent, whether this worker may still do this.

    Arguments:
        plan: the frozen plan.
        journal: the worker's journal.
        stop: a person's wish to stop.
        people: reads the people file again when it has changed.
        clock: the present moment, UTC.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        stop: Stop,
        people: Callable[[], People],
        clock: Callable[[], datetime],
    ) -> None:
        self._journal, self._stop, self._people, self._clock = journal, stop, people, clock
        self._gates = {node.path: node for node in plan.walk() if isinstance(node, PlannedGate)}
        self._covering = _covering(plan)

    def check(self, path: str, *, changes: bool) -> None:
        """Refuse the effect of a step unless all of this holds now:

        1. The lease is ours.
        2. Nobody asked to stop.
        3. The gate in front of the step, where it was asked for, is open: enough people agreed to
           this very digest, they still have their roles, and their approvals have not expired.

        Arguments:
            path: the step.
            changes: whether it may change something; a reading needs no approval.

        Raises:
            LeaseError: (1) does not hold.
            Halt: (2) or (3) does not hold.
        """
        if not self._journal.lease.held():
            raise LeaseError(f"run {self._journal.state.run}: the lease is not held any more")
        if self._stop.wanted():
            raise Halt(self._stop.reason, cancelled=True)
        gate = self._covering.get(path)
        if not changes or gate is None or self._journal.state.finished.get(gate) == "skipped":
            return
        asked = self._journal.state.gates.get(gate)
        if asked is None or not asked.request:
            return  # a step failed before the gate, and this one belongs to the rescue
        request = request_of(self._gates[gate], asked, self._journal.state.launchers)
        verdict = check_gate(request, asked.votes, self._people(), now=self._clock())
        if not isinstance(verdict, Open):
            reason = f"the gate '{self._gates[gate].name}' is not open any more: {verdict}"
            self._journal.note(GuardTripped(guard="gate", reason=reason), step=path)
            raise Halt(reason, cancelled=False)


def request_of(node: PlannedGate, asked: GateState, launchers: set[str]) -> Request:
    """Make the request that votes are counted against, from the plan and what the log says was asked."""
    assert asked.asked_at is not None
    return Request(
        digest=asked.digest,
        needed=node.approvals,
        expires=timedelta(milliseconds=node.expires_ms),
        asked_at=asked.asked_at,
        excluded=frozenset(launchers),
    )


def _covering(plan: Plan) -> Mapping[str, str]:
    """Give, for each step, the last gate before it in the order of the text."""
    covering: dict[str, str] = {}
    gate = None
    for node in plan.walk():
        if isinstance(node, PlannedGate):
            gate = node.path
        elif gate is not None and not isinstance(node, PlannedBlock):
            covering[node.path] = gate
    return covering
