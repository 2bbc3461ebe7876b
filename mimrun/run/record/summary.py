"""The summary of a run: the small state that lists, guards and `mimrun status` need.

It is a projection: a pure fold of the log, kept in step with it by the store. It stays the same few
hundred bytes however many steps a run has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict

from mimrun.connector import Effect
from mimrun.errors import LeaseError
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.moment import write_moment
from mimrun.log.store import View
from mimrun.run.record.transitions import TERMINAL, RunStatus, next_run, run_event
from mimrun.run.record.wish import WISHES, Level, Wish, wish_after
from mimrun.runbook.model import OnTimeout

BY_RULE: Final = "rule:"
"""How `launched_by` begins where a rule launched the run, with its name behind; no person can be called so."""


class RunSummary(BaseModel):
    """What a list of runs shows of one.

    Arguments:
        waits_on, waits_at: while it asks for a person: for what, and at which step.
        stop: how strongly somebody wants it to stop (a `Level`), and `stop_reason` why.
        step: the step that was started last.
        plan_seq: the entry that has the frozen plan.
        decided: the last entry with a word of a person at a gate.
        unused: the gate that is open while nothing was changed behind it yet; "" where there is none.
        way_back: what comes of it when nobody decides in time at the last gate: `asked` where the run is to be taken
            back then, `due` where that has come.
    """

    model_config = ConfigDict(frozen=True)

    run: str = ""
    incident: str = ""
    status: RunStatus = RunStatus.NEW
    plan: str = ""
    plan_seq: int = 0
    title: str = ""
    launched_by: str = ""
    created_at: str = ""
    ended_at: str = ""
    epoch: int = 0
    mode: str = ""
    step: str = ""
    step_name: str = ""
    waits_on: str = ""
    waits_at: str = ""
    reason: str = ""
    stop: int = 0
    stop_reason: str = ""
    runbook: str = ""
    risk: str = ""
    first_seq: int = 0
    last_seq: int = 0
    decided: int = 0
    unused: str = ""
    way_back: str = ""

    @property
    def by_rule(self) -> bool:
        """Whether alerts launched it, and no person did."""
        return self.launched_by.startswith(BY_RULE)

    @property
    def wish(self) -> Wish:
        """What people want of it."""
        return Wish(Level(self.stop), self.stop_reason)

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> RunSummary:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)


class RunSummaries:
    """The projector: one summary for each run, by the run's id."""

    name: Final = "runs/3"

    def empty(self) -> bytes:
        """A run nobody has asked for."""
        return RunSummary().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry touches the run it belongs to."""
        return entry.run or None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the summary after an entry."""
        return summarize(RunSummary.decode(state), entry).encode()


def summarize(was: RunSummary, entry: LogEntry) -> RunSummary:
    """Give the summary after an entry.

    Raises:
        TamperError: the entry cannot follow.
    """
    changes: dict[str, object] = {"last_seq": entry.seq, "first_seq": was.first_seq or entry.seq}
    event = run_event(entry.body)
    if event is not None:
        changes["status"] = next_run(was.status, event, seq=entry.seq)
    match entry.body:
        case kinds.PlanFrozen() as body:
            changes |= {"plan_seq": entry.seq, "runbook": body.runbook, "risk": body.risk}
        case kinds.RunCreated() as body:
            changes |= {"run": entry.run, "incident": entry.inc, "plan": body.plan, "title": body.title}
            changes |= {"launched_by": body.launched_by, "created_at": write_moment(entry.ts)}
        case kinds.RunStarted() as body:
            changes |= {"epoch": body.epoch, "waits_on": "", "waits_at": "", "reason": ""}
        case kinds.RunMode() as body:
            changes["mode"] = body.mode
        case kinds.RunWaiting() as body:
            changes |= {"waits_on": body.on, "waits_at": entry.step, "reason": body.reason}
        case kinds.RunEnded() as body:
            changes |= {"ended_at": write_moment(entry.ts), "reason": body.reason}
        case kinds.StepStarted() as body:
            changes |= {"step": entry.step, "step_name": body.name}
        case _ if entry.kind in WISHES:
            wish = wish_after(was.wish, entry)
            changes |= {"stop": int(wish.level), "stop_reason": wish.reason}
        case _:
            changes |= _at_gate(was, entry)
    return was.model_copy(update=changes)


def _at_gate(was: RunSummary, entry: LogEntry) -> dict[str, object]:
    """Give what an entry changes in what is known of gates: who spoke last, and which is open and not used yet."""
    match entry.body:
        case kinds.GateDecided():
            return {"decided": entry.seq}
        case kinds.GateRequested() as body:
            return {"way_back": "asked" if body.on_timeout == OnTimeout.UNDO else ""}
        case kinds.GateOpened():
            return {"unused": entry.step, "way_back": ""}
        case kinds.GateClosed() as body:
            due = was.way_back == "asked" and body.reason == "expired"
            unused = "" if entry.step == was.unused else was.unused
            return {"unused": unused, "way_back": "due" if due else ""}
        case kinds.StepIntent() as body if was.unused and body.effect is not Effect.READ:
            return {"unused": ""}
        case _:
            return {}


def summary_in(view: View, run: str) -> RunSummary:
    """Read a run's summary inside a transaction."""
    return RunSummary.decode(view.projection(RunSummaries.name, run))


def check_takeover(view: View, run: str, epoch: int) -> None:
    """Refuse a worker that wants to start a run that is over, or one that another worker has taken since.

    Raises:
        LeaseError: as above.
    """
    now = summary_in(view, run)
    if now.status in TERMINAL:
        raise LeaseError(f"{run} is over already: {now.status}; nothing is left to do")
    if now.epoch >= epoch:
        raise LeaseError(f"run {run}: epoch {now.epoch} is on record and this worker has {epoch}; try again")


def check_epoch(view: View, run: str, epoch: int) -> None:
    """Refuse a write of a worker that was replaced.

    Raises:
        LeaseError: the log has a greater epoch for this run.
    """
    now = summary_in(view, run).epoch
    if now != epoch:
        raise LeaseError(f"run {run}: this worker has epoch {epoch} and epoch {now} has taken over")
