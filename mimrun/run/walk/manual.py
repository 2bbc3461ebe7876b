"""Manual steps: a person is asked, and their signed word is taken up. No process stays while they work."""

from __future__ import annotations

from collections.abc import Sequence

from mimrun.errors import InputError
from mimrun.log.entry import Blob
from mimrun.log.kinds import ManualField, ManualRequested, StepFinished
from mimrun.run.cell.answer import evidence_of
from mimrun.run.cell.facts import Condition, Facts
from mimrun.run.journal import Journal
from mimrun.run.record.manual_state import ANYBODY, ManualState, ManualStatus
from mimrun.run.walk.result import Done, Failed, Parked, Result
from mimrun.runbook.expression import render
from mimrun.runbook.node import PlannedManual


class ManualSteps:
    """Asks for manual work, and takes up what people said of it.

    Arguments:
        journal, facts: the worker's.
    """

    def __init__(self, journal: Journal, facts: Facts) -> None:
        self._journal, self._facts = journal, facts

    def do(self, node: PlannedManual, conditions: Sequence[Condition]) -> Result:
        """Ask for the work, wait for it, or take up a person's word that it is done, or cannot be."""
        if self._facts.unmet(conditions, "") is not None:
            return self._finish(node, "skipped")
        known = self._journal.state.manuals.get(node.path)
        if known is None:
            failed = self._ask(node)
            return failed or Parked("manual", node.path, _open(node, None))
        if known.status is ManualStatus.FAILED:
            reason = f"{known.by} could not do it: {known.reason}"
            self._finish(node, "failed", reason)
            return Failed(f"manual step '{node.name}': {reason}")
        if known.is_done:
            self.recall(node)
            return self._finish(node, "ok")
        return Parked("manual", node.path, _open(node, known))

    def recall(self, node: PlannedManual) -> None:
        """Take up the evidence that a person left."""
        known = self._journal.state.manuals.get(node.path)
        if node.register_ and known and known.is_done:
            evidence = evidence_of(self._journal.store, known)
            self._facts.register(node.register_, "", evidence, source=known.attested, path=node.path)

    def _ask(self, node: PlannedManual) -> Failed | None:
        """Ask for it; give why that cannot be."""
        try:
            # What is rendered already is data by now, and is never parsed again.
            known = self._facts.variables("", path=node.path)
            text = str(render(node.instructions, known)) if node.late else node.instructions
        except InputError as exc:
            self._finish(node, "failed", str(exc))
            return Failed(f"manual step '{node.name}': {exc}")
        body = ManualRequested(
            role=node.role or ANYBODY,
            fields=tuple(
                ManualField(name=n, type=e.type, required=e.required) for n, e in node.evidence.items()
            ),
            checklist=node.checklist,
            second=node.second,
            remind_ms=node.remind_ms,
        )
        self._journal.note(body, step=node.path, blobs=[Blob("instructions", text.encode(), "text")])
        return None

    def _finish(self, node: PlannedManual, status: str, reason: str = "") -> Result:
        body = StepFinished.model_validate({"status": status, "reason": reason})
        self._journal.write(self._journal.draft(body, step=node.path))
        return Done()


def _open(node: PlannedManual, known: ManualState | None) -> str:
    """Say what a manual step waits for."""
    if known is not None and known.status is ManualStatus.ATTESTED:
        return f"'{node.name}' is to be confirmed by {known.second}, another person than {known.by}"
    return f"'{node.name}' is to be done by {node.role or ANYBODY}"
