"""How much an entry asks for somebody's attention, for formats that want to be told."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind


class Weight(IntEnum):
    """From what is usual to what somebody should look at now."""

    USUAL = 1
    NOTABLE = 2
    WARNING = 3
    SERIOUS = 4
    CRITICAL = 5


WEIGHTS: Final = {
    Kind.LOG_KEY: Weight.NOTABLE,
    Kind.LOG_KEY_RETIRED: Weight.NOTABLE,
    Kind.LOG_ACCEPTED: Weight.SERIOUS,
    Kind.LOG_MOVED: Weight.NOTABLE,
    Kind.INCIDENT_OPENED: Weight.NOTABLE,
    Kind.RUN_PAUSE_REQUESTED: Weight.NOTABLE,
    Kind.RUN_CANCEL_REQUESTED: Weight.NOTABLE,
    Kind.RUN_ABORT_REQUESTED: Weight.WARNING,
    Kind.STEP_EVIDENCE: Weight.WARNING,
    Kind.STEP_IN_DOUBT: Weight.SERIOUS,
    Kind.STEP_RESOLUTION_PROPOSED: Weight.NOTABLE,
    Kind.STEP_RESOLVED: Weight.NOTABLE,
    Kind.STEP_REVERT_CANCELLED: Weight.NOTABLE,
    Kind.GATE_DECIDED: Weight.NOTABLE,
    Kind.GATE_CLOSED: Weight.NOTABLE,
    Kind.GATE_ESCALATED: Weight.WARNING,
    Kind.CHANGE_DECIDED: Weight.NOTABLE,
    Kind.BREAKGLASS_ASKED: Weight.SERIOUS,
    Kind.BREAKGLASS_AGREED: Weight.SERIOUS,
    Kind.BREAKGLASS_OPENED: Weight.CRITICAL,
    Kind.BREAKGLASS_PACKED: Weight.NOTABLE,
    Kind.BREAKGLASS_UNPACKED: Weight.SERIOUS,
    Kind.BREAKGLASS_MERGED: Weight.SERIOUS,
    Kind.RULES_RECORDED: Weight.NOTABLE,
    Kind.TOKEN_CREATED: Weight.NOTABLE,
    Kind.TOKEN_REVOKED: Weight.NOTABLE,
    Kind.MANUAL_ATTESTED: Weight.NOTABLE,
    Kind.MANUAL_DISPUTED: Weight.WARNING,
    Kind.MANUAL_REPORTED: Weight.NOTABLE,
    Kind.SHELL_OPENED: Weight.NOTABLE,
    Kind.LOCK_RELEASE_PROPOSED: Weight.NOTABLE,
    Kind.KILLSWITCH_PULLED: Weight.CRITICAL,
    Kind.KILLSWITCH_LIFT_AGREED: Weight.SERIOUS,
    Kind.BREAKER_CLOSED: Weight.NOTABLE,
    Kind.EXPORT_MADE: Weight.NOTABLE,
    Kind.REDACT_PROPOSED: Weight.NOTABLE,
    Kind.REDACT_APPLIED: Weight.WARNING,
    Kind.GUARD_TRIPPED: Weight.WARNING,
}
"""What a kind weighs; one that is not listed is usual."""


def weight_of(entry: LogEntry) -> Weight:
    """Say what an entry weighs: what its kind does, and more where something went wrong."""
    match entry.body:
        case kinds.RunEnded(status="failed"):
            return Weight.SERIOUS
        case kinds.StepOutcome(status="failed" | "unknown") | kinds.StepFinished(status="failed"):
            return Weight.WARNING
        case kinds.StepVerified(passed=False) | kinds.LogAnchored(done=False):
            return Weight.WARNING
        case _:
            return WEIGHTS.get(entry.kind, Weight.USUAL)
