"""What is done: the sentences of runs, steps, locks and guards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from mimrun.log.entry import LogEntry
from mimrun.log.export.telling import Names, at, big, count, on, pick, short, span, who, why
from mimrun.log.kinds import Kind

_WAITS: Final = {
    "gate": "waits for people to agree",
    "manual": "waits for work by hand",
    "doubt": "waits for somebody to say what became of a step",
    "lock": "waits for something that another run holds",
    "pause": "rests, as somebody asked",
    "killswitch": "rests: the kill switch is pulled",
}
_SETTLED: Final = {
    "applied": "it happened",
    "not_applied": "it did not happen",
    "skip": "the step is left out",
    "abort": "the run ends here",
}
_FOUND: Final = {
    "left": "things are as the run left them",
    "before": "things are as they were before; nothing is left to take back",
    "other": "somebody has changed it since",
    "unknown": "nobody can say how things are",
}
_PROBED: Final = {"applied": "it happened", "not_applied": "it did not happen"}


def _created(e: LogEntry, b: Any, _: Names) -> str:
    launched = "asked for" if e.actor.kind == "person" else "launched"
    of = f", to take back {b.undo_of}" if b.undo_of else f", to repeat {b.retry_of}" if b.retry_of else ""
    return f"{who(e)} {launched} {b.title} ({e.run}{of})"


def _started(e: LogEntry, b: Any, n: Names) -> str:
    title = n.runs.get(e.run, e.run)
    return f"{title} goes on, on {b.worker}" if b.resumed else f"{title} begins, on {b.worker}"


def _mode(_: LogEntry, b: Any, __: Names) -> str:
    return "Prefect drives the run" if b.mode == "prefect" else f"The run goes without Prefect{why(b.reason)}"


def _ended(e: LogEntry, b: Any, n: Names) -> str:
    counts = ", ".join(f"{number} {word}" for word, number in b.recap.model_dump().items() if number)
    title = n.runs.get(e.run, e.run)
    return f"{title} {b.status}" + (f" ({counts})" if counts else "") + why(b.reason)


def _step_started(e: LogEntry, b: Any, _: Names) -> str:
    first = ", ".join(b.targets[:3])
    more = f" and {b.count - 3} more" if b.count > 3 else ""
    where = f", on {first}{more}" if b.targets else ""
    return f"Step {e.step} begins: {b.name}{where}"


def _outcome(e: LogEntry, b: Any, n: Names) -> str:
    place, took = n.place(e), span(b.dur_ms)
    if not b.performed:
        return f"{big(place)} was not begun{why(b.reason)}"
    match b.status:
        case "ok":
            return (
                f"{big(place)} is done ({'something changed' if b.changed else 'nothing to change'}, {took})"
            )
        case "failed":
            how = "could not be reached" if b.unreachable else "failed" if b.clean else "failed half done"
            return f"{big(place)} {how} after {took}{why(b.reason)}"
        case _:
            return f"Nobody knows what became of {place}{why(b.reason)}"


def _verified(e: LogEntry, b: Any, n: Names) -> str:
    return (
        f"{big(n.place(e))} was verified"
        if b.passed
        else f"{big(n.place(e))} is not what was expected{why(b.reason)}"
    )


def _finished(e: LogEntry, b: Any, n: Names) -> str:
    return f"{big(n.step(e))} is over: {b.status}{why(b.reason)}"


WORK: Final[Mapping[Kind, Callable[[LogEntry, Any, Names], str]]] = MappingProxyType(
    {
        Kind.PLAN_FROZEN: lambda _e, b, _n: (
            f"The plan of {b.runbook}@{b.version} is frozen ({short(b.digest)})"
        ),
        Kind.RUN_CREATED: _created,
        Kind.RUN_STARTED: _started,
        Kind.RUN_MODE: _mode,
        Kind.RUN_WAITING: lambda _e, b, _n: f"The run {pick(_WAITS, b.on)}{why(b.reason)}",
        Kind.RUN_ENDED: _ended,
        Kind.RUN_PAUSE_REQUESTED: lambda e, b, _n: f"{who(e)} let the run rest{why(b.reason)}",
        Kind.RUN_RESUME_REQUESTED: lambda e, _b, _n: f"{who(e)} let the run go on",
        Kind.RUN_CANCEL_REQUESTED: lambda e, b, _n: f"{who(e)} cancelled the run{why(b.reason)}",
        Kind.RUN_ABORT_REQUESTED: lambda e, b, _n: f"{who(e)} aborted the run{why(b.reason)}",
        Kind.STEP_STARTED: _step_started,
        Kind.STEP_INTENT: lambda e, b, _n: (
            f"{b.action} is performed{on(e)}" + (f", attempt {e.attempt}" if e.attempt > 1 else "")
        ),
        Kind.STEP_OUTCOME: _outcome,
        Kind.STEP_PROBED: lambda e, b, n: (
            f"A look at {n.place(e)} says that {pick(_PROBED, str(b.finding))}{why(b.reason)}"
        ),
        Kind.STEP_EVIDENCE: lambda e, b, n: (
            f"{big(who(e))}, which had lost the run, saw {n.place(e)} end: {b.status}{why(b.reason)}"
        ),
        Kind.STEP_IN_DOUBT: lambda e, b, n: f"{big(n.place(e))} is in doubt{why(b.reason)}",
        Kind.STEP_RESOLUTION_PROPOSED: lambda e, b, n: (
            f"{who(e)} says of {n.place(e)} that {pick(_SETTLED, b.resolution)}, and a second person must agree"
            + why(b.reason)
        ),
        Kind.STEP_RESOLVED: lambda e, b, n: (
            f"{who(e)} settled {n.place(e)}: {pick(_SETTLED, b.resolution)}{why(b.reason)}"
        ),
        Kind.STEP_SKIPPED: lambda e, b, n: f"{big(n.place(e))} was left out{why(b.reason)}",
        Kind.STEP_VERIFIED: _verified,
        Kind.STEP_FINISHED: _finished,
        Kind.STEP_CAPTURED: lambda e, b, n: (
            f"The state {'before' if b.when == 'before' else 'left by'} {n.place(e)} was kept{why(b.reason)}"
        ),
        Kind.STEP_COMPARED: lambda e, b, n: (
            f"Before {n.place(e)} is taken back: {pick(_FOUND, b.found)}{why(b.reason)}"
        ),
        Kind.STEP_REVERT_SCHEDULED: lambda e, b, n: f"{big(n.place(e))} is taken back at {at(b.due_at)}",
        Kind.STEP_REVERT_CANCELLED: lambda e, b, n: f"{who(e)} lets {n.place(e)} stand{why(b.reason)}",
        Kind.LOOP_EXPANDED: lambda e, b, n: f"{big(n.step(e))} is done for {count(b.count, 'item')}",
        Kind.GUARD_TRIPPED: lambda e, b, n: (
            f"A guard ({b.guard}) stopped {n.place(e) if e.step else 'the run'}{why(b.reason)}"
        ),
        Kind.LOCK_TAKEN: lambda _e, b, _n: f"The run holds {b.resource}",
        Kind.LOCK_RELEASE_PROPOSED: lambda e, b, _n: (
            f"{who(e)} wants to take {b.resource} from the run, and a second person must agree{why(b.reason)}"
        ),
        Kind.LOCK_RELEASED: lambda e, b, _n: (
            f"{who(e)} took {b.resource} from the run{why(b.reason)}"
            if e.actor.kind == "person"
            else f"The run lets go of {b.resource}{why(b.reason)}"
        ),
        Kind.BREAKER_CLOSED: lambda e, b, _n: f"{who(e)} lets {b.runbook} be launched again{why(b.reason)}",
        Kind.KILLSWITCH_PULLED: lambda e, b, _n: f"{who(e)} pulled the kill switch{why(b.reason)}",
        Kind.KILLSWITCH_LIFT_AGREED: lambda e, b, _n: f"{who(e)} wants the kill switch lifted{why(b.reason)}",
    }
)
"""The sentences of runs, steps, locks and guards."""
