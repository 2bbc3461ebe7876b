"""Reverts: what is taken back at its time, who does it, and how somebody lets it stand for good."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Final

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.launching import stays_here
from mimrun.app.persons import require_known
from mimrun.app.runs import find_run, load_plan, load_state, plan_erased
from mimrun.app.undo import WayBackWishes, create_undo, follow_ups, plan_undo, undone_by
from mimrun.app.undo_plan import origin
from mimrun.errors import InputError, MimrunError, RefusedError
from mimrun.gate.people import Person
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import StepRevertCancelled
from mimrun.log.store import View
from mimrun.run.record.followup import check_followups
from mimrun.run.record.reverts import Revert, reverts_in
from mimrun.run.record.state import CellKey
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import TERMINAL, RunStatus
from mimrun.runbook.node import PlannedAction

TIMER: Final = "mimrun:timer"
"""Who asks for a run that takes something back because its time is up; no person can be called so."""


class RevertStatus(StrEnum):
    """How something stands that is to be taken back at a moment."""

    SCHEDULED = "scheduled"  #: its moment has not come
    OVERDUE = "overdue"  #: its moment has come; a worker takes it back as soon as it can
    UNDER_WAY = "under_way"  #: a way back that is not over includes it
    TRIED = "tried"  #: the timer's run did not take it back; a person must
    DONE = "done"  #: it has been taken back
    CANCELLED = "cancelled"  #: somebody lets it stand for good


OPEN: Final = frozenset(
    {RevertStatus.SCHEDULED, RevertStatus.OVERDUE, RevertStatus.UNDER_WAY, RevertStatus.TRIED}
)
"""What still stands."""

WAITING: Final = frozenset({RevertStatus.SCHEDULED, RevertStatus.OVERDUE})
"""What a worker or the engine has to be there for."""

_SETTLED: Final = frozenset({RevertStatus.DONE, RevertStatus.CANCELLED, RevertStatus.TRIED})
"""What the timer does nothing about any more."""


@dataclass(frozen=True, slots=True)
class RevertView:
    """A revert as a person sees it.

    Arguments:
        by: the run that takes it back, took it back, or failed to.
        why: what it waits for, or why it stands; "" where there is nothing to say.
    """

    revert: Revert
    status: RevertStatus
    by: str = ""
    why: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """The revert for `--json`."""
        shown: dict[str, JsonValue] = self.revert.model_dump(mode="json", exclude={"cancelled"})
        return {**shown, "status": self.status.value, "by": self.by or self.revert.by, "why": self.why}


@dataclass(frozen=True, slots=True)
class _WaysBack:
    """The ways back that a run has had.

    Arguments:
        undone: what has been taken back, with the run that did it.
        live: what a way back that is not over includes, with that run.
        tried: what a run of the timer was to take back, with that run.
        busy: a way back that is not over, whatever it includes.
        stuck: by a way back that nobody has begun, why no worker begins it.
    """

    undone: Mapping[str, str]
    live: Mapping[str, str]
    tried: Mapping[str, str]
    busy: str
    stuck: Mapping[str, str]


def list_reverts(home: Home, run: str = "") -> list[RevertView]:
    """Give everything that was ever to be taken back, of one run or of all, the first due first."""
    now = home.clock()
    found = [view for _, views in _by_run(home, reverts_in(home.store, run), now) for view in views]
    return sorted(found, key=lambda view: (view.revert.due_at, view.revert.outcome))


def _by_run(
    home: Home, reverts: Iterable[Revert], now: datetime
) -> Iterator[tuple[RunSummary, list[RevertView]]]:
    for run, several in groupby(sorted(reverts, key=lambda r: (r.run, r.due_at)), key=lambda r: r.run):
        summary = _summary(home, run)
        if erased := plan_erased(home, summary):
            # A plan is only erased when nothing of it is to be taken back any more.
            why = f"its plan was erased (entry {erased})"
            yield summary, [RevertView(revert, RevertStatus.CANCELLED, why=why) for revert in several]
            continue
        ways = _ways_back(home, run)
        yield summary, [_view(revert, summary, ways, now) for revert in several]


def _view(revert: Revert, forward: RunSummary, ways: _WaysBack, now: datetime) -> RevertView:
    """Say how a revert stands."""
    at = revert.origin
    if at in ways.undone:
        return RevertView(revert, RevertStatus.DONE, ways.undone[at])
    if revert.cancelled:
        return RevertView(revert, RevertStatus.CANCELLED, why=revert.cancelled)
    if at in ways.live:
        return RevertView(
            revert, RevertStatus.UNDER_WAY, ways.live[at], why=ways.stuck.get(ways.live[at], "")
        )
    if at in ways.tried:
        why = f"{ways.tried[at]} did not take it back; look at it, then `mimrun undo {revert.run}`"
        return RevertView(revert, RevertStatus.TRIED, ways.tried[at], why)
    if not revert.is_due(now):
        return RevertView(revert, RevertStatus.SCHEDULED)
    if forward.status not in TERMINAL:
        return RevertView(
            revert, RevertStatus.OVERDUE, why=f"{revert.run} has not ended: it is {forward.status}"
        )
    return RevertView(revert, RevertStatus.OVERDUE, why=f"{ways.busy} is not over" if ways.busy else "")


def _ways_back(home: Home, run: str) -> _WaysBack:
    undone: dict[str, str] = {}
    live: dict[str, str] = {}
    tried: dict[str, str] = {}
    busy, stuck = "", dict[str, str]()
    for undo in follow_ups(home, run).undos:
        summary = _summary(home, undo)
        plan = load_plan(home, undo)
        planned = [n.undoes for n in plan.walk() if isinstance(n, PlannedAction) and n.undoes]
        undone |= dict.fromkeys(undone_by(home, undo), undo)
        if summary.status not in TERMINAL:
            live |= dict.fromkeys(planned, undo)
            busy = undo
            if summary.status is RunStatus.CREATED and (away := stays_here(plan)):
                stuck[undo] = f"{away}: type `mimrun resume {undo}` where it is set"
        elif summary.launched_by == TIMER:
            tried |= dict.fromkeys(planned, undo)
    return _WaysBack(undone, live, tried, busy, stuck)


def _summary(home: Home, run: str) -> RunSummary:
    return RunSummary.decode(home.store.projection(RunSummaries.name, run))


def timer_for(home: Home, run: str) -> Identity:
    """Give the timer, as whoever asks for the way back of a run.

    Whoever asked for the run asks for its way back as well: they do not approve it.
    """
    return _Timer(Person(TIMER, TIMER), "clock", frozenset(load_state(home, run).launchers))


class _Timer(Identity):
    """The timer, as whoever asks for a run."""

    def actor(self, via: str = "timer") -> Actor:
        """Give the actor as the log records it: this process, by the clock."""
        return Actor("worker", f"{platform.node()[:100]}:{os.getpid()}", "timer", "clock")


@dataclass(frozen=True, slots=True)
class Started:
    """What became of a run whose time-boxed changes are due.

    Arguments:
        forward: the run that made the changes.
        undo: the run that takes them back; "" where none could be made.
        why: why none could be made.
        passes: the reason will pass by itself: somebody has a lock, or takes it back just now.
    """

    forward: str
    undo: str = ""
    why: str = ""
    passes: bool = False


def start_due(home: Home, settled: set[tuple[str, int]], alone: Collection[str] = ()) -> list[Started]:
    """Ask for a run for everything whose time is up, one for each run that did it. They are not executed here.

    Of several workers that ask at the same moment one is heard.

    Arguments:
        settled: run and outcome of what need not be looked at again; it is filled in here.
        alone: runs whose changes are left alone for now.
    """
    now = home.clock()
    due = [r for r in reverts_in(home.store) if r.run not in alone and r.is_due(now)]
    known = [r for r in due if (r.run, r.outcome) not in settled]
    started = []
    for forward, views in _by_run(home, known, now):
        settled |= {(v.revert.run, v.revert.outcome) for v in views if v.status in _SETTLED}
        origins = {
            view.revert.origin for view in views if view.status is RevertStatus.OVERDUE and not view.why
        }
        if origins:
            started.append(_start(home, forward.run, origins))
    return started


def _start(home: Home, run: str, due: set[str]) -> Started:
    def wanted(key: CellKey) -> bool:
        return origin(key) in due

    try:
        plan, timer = plan_undo(home, run, wanted), timer_for(home, run)
        return Started(run, create_undo(home, run, plan, timer, WayBackWishes(wanted, direct=True)))
    except MimrunError as exc:
        return Started(run, why=str(exc), passes=isinstance(exc, RefusedError))


def cancel_reverts(
    home: Home, run: str, identity: Identity, *, step: str, target: str | None = None, reason: str
) -> list[Revert]:
    """Let stand for good what a step did: nobody takes it back when its time is up.

    Arguments:
        target: the host, or None for all of them.
        reason: why; a reviewer will read it.

    Raises:
        InputError: nothing of this step is to be taken back, or there is no reason.
        GateError: the person is not known.
        RefusedError: it is being taken back at this moment.
    """
    name = find_run(home, run).summary.run
    if not reason.strip():
        raise InputError("say why it stays, with --reason: it is what a reviewer will read")
    require_known(home, identity, "let a change stand for good")
    seen = follow_ups(home, name)
    open_ = [view for view in list_reverts(home, name) if view.status in OPEN]
    found = [v for v in open_ if v.revert.step == step and target in (None, v.revert.target)]
    if not found:
        known = ", ".join(f"{v.revert.step} on {v.revert.target}" for v in open_) or "nothing"
        raise InputError(f"{name}: nothing of step {step} is to be taken back; to be taken back: {known}")
    busy = next((view for view in found if view.status is RevertStatus.UNDER_WAY), None)
    if busy is not None:
        raise RefusedError(f"{busy.by} is taking it back; cancel that run first")
    drafts = [_cancellation(identity, view.revert, reason) for view in found]

    def check(view: View) -> None:
        check_followups(view, name, seen)

    home.store.append(drafts, guard=check)
    return [view.revert for view in found]


def _cancellation(identity: Identity, revert: Revert, reason: str) -> Draft:
    body = StepRevertCancelled(outcome=revert.outcome, reason=reason, iteration=revert.iteration)
    return Draft(
        identity.actor(), body, inc=revert.incident, run=revert.run, step=revert.step, target=revert.target
    )
