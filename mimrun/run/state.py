"""The state of a run: a pure fold of its log entries.

Nothing about a run is kept anywhere else. A worker that takes over, a reviewer and the one who wrote
the entries fold the same list and see the same state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, TypeVar, assert_never

from mimrun.connector import Effect, Finding
from mimrun.errors import TamperError
from mimrun.gate.approval import Decision, Vote
from mimrun.gate.people import acted
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.log.moment import read_moment, write_moment
from mimrun.run.transitions import CellEvent, CellStatus, RunStatus, next_cell, next_run, run_event

MAX_LOST: Final = 2
"""How many requests in a row may get lost on the way to a target before that counts as a failure."""


class CellKey(NamedTuple):
    """One step on one target for one item of its loop."""

    step: str
    target: str
    iteration: int = 0


@dataclass(slots=True)
class Cell:
    """What is known about a cell.

    Arguments:
        attempts: how many intents it has had.
        voided: how many of them do not count against the author's `retries`: their worker died, or a
            probe proved that they never reached the target.
        intent: the sequence number of the last intent, 0 for none, and the epoch of its worker.
        never_arrived: a probe says that the last intent had no effect.
        outcome: the sequence number of the last outcome, 0 for none; its blob has the answer.
        clean: the last failure provably had no effect.
        passed: what `expect` and `verify` said of the answer, once they were asked.
        resolved: the step counts as done by a person's word.
    """

    status: CellStatus = CellStatus.READY
    effect: Effect = Effect.ONCE
    attempts: int = 0
    voided: int = 0
    intent: int = 0
    intent_epoch: int = 0
    never_arrived: bool = False
    outcome: int = 0
    changed: bool = False
    clean: bool = False
    unreachable: bool = False
    reason: str = ""
    passed: bool | None = None
    why_not: str = ""
    resolved: bool = False


@dataclass(slots=True)
class GateState:
    """What is known about a gate: the last request, the votes on it, and how it ended."""

    digest: str = ""
    asked_at: datetime | None = None
    expires_at: datetime | None = None
    request: int = 0
    votes: list[Vote] = field(default_factory=list)
    opened: bool = False
    closed: str = ""
    detail: str = ""


@dataclass(slots=True)
class ManualState:
    """What is known about a manual step."""

    request: int = 0
    fields: tuple[str, ...] = ()
    attested: int = 0
    by: str = ""


@dataclass(slots=True)
class RunState:
    """Where a run stands.

    Arguments:
        seq: the last entry that was taken.
        waits_on: "gate", "manual" or "doubt" while the run asks for a person, with `waits_at` the step.
        steps: the same cells as `cells`, by step.
        launchers: ids and accounts of who asked for the run or started it; none of them can approve it.
        finished: the final word on each step that is over.
    """

    seq: int = 0
    run: str = ""
    incident: str = ""
    status: RunStatus = RunStatus.NEW
    plan: str = ""
    title: str = ""
    created_at: str = ""
    ended_at: str = ""
    epoch: int = 0
    reason: str = ""
    mode: str = ""
    waits_on: str = ""
    waits_at: str = ""
    launchers: set[str] = field(default_factory=set)
    cancel: str | None = None
    cells: dict[CellKey, Cell] = field(default_factory=dict)
    steps: dict[str, dict[CellKey, Cell]] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    finished: dict[str, str] = field(default_factory=dict)
    loops: dict[tuple[str, str], int] = field(default_factory=dict)
    captured: dict[CellKey, int] = field(default_factory=dict)
    gates: dict[str, GateState] = field(default_factory=dict)
    manuals: dict[str, ManualState] = field(default_factory=dict)

    def cell(self, key: CellKey) -> Cell:
        """Give what is known about a cell; a cell nobody touched is ready."""
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = self.steps.setdefault(key.step, {})[key] = Cell()
        return cell

    def in_doubt(self) -> list[CellKey]:
        """Give the cells that wait for a person's word."""
        return [key for key, cell in self.cells.items() if cell.status is CellStatus.IN_DOUBT]

    def recap(self) -> dict[str, int]:
        """Count the cells in Ansible's words, and in doubt."""
        return recap(self.cells)

    def apply(self, entry: LogEntry) -> None:
        """Take the next entry of this run.

        Raises:
            TamperError: the entry cannot follow.
        """
        event = run_event(entry.body)
        if event is not None:
            self.status = next_run(self.status, event, seq=entry.seq)
        apply = _APPLY.get(entry.kind)
        if apply is not None:
            apply(self, entry)
        # Threads of one worker may hand in their entries in another order than they were recorded in.
        self.seq = max(self.seq, entry.seq)


