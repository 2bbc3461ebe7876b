"""Folding: from the log entries of a run to its state, one entry at a time, purely."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from mimrun.connector import Effect, Finding
from mimrun.errors import TamperError
from mimrun.gate.approval import Decision, Question, Vote
from mimrun.gate.people import acted
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.moment import read_moment, write_moment
from mimrun.run.record.manual_state import TAKES, ManualState, take_manual
from mimrun.run.record.state import Cell, CellKey, GateState, Proposal, RunState
from mimrun.run.record.transitions import CellEvent, CellStatus, next_cell, next_run, run_event
from mimrun.run.record.wish import wish_after

MAX_LOST: Final = 2
"""How many requests of a cell may get lost on the way to a target before that counts as a failure."""


def fold(entries: Iterable[LogEntry]) -> RunState:
    """Give the state that a run's entries add up to.

    Raises:
        TamperError: the entries are not the history of a run.
    """
    state = RunState()
    for entry in entries:
        apply(state, entry)
    return state


def apply(state: RunState, entry: LogEntry) -> None:
    """Take the next entry of a run into its state.

    Raises:
        TamperError: the entry cannot follow.
    """
    event = run_event(entry.body)
    if event is not None:
        state.status = next_run(state.status, event, seq=entry.seq)
    take = _APPLY.get(entry.kind)
    if take is not None:
        take(state, entry)
    # What comes late is of a connector that was left behind; no worker need be there any more.
    if entry.actor.kind == "worker" and entry.kind is not Kind.STEP_EVIDENCE:
        state.seen = max(entry.ts, state.seen or entry.ts)
    # Threads of one worker may hand in their entries in another order than they were recorded in.
    state.seq = max(state.seq, entry.seq)


B = TypeVar("B", bound=kinds.Body)


def _body(entry: LogEntry, kind: type[B]) -> B:
    if not isinstance(entry.body, kind):
        raise TamperError(f"entry {entry.seq}: the body of {entry.kind} is not a {kind.__name__}")
    return entry.body


def _created(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.RunCreated)
    state.run, state.incident, state.created_at = entry.run, entry.inc, write_moment(entry.ts)
    state.plan, state.title = body.plan, body.title
    state.launchers |= {body.launched_by, *body.behalf} | acted(entry.actor.id, entry.actor.auth)


def _started(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.RunStarted)
    if body.epoch <= state.epoch:
        raise TamperError(f"entry {entry.seq}: epoch {body.epoch} is not above {state.epoch}")
    state.epoch = body.epoch
    if state.at_work_since is not None and state.seen is not None:
        # The worker before has died: it was at work up to the last word that it left.
        state.worked += state.seen - state.at_work_since
    state.at_work_since = entry.ts
    state.waits_on = state.waits_at = state.reason = ""


def _mode(state: RunState, entry: LogEntry) -> None:
    state.mode = _body(entry, kinds.RunMode).mode


def _rest(state: RunState, entry: LogEntry) -> None:
    if state.at_work_since is not None:
        state.worked += entry.ts - state.at_work_since
    state.at_work_since = None


def _waiting(state: RunState, entry: LogEntry) -> None:
    _rest(state, entry)
    body = _body(entry, kinds.RunWaiting)
    state.waits_on, state.waits_at, state.reason = body.on, entry.step, body.reason


def _ended(state: RunState, entry: LogEntry) -> None:
    _rest(state, entry)
    body = _body(entry, kinds.RunEnded)
    state.reason, state.ended_at = body.reason, write_moment(entry.ts)


def _wished(state: RunState, entry: LogEntry) -> None:
    state.wish = wish_after(state.wish, entry)


def _lock_taken(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.LockTaken)
    state.locks[body.resource] = body.generation


def _lock_released(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.LockReleased)
    if state.locks.get(body.resource) == body.generation:
        del state.locks[body.resource]


def _step_started(state: RunState, entry: LogEntry) -> None:
    state.started.add(entry.step)


def _step_finished(state: RunState, entry: LogEntry) -> None:
    state.finished[entry.step] = _body(entry, kinds.StepFinished).status
    state.finished_at[entry.step] = entry.ts


def _cell(state: RunState, entry: LogEntry, iteration: int, event: CellEvent) -> Cell:
    cell = state.cell(CellKey(entry.step, entry.target, iteration))
    cell.status = next_cell(cell.status, event, seq=entry.seq)
    return cell


def _intent(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepIntent)
    before = state.cell(CellKey(entry.step, entry.target, body.iteration))
    if before.intent and before.effect is Effect.ONCE and before.status is not CellStatus.READY:
        raise TamperError(f"entry {entry.seq}: a second intent of a step that happens once")
    cell = _cell(state, entry, body.iteration, CellEvent.INTEND)
    cell.effect, cell.intent, cell.attempts = body.effect, entry.seq, cell.attempts + 1
    cell.intent_epoch, cell.never_arrived, cell.since = entry.epoch, False, cell.since or entry.ts
    cell.passed, cell.resolved = None, False


_OUTCOMES: Final = {"ok": CellEvent.SUCCEED, "failed": CellEvent.FAIL, "unknown": CellEvent.LOSE}


def _outcome(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepOutcome)
    event = _OUTCOMES[body.status] if body.performed else CellEvent.LEAVE
    cell = _cell(state, entry, body.iteration, event)
    if body.intent != cell.intent:
        raise TamperError(
            f"entry {entry.seq}: an outcome of intent {body.intent}; the open one is {cell.intent}"
        )
    died = entry.epoch > cell.intent_epoch and body.status != "ok"
    if died or not body.performed:
        cell.voided += 1
    elif cell.never_arrived and cell.lost < MAX_LOST:
        # Counted apart: how often workers died says nothing of the way to the target.
        cell.voided, cell.lost = cell.voided + 1, cell.lost + 1
    cell.outcome, cell.changed, cell.clean = entry.seq, body.changed, body.clean
    cell.unreachable, cell.reason = body.unreachable, body.reason


def _probed(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepProbed)
    cell = state.cell(CellKey(entry.step, entry.target, body.iteration))
    cell.never_arrived = body.finding is Finding.NOT_APPLIED


def _in_doubt(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepInDoubt)
    cell = _cell(state, entry, body.iteration, CellEvent.DOUBT)
    cell.doubt, cell.reason = body.why, body.reason


def _proposed(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepResolutionProposed)
    key = CellKey(entry.step, entry.target, body.iteration)
    if state.cell(key).status is not CellStatus.IN_DOUBT:
        raise TamperError(f"entry {entry.seq}: a proposal for step {entry.step}, which is not in doubt")
    names = acted(entry.actor.id, entry.actor.auth)
    state.proposals[key] = Proposal(body.resolution, body.reason, entry.actor.id, names)


def _resolved(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepResolved)
    state.proposals.pop(CellKey(entry.step, entry.target, body.iteration), None)
    cell = _cell(state, entry, body.iteration, CellEvent(f"resolve_{body.resolution}"))
    cell.resolved, cell.reason, cell.since = True, body.reason, None
    cell.changed = body.resolution == "applied"


def _skipped(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepSkipped)
    _cell(state, entry, body.iteration, CellEvent.SKIP).reason = body.reason


def _verified(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepVerified)
    cell = state.cell(CellKey(entry.step, entry.target, body.iteration))
    cell.passed, cell.why_not = body.passed, body.reason


def _captured(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepCaptured)
    known = state.captured if body.when == "before" else state.left
    known[CellKey(entry.step, entry.target, body.iteration)] = entry.seq


def _compared(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepCompared)
    if body.found == "before":
        cell = _cell(state, entry, body.iteration, CellEvent.FIND_BACK)
        cell.reason, cell.resolved = body.reason, False


def _revert_scheduled(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepRevertScheduled)
    state.reverts[CellKey(entry.step, entry.target, body.iteration)] = body.outcome


def _loop(state: RunState, entry: LogEntry) -> None:
    state.loops[entry.step, entry.target] = entry.seq


def _gate_requested(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.GateRequested)
    gate = state.gates.setdefault(entry.step, GateState())
    gate.digest, gate.request = body.digest, entry.seq
    gate.asked_at, gate.expires_at = entry.ts, read_moment(body.expires_at)
    gate.opened, gate.opened_by, gate.closed, gate.detail = False, "", "", ""
    approvals = frozenset((need.role, need.count) for need in body.approvals)
    gate.question = Question(approvals, body.change, body.freeze_override, body.signed)
    gate.rounds, gate.since = 0, None
    gate.governed = gate.governed or bool(body.approvals) or body.change != "none"
    gate.votes.clear()  # they were given to an earlier request, also where both bear one moment


def _gate_decided(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.GateDecided)
    clock = read_moment(body.at) if body.at else entry.ts
    who, auth = entry.actor.id, entry.actor.auth
    decision = Decision(body.decision)
    vote = Vote(who, decision, body.digest, entry.ts, body.reason, clock, auth, body.purpose)
    state.gates.setdefault(entry.step, GateState()).votes.append(vote)
    state.decided = max(state.decided, entry.seq)


def _asked(state: RunState, entry: LogEntry, digest: str) -> GateState:
    gate = state.gates.get(entry.step)
    if gate is None or gate.digest != digest:
        raise TamperError(
            f"entry {entry.seq}: {entry.kind} of gate {entry.step}, which was not asked for this"
        )
    return gate


def _gate_opened(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.GateOpened)
    gate = _asked(state, entry, body.digest)
    gate.opened, gate.opened_by = True, body.by
    gate.passed, gate.passed_at = gate.request, gate.asked_at


def _gate_escalated(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.GateEscalated)
    gate = _asked(state, entry, body.digest)
    if body.round != gate.rounds + 1:
        raise TamperError(f"entry {entry.seq}: round {body.round} of gate {entry.step} follows {gate.rounds}")
    gate.rounds, gate.since = body.round, entry.ts


def _glass_broken(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.BreakglassOpened)
    if body.plan != state.plan:
        raise TamperError(
            f"entry {entry.seq}: the glass was broken for {body.plan[:19]}, which is another plan"
        )
    state.broken = body.plan


def _gate_closed(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.GateClosed)
    gate = _asked(state, entry, body.digest)
    gate.opened, gate.closed, gate.detail = False, body.reason, body.detail
    # A gate that was open and is not any more is asked again.
    state.finished.pop(entry.step, None)


def _manual(state: RunState, entry: LogEntry) -> None:
    take_manual(state.manuals.setdefault(entry.step, ManualState()), entry)


_APPLY: Final = {
    Kind.RUN_CREATED: _created,
    Kind.RUN_STARTED: _started,
    Kind.RUN_MODE: _mode,
    Kind.RUN_WAITING: _waiting,
    Kind.RUN_ENDED: _ended,
    Kind.RUN_PAUSE_REQUESTED: _wished,
    Kind.RUN_RESUME_REQUESTED: _wished,
    Kind.RUN_CANCEL_REQUESTED: _wished,
    Kind.RUN_ABORT_REQUESTED: _wished,
    Kind.LOCK_TAKEN: _lock_taken,
    Kind.LOCK_RELEASED: _lock_released,
    Kind.STEP_STARTED: _step_started,
    Kind.STEP_FINISHED: _step_finished,
    Kind.STEP_INTENT: _intent,
    Kind.STEP_OUTCOME: _outcome,
    Kind.STEP_PROBED: _probed,
    Kind.STEP_IN_DOUBT: _in_doubt,
    Kind.STEP_RESOLUTION_PROPOSED: _proposed,
    Kind.STEP_RESOLVED: _resolved,
    Kind.STEP_SKIPPED: _skipped,
    Kind.STEP_VERIFIED: _verified,
    Kind.STEP_CAPTURED: _captured,
    Kind.STEP_COMPARED: _compared,
    Kind.STEP_REVERT_SCHEDULED: _revert_scheduled,
    Kind.LOOP_EXPANDED: _loop,
    Kind.GATE_REQUESTED: _gate_requested,
    Kind.GATE_DECIDED: _gate_decided,
    Kind.GATE_OPENED: _gate_opened,
    Kind.GATE_CLOSED: _gate_closed,
    Kind.GATE_ESCALATED: _gate_escalated,
    Kind.BREAKGLASS_OPENED: _glass_broken,
    **dict.fromkeys(TAKES, _manual),
}
