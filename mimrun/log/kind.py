"""The closed list of what an entry can be about, and what every body has in common."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Self

from mimrun.log.field import Part


class Kind(StrEnum):
    """What an entry is about. `<noun>.<what happened to it>`."""

    LOG_GENESIS = "log.genesis"
    LOG_KEY = "log.key"
    LOG_KEY_RETIRED = "log.key_retired"
    LOG_HEADS = "log.heads"
    LOG_ANCHORED = "log.anchored"
    LOG_ACCEPTED = "log.accepted"
    LOG_MOVED = "log.moved"
    INCIDENT_OPENED = "incident.opened"
    INCIDENT_PRIORITIZED = "incident.prioritized"
    INCIDENT_NOTE = "incident.note"
    INCIDENT_ATTACHED = "incident.attached"
    PLAN_FROZEN = "plan.frozen"
    RUN_CREATED = "run.created"
    RUN_STARTED = "run.started"
    RUN_MODE = "run.mode"
    RUN_WAITING = "run.waiting"
    RUN_ENDED = "run.ended"
    RUN_PAUSE_REQUESTED = "run.pause_requested"
    RUN_RESUME_REQUESTED = "run.resume_requested"
    RUN_CANCEL_REQUESTED = "run.cancel_requested"
    RUN_ABORT_REQUESTED = "run.abort_requested"
    STEP_STARTED = "step.started"
    STEP_INTENT = "step.intent"
    STEP_OUTCOME = "step.outcome"
    STEP_PROBED = "step.probed"
    STEP_EVIDENCE = "step.evidence"
    STEP_IN_DOUBT = "step.in_doubt"
    STEP_RESOLUTION_PROPOSED = "step.resolution_proposed"
    STEP_RESOLVED = "step.resolved"
    STEP_SKIPPED = "step.skipped"
    STEP_VERIFIED = "step.verified"
    STEP_FINISHED = "step.finished"
    STEP_CAPTURED = "step.captured"
    STEP_COMPARED = "step.compared"
    STEP_REVERT_SCHEDULED = "step.revert_scheduled"
    STEP_REVERT_CANCELLED = "step.revert_cancelled"
    LOOP_EXPANDED = "loop.expanded"
    GATE_REQUESTED = "gate.requested"
    GATE_DECIDED = "gate.decided"
    GATE_OPENED = "gate.opened"
    GATE_CLOSED = "gate.closed"
    GATE_ESCALATED = "gate.escalated"
    CHANGE_OPENED = "change.opened"
    CHANGE_EDITED = "change.edited"
    CHANGE_MOVED = "change.moved"
    CHANGE_DECIDED = "change.decided"
    CHANGE_LINKED = "change.linked"
    CHANGE_READ = "change.read"
    CHANGE_WRITING = "change.writing"
    CHANGE_WRITTEN = "change.written"
    BREAKGLASS_ASKED = "breakglass.asked"
    BREAKGLASS_AGREED = "breakglass.agreed"
    BREAKGLASS_OPENED = "breakglass.opened"
    BREAKGLASS_PACKED = "breakglass.packed"
    BREAKGLASS_UNPACKED = "breakglass.unpacked"
    BREAKGLASS_MERGED = "breakglass.merged"
    RULES_RECORDED = "rules.recorded"
    TOKEN_CREATED = "token.created"  # noqa: S105 - the name of a kind
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - likewise
    NOTICE_SENDING = "notice.sending"
    NOTICE_SENT = "notice.sent"
    MANUAL_REQUESTED = "manual.requested"
    MANUAL_CLAIMED = "manual.claimed"
    MANUAL_RELEASED = "manual.released"
    MANUAL_HANDED_OVER = "manual.handed_over"
    MANUAL_CHECKED = "manual.checked"
    MANUAL_ATTESTED = "manual.attested"
    MANUAL_CONFIRMED = "manual.confirmed"
    MANUAL_DISPUTED = "manual.disputed"
    MANUAL_REPORTED = "manual.reported"
    SHELL_OPENED = "shell.opened"
    SHELL_RECORDED = "shell.recorded"
    SHELL_CLOSED = "shell.closed"
    LOCK_TAKEN = "lock.taken"
    LOCK_RELEASE_PROPOSED = "lock.release_proposed"
    LOCK_RELEASED = "lock.released"
    KILLSWITCH_PULLED = "killswitch.pulled"
    KILLSWITCH_LIFT_AGREED = "killswitch.lift_agreed"
    BREAKER_CLOSED = "breaker.closed"
    EXPORT_MADE = "export.made"
    REDACT_PROPOSED = "redact.proposed"
    REDACT_APPLIED = "redact.applied"
    GUARD_TRIPPED = "guard.tripped"


class Body(Part):
    """What an entry of one kind says."""

    kind: ClassVar[Kind]
    blobs: ClassVar[frozenset[str]] = frozenset()
    """Names of the blobs that an entry of this kind may have."""

    def explicit(self) -> Self:
        """The same body with every default written out, so that a default may change later."""
        return type(self).model_validate(self.model_dump())