def fold(entries: Iterable[LogEntry]) -> RunState:
    """Give the state that a run's entries add up to.

    Raises:
        TamperError: the entries are not the history of a run.
    """
    state = RunState()
    for entry in entries:
        state.apply(entry)
    return state


def recap(cells: Mapping[CellKey, Cell]) -> dict[str, int]:
    """Count cells in Ansible's words, and in doubt. Probes, captures and verifications do not count."""
    counts = dict.fromkeys(("ok", "changed", "failed", "unreachable", "skipped", "in_doubt"), 0)
    for key, cell in cells.items():
        if key.step.rpartition(".")[2] in ("verify", "capture"):
            continue
        match cell.status:
            case CellStatus.OK if cell.passed is False:
                counts["failed"] += 1
            case CellStatus.OK:
                counts["ok"] += 1
                counts["changed"] += cell.changed
            case CellStatus.FAILED:
                counts["unreachable" if cell.unreachable else "failed"] += 1
            case CellStatus.SKIPPED:
                counts["skipped"] += 1
            case CellStatus.UNKNOWN | CellStatus.IN_DOUBT | CellStatus.PERFORMING:
                counts["in_doubt"] += 1
            case CellStatus.READY:
                counts["failed"] += cell.passed is False
            case _:
                assert_never(cell.status)
    return counts


B = TypeVar("B", bound=kinds.Body)


def _body(entry: LogEntry, kind: type[B]) -> B:
    if not isinstance(entry.body, kind):
        raise TamperError(f"entry {entry.seq}: the body of {entry.kind} is not a {kind.__name__}")
    return entry.body


def _created(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.RunCreated)
    state.run, state.incident, state.created_at = entry.run, entry.inc, write_moment(entry.ts)
    state.plan, state.title = body.plan, body.title
    state.launchers |= {body.launched_by} | acted(entry.actor.id, entry.actor.auth)


def _started(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.RunStarted)
    if body.epoch <= state.epoch:
        raise TamperError(f"entry {entry.seq}: epoch {body.epoch} is not above {state.epoch}")
    state.epoch = body.epoch
    state.waits_on = state.waits_at = state.reason = ""


def _mode(state: RunState, entry: LogEntry) -> None:
    state.mode = _body(entry, kinds.RunMode).mode


def _waiting(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.RunWaiting)
    state.waits_on, state.waits_at, state.reason = body.on, entry.step, body.reason


def _ended(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.RunEnded)
    state.reason, state.ended_at = body.reason, write_moment(entry.ts)


def _cancel_requested(state: RunState, entry: LogEntry) -> None:
    state.cancel = _body(entry, kinds.RunCancelRequested).reason


def _step_started(state: RunState, entry: LogEntry) -> None:
    state.started.add(entry.step)


def _step_finished(state: RunState, entry: LogEntry) -> None:
    state.finished[entry.step] = _body(entry, kinds.StepFinished).status


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
    cell.intent_epoch, cell.never_arrived = entry.epoch, False
    cell.passed, cell.resolved = None, False


_OUTCOMES: Final = {"ok": CellEvent.SUCCEED, "failed": CellEvent.FAIL, "unknown": CellEvent.LOSE}


def _outcome(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepOutcome)
    cell = _cell(state, entry, body.iteration, _OUTCOMES[body.status])
    if body.intent != cell.intent:
        raise TamperError(
            f"entry {entry.seq}: an outcome of intent {body.intent}; the open one is {cell.intent}"
        )
    died = entry.epoch > cell.intent_epoch and body.status != "ok"
    if died or (cell.never_arrived and cell.voided < MAX_LOST):
        cell.voided += 1
    cell.outcome, cell.changed, cell.clean = entry.seq, body.changed, body.clean
    cell.unreachable, cell.reason = body.unreachable, body.reason


