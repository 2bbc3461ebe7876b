"""Steps that wait for people: gates and manual work. No process stays while they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import assert_never

from pydantic import JsonValue

from mimrun.errors import TamperError
from mimrun.gate.approval import Closed, ClosedBy, Open, Waiting
from mimrun.gate.terms import Terms
from mimrun.log.entry import Blob
from mimrun.log.kinds import (
    Body,
    GateClosed,
    GateEscalated,
    GateOpened,
    GateRequested,
    RoleCount,
    StepFinished,
)
from mimrun.run.cell.facts import Condition, Facts
from mimrun.run.cell.permit import Permit, shown_change
from mimrun.run.journal import Journal
from mimrun.run.record.state import GateState
from mimrun.run.walk.manual import ManualSteps
from mimrun.run.walk.result import Denied, Done, Parked, Result
from mimrun.runbook.model import OnTimeout
from mimrun.runbook.node import Node, PlannedGate, PlannedManual
from mimrun.runbook.plan import Plan, Segment
from mimrun.runbook.render import render_nodes


class PeopleSteps:
    """Does gates and manual steps.

    Arguments:
        plan: the frozen plan.
        journal, facts: the worker's.
        permit: what the rules say at this moment.
        clock: the present moment, UTC.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        facts: Facts,
        permit: Permit,
        clock: Callable[[], datetime],
    ) -> None:
        self._plan, self._journal, self._facts = plan, journal, facts
        self._manual_steps = ManualSteps(journal, facts)
        self._permit, self._clock = permit, clock

    def gate(self, node: PlannedGate, conditions: Sequence[Condition]) -> Result:
        """Ask people, or count what they said. The segment is rendered anew each time:

        1. What stands behind the gate now must be what was asked for; otherwise votes are void.
        2. The votes for this very digest are counted by the rules as they are now; where those ask for something
           else than people were asked, votes are void as well.
        3. Where nobody decided in time, the next role is asked besides; or all of them anew, or the run ends.
        """
        if not self._wanted(conditions):
            return self._finish(node, "skipped")
        segment = self._segment(node)
        asked = self._journal.state.gates.get(node.path)
        if asked is None or not asked.request or asked.closed:
            return self._ask(node, segment)
        if asked.digest != segment.digest:
            changed = "what stands behind the gate is not what was asked for"
            self._journal.note(_closed(asked, "void", changed), step=node.path)
            return self._ask(node, segment)
        verdict = self._permit.verdict(node, self._journal.state)
        match verdict:
            case Open():
                return self._open(node, asked, verdict)
            case Waiting():
                return Parked("gate", node.path, f"'{node.name}' needs {verdict.needs}")
            case Closed(ClosedBy.VOID, detail):
                self._journal.note(_closed(asked, "void", detail), step=node.path)
                return self._ask(node, segment)
            case Closed(ClosedBy.EXPIRED, detail):
                return self._late(node, asked, segment, detail)
            case Closed(by, detail):
                return self._deny(node, asked, by, detail)
            case _:
                assert_never(verdict)

    def _open(self, node: PlannedGate, asked: GateState, verdict: Open) -> Result:
        body = GateOpened(digest=asked.digest, by=verdict.by, because=verdict.because)
        return self._finish(node, "ok", first=body)

    def _deny(self, node: PlannedGate, asked: GateState, by: ClosedBy, detail: str) -> Result:
        self._finish(node, "failed", detail, first=_closed(asked, by.value, detail))
        return Denied(f"gate '{node.name}': {detail}")

    def _late(self, node: PlannedGate, asked: GateState, segment: Segment, detail: str) -> Result:
        """Do what the terms say for the case that nobody decided in time; it is never an approval."""
        terms = self._permit.terms(node)
        if terms.on_timeout is not OnTimeout.ESCALATE:
            return self._deny(node, asked, ClosedBy.EXPIRED, detail)
        if not terms.escalation:
            self._journal.note(_closed(asked, "expired", detail), step=node.path)
            return self._ask(node, segment)
        if asked.rounds >= len(terms.escalation):
            everybody = f"{detail}, and everybody who could be asked was asked"
            return self._deny(node, asked, ClosedBy.EXPIRED, everybody)
        to = terms.escalation[asked.rounds]
        body = GateEscalated(digest=asked.digest, to=to, round=asked.rounds + 1)
        self._journal.note(body, step=node.path)
        return Parked("gate", node.path, f"'{node.name}' was not decided in time; {to} may decide besides")

    def frozen(self, gate: str) -> tuple[Node, ...]:
        """Give the steps that people agreed to at an open gate, exactly as they were shown.

        Raises:
            TamperError: the stored segment is not the one with the approved digest.
        """
        asked = self._journal.state.gates[gate]
        entry = self._journal.store.entry(asked.request)
        segment = Segment.decode(self._journal.store.blob(entry, "segment") or b"{}")
        if segment.digest != asked.digest or segment.plan != self._plan.digest:
            raise TamperError(
                f"entry {asked.request}: the steps behind gate {gate} are not those that were approved"
                f" ({segment.digest[:19]}, approved {asked.digest[:19]}); nothing was done"
            )
        return segment.nodes

    def manual(self, node: PlannedManual, conditions: Sequence[Condition]) -> Result:
        """Ask for the work, or take up what a person said of it."""
        return self._manual_steps.do(node, conditions)

    def recall(self, node: PlannedManual) -> None:
        """Take up the evidence that a person left."""
        self._manual_steps.recall(node)

    def _segment(self, node: PlannedGate) -> Segment:
        return Segment(
            plan=self._plan.digest,
            run=self._journal.state.run,
            gate=node.path,
            facts=self._facts.digest(),
            nodes=render_nodes(self._plan.segment_after(node.path), self._known),
        )

    def _known(self, target: str, path: str) -> dict[str, JsonValue]:
        return self._facts.variables(target, path=path)

    def _ask(self, node: PlannedGate, segment: Segment) -> Result:
        """Ask people, or see that nobody need be asked."""
        terms = self._permit.terms(node)
        body = self._question(node, segment, terms)
        self._journal.note(body, step=node.path, blobs=[Blob("segment", segment.encode(), "plan")])
        asked = self._journal.state.gates[node.path]
        self._permit.asked(node, self._journal.state)
        verdict = self._permit.verdict(node, self._journal.state)
        if isinstance(verdict, Open):
            return self._open(node, asked, verdict)
        people = ", ".join(f"{need.count} {need.role}" for need in terms.approvals)
        needs = verdict.needs if isinstance(verdict, Waiting) else people
        return Parked("gate", node.path, f"'{node.name}' needs {needs}")

    def _question(self, node: PlannedGate, segment: Segment, terms: Terms) -> GateRequested:
        return GateRequested(
            digest=segment.digest,
            title=node.name,
            change=shown_change(node, terms),
            risk=self._plan.runbook.risk,
            approvals=tuple(RoleCount(role=need.role, count=need.count) for need in terms.approvals),
            expires_at=self._clock() + timedelta(milliseconds=terms.expires_ms),
            on_timeout=terms.on_timeout,
            freeze_override=terms.freeze_override,
            signed=terms.signed,
            escalation=len(terms.escalation),
            because=terms.because,
        )

    def _wanted(self, conditions: Sequence[Condition]) -> bool:
        return self._facts.unmet(conditions, "") is None

    def _finish(
        self, node: PlannedGate | PlannedManual, status: str, reason: str = "", *, first: Body | None = None
    ) -> Result:
        """Record the end of a step, together with what it follows from: a crash does not come in between."""
        bodies = [StepFinished.model_validate({"status": status, "reason": reason})]
        drafts = [self._journal.draft(body, step=node.path) for body in ([first] if first else []) + bodies]
        self._journal.write(*drafts)
        return Done()


def _closed(asked: GateState, reason: str, detail: str) -> GateClosed:
    return GateClosed.model_validate({"digest": asked.digest, "reason": reason, "detail": detail})
