"""The kinds of log entries: a closed list, and what the body of each kind says.

A body holds short, plain facts. What may be long or personal (output, free text, a whole plan) goes
into a blob, which the entry only commits to; `blobs` names those that a kind may have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

from pydantic import model_validator

from mimrun.connector import Effect, Finding
from mimrun.log.field import Count, Digest, Name, Part, Reason, Seq, Title, Word
from mimrun.log.kind import Body as Body  # noqa: PLC0414 - this page is where others find both
from mimrun.log.kind import Kind as Kind  # noqa: PLC0414 - likewise
from mimrun.log.kinds_access import *  # noqa: F403 - one page for whoever reads or writes entries
from mimrun.log.kinds_alert import *  # noqa: F403 - likewise
from mimrun.log.kinds_change import *  # noqa: F403 - likewise
from mimrun.log.kinds_control import *  # noqa: F403 - likewise
from mimrun.log.kinds_gate import *  # noqa: F403 - likewise
from mimrun.log.kinds_incident import *  # noqa: F403 - likewise
from mimrun.log.kinds_manual import *  # noqa: F403 - likewise
from mimrun.log.kinds_proof import *  # noqa: F403 - likewise

TARGETS_SIZE = 8000
"""Bytes of target names that `step.started` keeps; the frozen plan has them all."""

Status: TypeAlias = Literal["ok", "failed", "unknown"]


class LogGenesis(Body):
    """The log begins."""

    kind = Kind.LOG_GENESIS
    format: Literal["mimlog/1"] = "mimlog/1"


class IncidentOpened(Body):
    """An incident is being worked on from now."""

    kind = Kind.INCIDENT_OPENED
    title: Title


class IncidentNote(Body):
    """A person or a program wrote something down; the words are in the blob."""

    kind = Kind.INCIDENT_NOTE
    blobs = frozenset({"text"})


class PlanFrozen(Body):
    """A plan was made and will not change; the blobs are its canonical JSON, and the runbooks that it was made of."""

    kind = Kind.PLAN_FROZEN
    blobs = frozenset({"plan", "runbooks"})
    digest: Digest
    runbook: Name
    version: Word
    runbook_digest: Digest
    title: Title
    stage: Word
    risk: Word


class RunCreated(Body):
    """Somebody asked for a frozen plan to be executed; perhaps to take another run back, or to repeat it."""

    kind = Kind.RUN_CREATED
    plan: Digest
    title: Title
    launched_by: Name
    direct: bool
    undo_of: Word = ""
    retry_of: Word = ""
    behalf: tuple[Name, ...] = ()


class RunStarted(Body):
    """A worker took the run's lease and executes it."""

    kind = Kind.RUN_STARTED
    worker: Name
    epoch: Count
    resumed: bool


class RunMode(Body):
    """From here on the run is driven in this way."""

    kind = Kind.RUN_MODE
    blobs = frozenset({"reason"})
    mode: Literal["prefect", "direct"]
    reason: Reason


class RunWaiting(Body):
    """The worker lets go of the run: a person must decide, act or settle a doubt, or a lock is not free."""

    kind = Kind.RUN_WAITING
    blobs = frozenset({"reason"})
    on: Literal["gate", "manual", "doubt", "lock", "pause", "killswitch"]
    reason: Reason


class Recap(Part):
    """How many targets ended how, in Ansible's words and one of ours."""

    ok: Count = 0
    changed: Count = 0
    failed: Count = 0
    unreachable: Count = 0
    skipped: Count = 0
    in_doubt: Count = 0


class RunEnded(Body):
    """The run is over for good; of an undo that left something standing, `reason` says what."""

    kind = Kind.RUN_ENDED
    blobs = frozenset({"reason"})
    runbook: Reason = ""
    status: Literal["succeeded", "failed", "cancelled"]
    reason: Reason
    recap: Recap


class StepStarted(Body):
    """A step begins. Of very many targets only the first are named; `count` is how many there are."""

    kind = Kind.STEP_STARTED
    name: Title
    form: Word
    targets: tuple[str, ...]
    count: Count = 0

    @model_validator(mode="before")
    @classmethod
    def _count_and_cut(cls, given: object) -> object:
        if not isinstance(given, Mapping) or not isinstance(targets := given.get("targets"), Sequence):
            return given
        kept, size = [], 0
        for target in targets:
            size += len(str(target).encode("utf-8", "backslashreplace")) + 3
            if size > TARGETS_SIZE:
                break
            kept.append(target)
        return {"count": len(targets), **given, "targets": kept}