def _probed(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepProbed)
    cell = state.cell(CellKey(entry.step, entry.target, body.iteration))
    cell.never_arrived = body.finding is Finding.NOT_APPLIED


def _in_doubt(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepInDoubt)
    _cell(state, entry, body.iteration, CellEvent.DOUBT).reason = body.reason


def _resolved(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.StepResolved)
    cell = _cell(state, entry, body.iteration, CellEvent(f"resolve_{body.resolution}"))
    cell.resolved, cell.reason = True, body.reason
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
    state.captured[CellKey(entry.step, entry.target, body.iteration)] = entry.seq


def _loop(state: RunState, entry: LogEntry) -> None:
    state.loops[entry.step, entry.target] = entry.seq


def _gate_requested(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.GateRequested)
    gate = state.gates.setdefault(entry.step, GateState())
    gate.digest, gate.request = body.digest, entry.seq
    gate.asked_at, gate.expires_at = entry.ts, read_moment(body.expires_at)
    gate.opened, gate.closed, gate.detail = False, "", ""
    gate.votes.clear()  # they were given to an earlier request, also where both bear one moment


def _gate_decided(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.GateDecided)
    clock = read_moment(body.at) if body.at else entry.ts
    vote = Vote(entry.actor.id, Decision(body.decision), body.digest, entry.ts, body.reason, clock)
    state.gates.setdefault(entry.step, GateState()).votes.append(vote)


def _asked(state: RunState, entry: LogEntry, digest: str) -> GateState:
    gate = state.gates.get(entry.step)
    if gate is None or gate.digest != digest:
        raise TamperError(
            f"entry {entry.seq}: {entry.kind} of gate {entry.step}, which was not asked for this"
        )
    return gate


def _gate_opened(state: RunState, entry: LogEntry) -> None:
    _asked(state, entry, _body(entry, kinds.GateOpened).digest).opened = True


def _gate_closed(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.GateClosed)
    gate = _asked(state, entry, body.digest)
    gate.opened, gate.closed, gate.detail = False, body.reason, body.detail
    # A gate that was open and is not any more is asked again.
    state.finished.pop(entry.step, None)


def _manual_requested(state: RunState, entry: LogEntry) -> None:
    body = _body(entry, kinds.ManualRequested)
    manual = state.manuals.setdefault(entry.step, ManualState())
    manual.request, manual.fields = entry.seq, tuple(field.name for field in body.fields)


def _manual_attested(state: RunState, entry: LogEntry) -> None:
    manual = state.manuals.setdefault(entry.step, ManualState())
    manual.attested, manual.by = entry.seq, entry.actor.id


_APPLY: Final = {
    Kind.RUN_CREATED: _created,
    Kind.RUN_STARTED: _started,
    Kind.RUN_MODE: _mode,
    Kind.RUN_WAITING: _waiting,
    Kind.RUN_ENDED: _ended,
    Kind.RUN_CANCEL_REQUESTED: _cancel_requested,
    Kind.STEP_STARTED: _step_started,
    Kind.STEP_FINISHED: _step_finished,
    Kind.STEP_INTENT: _intent,
    Kind.STEP_OUTCOME: _outcome,
    Kind.STEP_PROBED: _probed,
    Kind.STEP_IN_DOUBT: _in_doubt,
    Kind.STEP_RESOLVED: _resolved,
    Kind.STEP_SKIPPED: _skipped,
    Kind.STEP_VERIFIED: _verified,
    Kind.STEP_CAPTURED: _captured,
    Kind.LOOP_EXPANDED: _loop,
    Kind.GATE_REQUESTED: _gate_requested,
    Kind.GATE_DECIDED: _gate_decided,
    Kind.GATE_OPENED: _gate_opened,
    Kind.GATE_CLOSED: _gate_closed,
    Kind.MANUAL_REQUESTED: _manual_requested,
    Kind.MANUAL_ATTESTED: _manual_attested,
}
