"""The kinds that steer runs: stop verbs, locks, the kill switch, breakers, settled doubts, due reverts."""

from __future__ import annotations

from typing import Literal

from mimrun.log.field import Count, Moment, Name, Reason, Seq, Word
from mimrun.log.kind import Body, Kind

__all__ = [
    "BreakerClosed",
    "KillswitchLiftAgreed",
    "KillswitchPulled",
    "LockReleaseProposed",
    "LockReleased",
    "LockTaken",
    "RunAbortRequested",
    "RunCancelRequested",
    "RunPauseRequested",
    "RunResumeRequested",
    "StepCompared",
    "StepResolutionProposed",
    "StepRevertCancelled",
    "StepRevertScheduled",
]


class RunPauseRequested(Body):
    """Somebody asked for the run to rest: what is under way finishes, nothing new begins."""

    kind = Kind.RUN_PAUSE_REQUESTED
    blobs = frozenset({"reason"})
    reason: Reason


class RunResumeRequested(Body):
    """Somebody asked for a paused run to go on."""

    kind = Kind.RUN_RESUME_REQUESTED


class RunCancelRequested(Body):
    """Somebody asked for the run to stop."""

    kind = Kind.RUN_CANCEL_REQUESTED
    blobs = frozenset({"reason"})
    reason: Reason


class RunAbortRequested(Body):
    """Somebody asked for the run to stop at once: what is under way is left in doubt."""

    kind = Kind.RUN_ABORT_REQUESTED
    blobs = frozenset({"reason"})
    reason: Reason


class StepResolutionProposed(Body):
    """A first person said what became of a step in doubt; where the risk is high, a second must agree."""

    kind = Kind.STEP_RESOLUTION_PROPOSED
    blobs = frozenset({"reason", "evidence"})
    resolution: Literal["applied", "not_applied", "skip", "abort"]
    reason: Reason
    intent: Count
    iteration: Count = 0


class StepCompared(Body):
    """What an undo found before it began: the state that the run had left, the one before it, or another.

    `before` means that there is nothing to take back any more: the step counts as done.
    """

    kind = Kind.STEP_COMPARED
    blobs = frozenset({"data", "reason"})
    found: Literal["left", "before", "other", "unknown"]
    reason: Reason = ""
    iteration: Count = 0


class StepRevertScheduled(Body):
    """What the step did on this target is taken back at this moment, unless a person does it before."""

    kind = Kind.STEP_REVERT_SCHEDULED
    due_at: Moment
    outcome: Seq
    iteration: Count = 0


class StepRevertCancelled(Body):
    """Somebody let stand for good what the step did: it is not taken back when its time is up."""

    kind = Kind.STEP_REVERT_CANCELLED
    blobs = frozenset({"reason"})
    outcome: Seq
    reason: Reason
    iteration: Count = 0


class LockTaken(Body):
    """The run holds a resource: no other run may work on it. Each taking has a higher generation."""

    kind = Kind.LOCK_TAKEN
    resource: Name
    generation: Count


class LockReleaseProposed(Body):
    """A first person wants to take a resource from a run that cannot end; at high risk a second must agree."""

    kind = Kind.LOCK_RELEASE_PROPOSED
    blobs = frozenset({"reason"})
    resource: Name
    generation: Count
    reason: Reason


class LockReleased(Body):
    """The run lets go of a resource, or a person took it from a run that cannot."""

    kind = Kind.LOCK_RELEASED
    blobs = frozenset({"reason"})
    resource: Name
    generation: Count
    reason: Reason = ""


class KillswitchPulled(Body):
    """Somebody stopped everything: no run may begin anything until two people lift the switch.

    `latch` names the file that was written beside the log at the same time.
    """

    kind = Kind.KILLSWITCH_PULLED
    blobs = frozenset({"reason"})
    reason: Reason
    latch: Word = ""


class KillswitchLiftAgreed(Body):
    """One person agrees to lift the kill switch that this entry pulled."""

    kind = Kind.KILLSWITCH_LIFT_AGREED
    blobs = frozenset({"reason"})
    pulled: Seq
    reason: Reason


class BreakerClosed(Body):
    """Somebody lets a runbook be launched again after its runs failed several times in a row."""

    kind = Kind.BREAKER_CLOSED
    blobs = frozenset({"reason"})
    runbook: Name
    reason: Reason