class StepIntent(Body):
    """The next thing that happens is this action on this target; durable before it is performed."""

    kind = Kind.STEP_INTENT
    blobs = frozenset({"args"})
    action: Name
    effect: Effect
    key: Name
    args_digest: Digest
    deadline_ms: Count
    check_mode: bool
    iteration: Count = 0


class StepOutcome(Body):
    """What came of an intent; where it was not performed at all, the intent counts as if it had not been."""

    kind = Kind.STEP_OUTCOME
    blobs = frozenset({"data", "stdout", "stderr", "reason"})
    status: Status
    changed: bool
    clean: bool
    unreachable: bool
    reason: Reason
    dur_ms: Count
    intent: Seq
    iteration: Count = 0
    performed: bool = True


class StepProbed(Body):
    """What a probe says about an intent without an outcome."""

    kind = Kind.STEP_PROBED
    blobs = frozenset({"data", "stdout", "stderr", "reason"})
    finding: Finding
    reason: Reason
    intent: Seq
    iteration: Count = 0


class StepEvidence(Body):
    """What a worker saw that had lost its lease meanwhile: kept for the person, changes nothing."""

    kind = Kind.STEP_EVIDENCE
    blobs = frozenset({"data", "stdout", "stderr", "reason"})
    status: Status
    reason: Reason
    intent: Seq
    iteration: Count = 0


class StepInDoubt(Body):
    """A person must say what became of a step.

    `lost`: nobody knows whether the effect happened. `conflict`: an undo found another state than the
    run had left; `stuck`: an undo failed; both with nothing of it open.
    """

    kind = Kind.STEP_IN_DOUBT
    blobs = frozenset({"reason"})
    why: Literal["lost", "conflict", "stuck"] = "lost"
    reason: Reason
    intent: Count
    iteration: Count = 0


class StepResolved(Body):
    """A person said what became of a step in doubt."""

    kind = Kind.STEP_RESOLVED
    blobs = frozenset({"reason", "evidence"})
    resolution: Literal["applied", "not_applied", "skip", "abort"]
    reason: Reason
    intent: Count
    iteration: Count = 0


class StepSkipped(Body):
    """A step, or a step on one target, was not done, and why."""

    kind = Kind.STEP_SKIPPED
    blobs = frozenset({"reason"})
    reason: Reason
    iteration: Count = 0


class StepVerified(Body):
    """What the author's expectation says of an answer: `expect`, or the `verify` action."""

    kind = Kind.STEP_VERIFIED
    blobs = frozenset({"reason"})
    passed: bool
    reason: Reason
    iteration: Count = 0


class StepFinished(Body):
    """A step is over on all its targets."""

    kind = Kind.STEP_FINISHED
    blobs = frozenset({"reason", "data"})
    status: Literal["ok", "failed", "skipped"]
    reason: Reason


class StepCaptured(Body):
    """The state before an effect, or the one that was left after it, for undo; or why that cannot be read."""

    kind = Kind.STEP_CAPTURED
    blobs = frozenset({"data", "reason"})
    when: Literal["before", "after"] = "before"
    reason: Reason = ""
    iteration: Count = 0


class LoopExpanded(Body):
    """The items of a loop, as they were when it began."""

    kind = Kind.LOOP_EXPANDED
    blobs = frozenset({"items"})
    count: Count


class ExportMade(Body):
    """This incident, or the whole log, left the house."""

    kind = Kind.EXPORT_MADE
    entries: Count
    digest: Digest
    format: Word = "bundle"


class GuardTripped(Body):
    """A guard refused what was about to be done."""

    kind = Kind.GUARD_TRIPPED
    blobs = frozenset({"reason"})
    guard: Word
    reason: Reason


BODIES: Mapping[Kind, type[Body]] = MappingProxyType({body.kind: body for body in Body.__subclasses__()})
"""The body type of every kind."""
