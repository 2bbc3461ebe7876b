"""Steps that wait for people: gates and manual work. No process stays while they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import assert_never

from pydantic import JsonValue

from mimrun.errors import InputError, TamperError
from mimrun.gate.approval import Closed, ClosedBy, Open, Waiting, check_gate
from mimrun.gate.people import People
from mimrun.log.entry import Blob
from mimrun.log.kinds import (
    Body,
    GateClosed,
    GateOpened,
    GateRequested,
    ManualField,
    ManualRequested,
    RoleCount,
    StepFinished,
)
from mimrun.run.answer import evidence_of
from mimrun.run.facts import Condition, Facts
from mimrun.run.guard import request_of
from mimrun.run.journal import Journal
from mimrun.run.result import Denied, Done, Failed, Parked, Result
from mimrun.run.state import GateState
from mimrun.runbook.expression import render
from mimrun.runbook.model import OnTimeout
from mimrun.runbook.node import Node, PlannedGate, PlannedManual
from mimrun.runbook.plan import Plan, Segment
from mimrun.runbook.render import render_nodes

ANYBODY = "anybody"
"""The role that the log names for a manual step that everybody may attest."""


class PeopleSteps:
    """Does gates and manual steps.

    Arguments:
        plan: the frozen plan.
        journal, facts: the worker's.
        people: reads the people file again when it has changed.
        clock: the present moment, UTC.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        facts: Facts,
        people: Callable[[], People],
        clock: Callable[[], datetime],
    ) -> None:
        self._plan, self._journal, self._facts = plan, journal, facts
        self._people, self._clock = people, clock

    def gate(self, node: PlannedGate, conditions: Sequence[Condition]) -> Result:
        """Ask people, or count what they said. The segment is rendered anew each time:

        1. What stands behind the gate now must be what was asked for; otherwise votes are void.
        2. The votes for this very digest are counted with the roles that people have now.
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
        request = request_of(node, asked, self._journal.state.launchers)
        verdict = check_gate(request, asked.votes, self._people(), now=self._clock())
        match verdict:
            case Open():
                return self._finish(node, "ok", first=GateOpened(digest=asked.digest))
            case Waiting(missing):
                need = ", ".join(f"{count} {role}" for role, count in missing.items())
                return Parked("gate", node.path, f"'{node.name}' needs {need}")
            case Closed(ClosedBy.EXPIRED, detail) if node.on_timeout is OnTimeout.ESCALATE:
                self._journal.note(_closed(asked, "expired", detail), step=node.path)
                return self._ask(node, segment)
            case Closed(by, detail):
                self._finish(node, "failed", detail, first=_closed(asked, by.value, detail))
                return Denied(f"gate '{node.name}': {detail}")
            case _:
                assert_never(verdict)

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
        """Ask for the work, or take up a person's word that it is done."""
        if not self._wanted(conditions):
            return self._finish(node, "skipped")
        asked = self._journal.state.manuals.get(node.path)
        if asked is None:
            try:
                # What is rendered already is data by now, and is never parsed again.
                waits = bool(node.late)
                known = self._facts.variables("", path=node.path)
                text = str(render(node.instructions, known)) if waits else node.instructions
            except InputError as exc:
                self._finish(node, "failed", str(exc))
                return Failed(f"manual step '{node.name}': {exc}")
            fields = [ManualField(name=n, type=e.type, required=e.required) for n, e in node.evidence.items()]
            body = ManualRequested(role=node.role or ANYBODY, fields=tuple(fields))
            self._journal.note(body, step=node.path, blobs=[Blob("instructions", text.encode(), "text")])
        elif asked.attested:
            self.recall(node)
            return self._finish(node, "ok")
        return Parked("manual", node.path, f"'{node.name}' is to be done by {node.role or ANYBODY}")

    def recall(self, node: PlannedManual) -> None:
        """Take up the evidence that a person left."""
        known = self._journal.state.manuals.get(node.path)
        if node.register_ and known and known.attested:
            evidence = evidence_of(self._journal.store, known)
            self._facts.register(node.register_, "", evidence, source=known.attested, path=node.path)

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
        body = GateRequested(
            digest=segment.digest,
            title=node.name,
            change=node.change,
            risk=self._plan.runbook.risk,
            approvals=tuple(RoleCount(role=need.role, count=need.count) for need in node.approvals),
            expires_at=self._clock() + timedelta(milliseconds=node.expires_ms),
            on_timeout=node.on_timeout,
        )
        self._journal.note(body, step=node.path, blobs=[Blob("segment", segment.encode(), "plan")])
        need = ", ".join(f"{need.count} {need.role}" for need in node.approvals)
        return Parked("gate", node.path, f"'{node.name}' needs {need}")

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
