"""Entries of a run, made without a log, for tests of what folds them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from mimrun.connector import Effect
from mimrun.log.entry import NOTHING, Actor, LogEntry
from mimrun.log.kinds import (
    Body,
    PlanFrozen,
    Recap,
    RunCreated,
    RunEnded,
    RunStarted,
    StepIntent,
    StepOutcome,
)

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
WORKER = Actor("worker", "host:1", "engine", "lease")


def entry(
    body: Body,
    seq: int,
    *,
    step: str = "",
    target: str = "",
    epoch: int = 0,
    actor: Actor = WORKER,
    run: str = "run-1",
) -> LogEntry:
    """Give one entry, recorded a second after the one before."""
    return LogEntry(
        log="test",
        seq=seq,
        ts=AT + timedelta(seconds=seq),
        inc="INC-1",
        iseq=seq,
        iprev=NOTHING,
        actor=actor,
        run=run,
        step=step,
        target=target,
        attempt=0,
        epoch=epoch,
        body=body,
        blobs=(),
        prev=NOTHING,
    )


def cell_entry(body: Body, seq: int, epoch: int = 1) -> LogEntry:
    """Give an entry about step 1 on host a."""
    return entry(body, seq, step="1", target="a", epoch=epoch)


def history(bodies: Iterable[Body], first: int = 1) -> list[LogEntry]:
    """Give entries of the run itself, one behind the other."""
    return [entry(body, seq) for seq, body in enumerate(bodies, start=first)]


FROZEN = PlanFrozen(
    digest=DIGEST,
    runbook="test",
    version="1.0.0",
    runbook_digest=DIGEST,
    title="A test",
    stage="containment",
    risk="high",
)
CREATED = RunCreated(plan=DIGEST, title="A test", launched_by="responder", direct=True)


def started(epoch: int) -> RunStarted:
    """A worker takes over."""
    return RunStarted(worker="host:1", epoch=epoch, resumed=epoch > 1)


def ended(status: str = "succeeded", reason: str = "") -> RunEnded:
    """The run is over."""
    return RunEnded.model_validate({"status": status, "reason": reason, "recap": Recap()})


def intent(effect: Effect = Effect.ONCE) -> StepIntent:
    """An action is about to be performed."""
    return StepIntent(
        action="world.once",
        effect=effect,
        key="k",
        args_digest=DIGEST,
        deadline_ms=1000,
        check_mode=False,
    )


def outcome(status: str, of: int, *, clean: bool = False, changed: bool = False) -> StepOutcome:
    """What came of the intent `of`."""
    return StepOutcome.model_validate(
        {
            "status": status,
            "changed": changed,
            "clean": clean,
            "unreachable": False,
            "reason": "" if status == "ok" else "because",
            "dur_ms": 1,
            "intent": of,
        }
    )
