"""Stopping a run: pause, cancel, abort, and letting a paused run go on.

What is asked for is in the log before anything else happens. Whoever executes the run sees it there;
where nobody does, the run is executed once more, which ends what is left and begins nothing.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.masking import masking
from mimrun.app.persons import require_known
from mimrun.app.runs import RunView, find_run, list_runs
from mimrun.errors import RefusedError
from mimrun.log.entry import Draft
from mimrun.log.kinds import (
    Body,
    RunAbortRequested,
    RunCancelRequested,
    RunPauseRequested,
    RunResumeRequested,
)
from mimrun.log.store import View
from mimrun.run.hold.lease import Holder
from mimrun.run.record.summary import summary_in
from mimrun.run.record.transitions import TERMINAL, RunStatus
from mimrun.run.record.wish import Level

SEEN_S: Final = 3.0
"""So long a worker may take to look at the log; it does five times a second."""

_LOOK_S: Final = 0.05
_BODIES: Final = {
    Level.PAUSE: RunPauseRequested,
    Level.CANCEL: RunCancelRequested,
    Level.ABORT: RunAbortRequested,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to stop that is on record.

    Arguments:
        view: the run as it was.
        seq: the end of the log with the request in it.
    """

    view: RunView
    seq: int


def request_stop(home: Home, run: str, identity: Identity, level: Level, reason: str) -> Asked:
    """Ask for a run to pause, to be cancelled or to be aborted. Asking twice for the same asks once.

    Raises:
        RefusedError: the run is over, or somebody has asked for more than this already.
    """
    view = find_run(home, run)
    name, wish = view.summary.run, view.summary.wish
    if view.summary.status in TERMINAL:
        raise RefusedError(f"{name} is over already: {view.status}")
    if wish.level > level:
        raise RefusedError(f"{name} is asked to {wish.level.name.lower()} already: {wish.reason}")
    if wish.level < level:
        body: Body = _BODIES[level](reason=masking(home)(reason))
        draft = Draft(identity.actor(), body, inc=view.summary.incident, run=name)
        home.store.append([draft], guard=lambda log: _under_way(log, name))
    return Asked(view, home.store.head().size)


def request_resume(home: Home, run: str, identity: Identity) -> bool:
    """Ask for a paused run to go on; says whether it was paused.

    Anybody may stop a run; only somebody known lets a stopped one go on.

    Raises:
        GateError: the people file does not know the person.
        RefusedError: the run is over.
    """
    summary = find_run(home, run).summary
    if summary.wish.level is not Level.PAUSE:
        return False
    require_known(home, identity, "let a paused run go on")
    draft = Draft(identity.actor(), RunResumeRequested(), inc=summary.incident, run=summary.run)
    home.store.append([draft], guard=lambda log: _under_way(log, summary.run))
    return True


def goes_on(home: Home, run: str) -> bool:
    """Say whether a worker goes on with a run whose pause was taken back; else it had come to rest before."""
    await_seen(home, Asked(find_run(home, run), home.store.head().size))
    if find_run(home, run).summary.status is RunStatus.WAITING:
        await_rest(home, run, SEEN_S)
        return False
    return True


def await_seen(home: Home, asked: Asked, patience_s: float = SEEN_S) -> Holder | None:
    """Wait until whoever executes the run has seen a request.

    Returns:
        the process that executes the run and has not looked at the log for as long; None where it has
        seen the request, or nobody executes the run.
    """
    run, end = asked.view.summary.run, time.monotonic() + patience_s
    while True:
        holder = home.leases.holder_of(run)
        if holder is None or holder.seen >= asked.seq:
            return None
        if time.monotonic() >= end:
            return holder
        time.sleep(_LOOK_S)


def await_rest(home: Home, run: str, patience_s: float, heed: Callable[[], None] = lambda: None) -> RunView:
    """Wait until nobody executes a run any more, but not for ever; gives how it stands then."""
    end = time.monotonic() + patience_s
    while (view := find_run(home, run)).held and time.monotonic() < end:
        heed()
        time.sleep(_LOOK_S)
    return view


def kill_worker(home: Home, run: str) -> list[str]:
    """End the process that executes a run, at once and as a crash would.

    It is only ended where it is provably the one that took the lease: the same process id, begun at the
    same moment, in the same boot of this machine.

    Returns:
        the other runs that it executed, which are interrupted as well.

    Raises:
        RefusedError: no process executes the run, it is not that one any more, or it is not ours to end.
    """
    name = find_run(home, run).summary.run
    holder = home.leases.holder_of(name)
    if holder is None or not holder.is_running():
        raise RefusedError(f"no process is known that executes {name}; see `mimrun status {name}`")
    if holder.pid == os.getpid():
        raise RefusedError(f"{name} is executed by this very process")
    others = [view.summary.run for view in list_runs(home) if view.held and view.summary.run != name]
    with_it = [other for other in others if _is_held_by(home, other, holder)]
    try:
        os.kill(holder.pid, signal.SIGKILL)
    except ProcessLookupError:
        return []
    except PermissionError as exc:
        raise RefusedError(f"process {holder.pid} belongs to somebody else; ask them to end it") from exc
    end = time.monotonic() + SEEN_S
    while holder.is_running() and find_run(home, name).held and time.monotonic() < end:
        time.sleep(_LOOK_S)
    return with_it


def _is_held_by(home: Home, run: str, holder: Holder) -> bool:
    other = home.leases.holder_of(run)
    return other is not None and (other.pid, other.started) == (holder.pid, holder.started)


def _under_way(view: View, run: str) -> None:
    now = summary_in(view, run)
    if now.status in TERMINAL:
        raise RefusedError(f"{run} is over already: {now.status}")
