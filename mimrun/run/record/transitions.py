"""What can follow what: the two tables of transitions of a run and of its cells.

A cell is one step on one target for one item of its loop. If a pair is not in a table it cannot
happen, and the log that claims it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from mimrun.errors import TamperError
from mimrun.log import kinds


class RunStatus(StrEnum):
    """Where a run stands."""

    NEW = "new"  #: nothing is recorded yet
    CREATED = "created"  #: its plan is frozen; nobody has started it
    RUNNING = "running"  #: a worker holds it, or died while it did
    WAITING = "waiting"  #: for people at a gate or a manual step, a lock, a pause or the kill switch; no process holds it
    IN_DOUBT = "in_doubt"  #: a person must say whether a step happened; no process holds it
    SUCCEEDED = "succeeded"  #: every step is done or was left out by its condition
    FAILED = "failed"  #: a step failed on more targets than allowed, or people said no
    CANCELLED = "cancelled"  #: a person stopped it


class RunEvent(StrEnum):
    """What happens to a run."""

    CREATE = "create"
    START = "start"
    WAIT = "wait"
    DOUBT = "doubt"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"


TERMINAL: Final = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED})

NEXT_RUN: Final[Mapping[tuple[RunStatus, RunEvent], RunStatus]] = {
    (RunStatus.NEW, RunEvent.CREATE): RunStatus.CREATED,
    (RunStatus.CREATED, RunEvent.START): RunStatus.RUNNING,
    # The worker died or lost its lease: another one starts where the log ends.
    (RunStatus.RUNNING, RunEvent.START): RunStatus.RUNNING,
    (RunStatus.RUNNING, RunEvent.WAIT): RunStatus.WAITING,
    (RunStatus.RUNNING, RunEvent.DOUBT): RunStatus.IN_DOUBT,
    (RunStatus.RUNNING, RunEvent.SUCCEED): RunStatus.SUCCEEDED,
    (RunStatus.RUNNING, RunEvent.FAIL): RunStatus.FAILED,
    (RunStatus.RUNNING, RunEvent.CANCEL): RunStatus.CANCELLED,
    (RunStatus.WAITING, RunEvent.START): RunStatus.RUNNING,
    (RunStatus.IN_DOUBT, RunEvent.START): RunStatus.RUNNING,
}


class CellStatus(StrEnum):
    """Where one step on one target stands."""

    READY = "ready"  #: nothing was tried, or a person said that it did not happen
    PERFORMING = "performing"  #: there is an intent and no outcome
    OK = "ok"  #: it was done, or a person said that it happened
    FAILED = "failed"  #: it was not done, or not all of it
    UNKNOWN = "unknown"  #: an attempt ended without anybody knowing its effect
    IN_DOUBT = "in_doubt"  #: a person must say
    SKIPPED = "skipped"  #: left out by a condition, or by a person


class CellEvent(StrEnum):
    """What happens to a cell."""

    INTEND = "intend"
    SUCCEED = "succeed"
    FAIL = "fail"
    LOSE = "lose"
    LEAVE = "leave"
    DOUBT = "doubt"
    SKIP = "skip"
    FIND_BACK = "find_back"
    RESOLVE_APPLIED = "resolve_applied"
    RESOLVE_NOT_APPLIED = "resolve_not_applied"
    RESOLVE_SKIP = "resolve_skip"
    RESOLVE_ABORT = "resolve_abort"


NEXT_CELL: Final[Mapping[tuple[CellStatus, CellEvent], CellStatus]] = {
    (CellStatus.READY, CellEvent.INTEND): CellStatus.PERFORMING,
    (CellStatus.READY, CellEvent.SKIP): CellStatus.SKIPPED,
    # An undo that finds the state of before already.
    (CellStatus.READY, CellEvent.FIND_BACK): CellStatus.OK,
    # The same, behind an attempt of a worker that died: it never arrived, or nobody knows.
    (CellStatus.FAILED, CellEvent.FIND_BACK): CellStatus.OK,
    (CellStatus.UNKNOWN, CellEvent.FIND_BACK): CellStatus.OK,
    (CellStatus.PERFORMING, CellEvent.SUCCEED): CellStatus.OK,
    (CellStatus.PERFORMING, CellEvent.FAIL): CellStatus.FAILED,
    (CellStatus.PERFORMING, CellEvent.LOSE): CellStatus.UNKNOWN,
    # Stopped, or halted by a guard, between the intent and the act.
    (CellStatus.PERFORMING, CellEvent.LEAVE): CellStatus.READY,
    # An answer may come that `until` is not content with.
    (CellStatus.OK, CellEvent.INTEND): CellStatus.PERFORMING,
    (CellStatus.FAILED, CellEvent.INTEND): CellStatus.PERFORMING,
    (CellStatus.UNKNOWN, CellEvent.INTEND): CellStatus.PERFORMING,
    (CellStatus.UNKNOWN, CellEvent.DOUBT): CellStatus.IN_DOUBT,
    # An undo that finds another state than was left, and one that failed: a person must say.
    (CellStatus.READY, CellEvent.DOUBT): CellStatus.IN_DOUBT,
    (CellStatus.FAILED, CellEvent.DOUBT): CellStatus.IN_DOUBT,
    (CellStatus.IN_DOUBT, CellEvent.RESOLVE_APPLIED): CellStatus.OK,
    (CellStatus.IN_DOUBT, CellEvent.RESOLVE_NOT_APPLIED): CellStatus.READY,
    (CellStatus.IN_DOUBT, CellEvent.RESOLVE_SKIP): CellStatus.SKIPPED,
    (CellStatus.IN_DOUBT, CellEvent.RESOLVE_ABORT): CellStatus.FAILED,
}


_BEGINS: Final[Mapping[type[kinds.Body], RunEvent]] = {
    kinds.RunCreated: RunEvent.CREATE,
    kinds.RunStarted: RunEvent.START,
}
_ENDS: Final = {"succeeded": RunEvent.SUCCEED, "failed": RunEvent.FAIL, "cancelled": RunEvent.CANCEL}


def run_event(body: kinds.Body) -> RunEvent | None:
    """Say what an entry with this body does to its run; None where the run stays where it is."""
    if isinstance(body, kinds.RunWaiting):
        return RunEvent.DOUBT if body.on == "doubt" else RunEvent.WAIT
    return _ENDS[body.status] if isinstance(body, kinds.RunEnded) else _BEGINS.get(type(body))


def next_run(status: RunStatus, event: RunEvent, *, seq: int = 0) -> RunStatus:
    """Give the status after an event.

    Raises:
        TamperError: the event cannot follow.
    """
    if (status, event) not in NEXT_RUN:
        raise TamperError(f"entry {seq}: {event} cannot follow {status} of the run")
    return NEXT_RUN[status, event]


def next_cell(status: CellStatus, event: CellEvent, *, seq: int = 0) -> CellStatus:
    """Give the status after an event.

    Raises:
        TamperError: the event cannot follow.
    """
    if (status, event) not in NEXT_CELL:
        raise TamperError(f"entry {seq}: {event} cannot follow {status} of the step")
    return NEXT_CELL[status, event]
