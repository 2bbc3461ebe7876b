"""What a worker may go on with by itself: one pure decision for every worker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mimrun.run.record.summary import RunSummary
from mimrun.run.record.transitions import RunStatus


class Why(StrEnum):
    """Why a run is gone on with."""

    DIED = "its worker died"
    LOCK = "the lock that it waited for is free"
    GATE = "its gate was decided, or its time is up"
    TIMER = "its time has come"
    RULE = "a rule launched it"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run, and what cannot be seen from its summary.

    Arguments:
        held: a process executes it.
        ready: what it waits for, a gate or a lock, does not hold it up any more.
        by_timer: the timer asked for it; nobody else is about to begin it.
        away: why it cannot be executed by a worker, such as a secret in somebody's environment; or "".
    """

    summary: RunSummary
    held: bool
    ready: bool = False
    by_timer: bool = False
    away: str = ""


def due_work(candidates: Iterable[Candidate]) -> list[tuple[str, Why]]:
    """Give the runs that a worker may go on with, the oldest first, and why.

    Never one that a process executes, that was paused, that is in doubt, or that waits for work of a
    person: only a person goes on with those. Never one that a person has just asked for and is about to
    begin.
    """
    due = []
    for candidate in sorted(candidates, key=lambda one: one.summary.first_seq):
        why = None if candidate.held or candidate.away else _why(candidate)
        if why is not None:
            due.append((candidate.summary.run, why))
    return due


def _why(candidate: Candidate) -> Why | None:
    summary = candidate.summary
    match summary.status:
        case RunStatus.RUNNING:
            return Why.DIED
        case RunStatus.CREATED if summary.by_rule:
            return Why.RULE
        case RunStatus.CREATED:
            return Why.TIMER if candidate.by_timer else None
        case RunStatus.WAITING if candidate.ready and summary.waits_on == "gate":
            return Why.GATE
        case RunStatus.WAITING if candidate.ready and summary.waits_on == "lock":
            return Why.LOCK
        case _:
            return None
