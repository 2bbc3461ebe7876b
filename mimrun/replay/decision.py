"""Decisions in words: what a worker decided with an entry that it wrote, or wants to decide with one that it would write."""

from __future__ import annotations

from mimrun.log import kinds
from mimrun.log.entry import Draft, LogEntry


def decision_of(entry: LogEntry | Draft) -> str:
    """Say what is decided, without where."""
    match entry.body:
        case kinds.RunWaiting() as body:
            return f"let the run rest, for {body.on}{_why(body.reason)}"
        case kinds.RunEnded() as body:
            return f"end the run: {body.status}{_why(body.reason)}"
        case kinds.GuardTripped() as body:
            return f"stop by a guard{_why(body.reason)}"
        case kinds.LockReleased() as body:
            return f"let go of the lock {body.resource}"
        case kinds.LoopExpanded() as body:
            return f"go through {body.count} items"
        case _:
            return _of_step(entry) or _of_attempt(entry) or _of_people(entry) or entry.kind.value


def _of_step(entry: LogEntry | Draft) -> str:
    match entry.body:
        case kinds.StepStarted() as body:
            hosts = ", ".join(body.targets[:5]) or "nobody"
            return f"begin the step on {hosts}"
        case kinds.StepFinished() as body:
            return f"end the step: {body.status}{_why(body.reason)}"
        case kinds.StepSkipped() as body:
            return f"leave it out{_why(body.reason)}"
        case kinds.StepVerified() as body:
            return f"count it as {'done' if body.passed else 'failed'}{_why(body.reason)}"
        case kinds.StepCaptured() as body:
            return f"keep the state {'before it' if body.when == 'before' else 'that it left'}{_why(body.reason)}"
        case kinds.StepCompared() as body:
            return f"find the state {body.found}{_why(body.reason)}"
        case kinds.StepRevertScheduled() as body:
            return f"take it back at {body.due_at}"
        case _:
            return ""


def _of_attempt(entry: LogEntry | Draft) -> str:
    match entry.body:
        case kinds.StepIntent() as body:
            again = f", attempt {entry.attempt}" if entry.attempt > 1 else ""
            return f"do {body.action} ({body.effect.value}){again}"
        case kinds.StepOutcome() as body:
            word = "changed" if body.changed else body.status
            return f"take it as {word}{_why(body.reason)}"
        case kinds.StepProbed() as body:
            return f"ask the target what became of it: {body.finding.value}"
        case kinds.StepInDoubt() as body:
            return f"ask a person what became of it{_why(body.reason)}"
        case _:
            return ""


def _of_people(entry: LogEntry | Draft) -> str:
    match entry.body:
        case kinds.GateRequested() as body:
            need = ", ".join(f"{one.count} {one.role}" for one in body.approvals) or "nobody"
            return f"ask {need} about {body.digest[7:19]}"
        case kinds.GateOpened() as body:
            return f"open the gate, by {body.by.replace('_', ' ')}"
        case kinds.GateClosed() as body:
            return f"close the gate, {body.reason}{_why(body.detail)}"
        case kinds.GateEscalated() as body:
            return f"ask {body.to} besides"
        case kinds.ManualRequested() as body:
            return f"ask {body.role} to do it"
        case _:
            return ""


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""
