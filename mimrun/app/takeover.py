"""Taking over: the first thing a worker writes, together with the locks without which it begins nothing."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from mimrun.errors import LockError
from mimrun.log.kinds import Body, LockTaken, RunMode, RunStarted, RunWaiting
from mimrun.log.store import View
from mimrun.run.hold.lock import check_takes, missing_locks
from mimrun.run.journal import Journal
from mimrun.run.record.fold import apply
from mimrun.run.record.summary import check_takeover
from mimrun.run.record.wish import Level
from mimrun.run.walk.result import Parked
from mimrun.runbook.plan import Plan

Mode: TypeAlias = Literal["prefect", "direct"]

_LOOKS: Final = 100
"""So often somebody else may take and let go of one of our locks while we are about to take them."""


def take_over(journal: Journal, plan: Plan, mode: Mode, reason: str) -> Parked | None:
    """Take over in the log: from here on no other epoch can write to this run.

    The locks of the plan are taken in the same append, all or none. A run that somebody wants to stop
    takes none: it begins nothing that would need them. What people have said since the state was read, up
    to that moment, is taken up as well.

    Returns:
        what the run waits for where another one holds a lock; None where it may go on.
    """
    wanted = () if journal.state.wish.level > Level.NONE else plan.locks
    # In the same append: behind it the state would seem to know what was said in between.
    driven = (RunMode(mode=mode, reason=reason),) if journal.state.mode != mode or reason else ()
    return _started(journal, wanted, driven)


def _started(journal: Journal, wanted: tuple[str, ...], driven: tuple[RunMode, ...]) -> Parked | None:
    store, run = journal.store, journal.state.run
    for _ in range(_LOOKS):
        try:
            takes = missing_locks(store, run, wanted)
            _append(journal, takes, driven)
        except LockError as exc:
            taken = str(exc)
            if _is_held(journal, wanted):
                break
        else:
            return None
    _append(journal, (), (RunWaiting(on="lock", reason=taken),))
    return Parked("lock", "", taken)


def _is_held(journal: Journal, wanted: tuple[str, ...]) -> bool:
    """Say whether a lock is really held; it may have been taken and let go of while we looked."""
    try:
        missing_locks(journal.store, journal.state.run, wanted)
    except LockError:
        return True
    return False


def _append(journal: Journal, takes: list[LockTaken] | tuple[()], then: tuple[Body, ...]) -> None:
    state, epoch, seen = journal.state, journal.lease.epoch, journal.state.seq
    started = RunStarted(worker=journal.actor.id, epoch=epoch, resumed=state.epoch > 0)

    def guard(view: View) -> None:
        check_takeover(view, state.run, epoch)
        check_takes(view, takes)

    journal.store.append([journal.draft(body) for body in (started, *takes, *then)], guard=guard)
    for entry in journal.store.entries(run=state.run, after=seen):
        apply(state, entry)
