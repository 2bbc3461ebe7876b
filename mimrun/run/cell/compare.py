"""The way back, step by step: taken only where the target is as the run had left it.

Between a run and its undo somebody else may have changed the same thing. What an undo would put back is
then their work, so it looks first, and a person decides. An undo that fails waits for a person, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final

from pydantic import JsonValue

from mimrun.errors import InputError
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import Body, StepCaptured, StepCompared, StepInDoubt, StepRevertScheduled
from mimrun.log.moment import write_moment
from mimrun.run.cell.attempt import Attempts, Work
from mimrun.run.journal import Journal
from mimrun.run.record.state import Cell, CellKey, RunState
from mimrun.run.record.transitions import CellStatus
from mimrun.runbook.node import PlannedAction
from mimrun.runbook.plan import Plan

VOLATILE: Final = frozenset({"changed", "failed", "skipped", "reason", "dur_ms", "waited_ms", "elapsed_ms"})
"""Parts of an answer that say how it was got and not what was found."""

_SHOWN: Final = 60
"""Characters of one value that a difference shows."""

_NAMED: Final = 5
"""Steps that are named where many are left standing."""

UNDO: Final = "Undo: "
"""What the name of a step begins with that takes another one back."""

_TOO_LATE: Final = "the worker ended before it had read the state that it left"


class Found(StrEnum):
    """What an undo finds before it begins."""

    LEFT = "left"  #: what the run had left
    BEFORE = "before"  #: what was there before the run: there is nothing to take back
    OTHER = "other"  #: neither: somebody else has changed it since


State = Mapping[str, JsonValue]


def state_in(answer: bytes) -> dict[str, JsonValue]:
    """Give what a reading says of its target, without what is different each time."""
    known = json.loads(answer or b"{}")
    return {name: value for name, value in known.items() if name not in VOLATILE}


def compare(before: State | None, left: State, now: State) -> Found:
    """Say what a target is like now.

    Where a reading does not tell the state before from the one that was left, it counts as left.
    """
    if now == left:
        return Found.LEFT
    return Found.BEFORE if before is not None and now == before else Found.OTHER


def difference(before: State | None, left: State, now: State) -> str:
    """Say in words for each part of a reading that is not as it was left, what it was and what it is."""
    told = []
    for name in sorted(left.keys() | now.keys()):
        if left.get(name) != now.get(name):
            was = f"before the run {_short((before or {}).get(name))}, " if before is not None else ""
            told.append(f"{name}: {was}left as {_short(left.get(name))}, now {_short(now.get(name))}")
    return "; ".join(told)


def _short(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class WayBack:
    """Records what a run leaves, and takes back what an undo run is to take back.

    Arguments:
        journal, attempts: the worker's.
    """

    def __init__(self, journal: Journal, attempts: Attempts) -> None:
        self._journal, self._attempts = journal, attempts

    def note_left(self, key: CellKey, reading: Callable[[], Work]) -> None:
        """Record the state that a step has left, so that its undo can tell whether it still is so.

        Only right behind the effect: what another worker finds later may be somebody else's doing.

        Arguments:
            key: the cell, at rest.
            reading: gives its capture.
        """
        state = self._journal.state
        cell = state.cell(key)
        if key in state.left or not _has_left_something(cell):
            return
        if cell.intent_epoch != self._journal.lease.epoch:
            data, reason = b"", _TOO_LATE
        else:
            try:
                data, reason = self._attempts.look(reading())
            except InputError as exc:
                data, reason = b"", str(exc)
        body = StepCaptured(when="after", reason=reason, iteration=key.iteration)
        self._journal.write(self._draft(key, body, data))

    def schedule(self, key: CellKey, after_ms: int) -> None:
        """Record when what a step did is to be taken back, unless that is on record.

        What a failure may have left half done is taken back, too.

        Arguments:
            key: the cell, at rest.
            after_ms: how long after its outcome.
        """
        state, cell = self._journal.state, self._journal.state.cell(key)
        if not _has_left_something(cell):
            return
        if state.reverts.get(key) == cell.outcome:
            return
        due = self._journal.store.entry(cell.outcome).ts + timedelta(milliseconds=after_ms)
        body = StepRevertScheduled(due_at=write_moment(due), outcome=cell.outcome, iteration=key.iteration)
        self._journal.write(self._draft(key, body))

    def take_back(self, work: Work, reading: Work | None, left: JsonValue) -> Cell:
        """Take something back, unless the target is not as it was left:

        1. What a person has counted as failed is not tried any more.
        2. What a worker that died has begun is settled. What is still to be done is compared again: the first look
           may be long ago.
        3. What a person told to put back all the same is not compared again.
        4. Another state than the one that was left, or one that cannot be told, waits for a person.
        5. The state of before is what is wanted; nothing is done.
        6. An undo that fails waits for a person.

        Arguments:
            work: the undo.
            reading: the look at the target; None where the step captured nothing.
            left: the entries that have the state before and the state that was left.

        Raises:
            Halt: somebody asked to stop, or the gate is not open any more.
            LogError: the log cannot be written; nothing more is begun.
        """
        cell = self._journal.state.cell(work.key)
        if cell.status is CellStatus.FAILED and cell.resolved:
            return cell
        cell = self._attempts.settle(work)
        if reading is not None and _is_to_be_done(cell) and not self._is_as_left(reading, left):
            return cell
        cell = self._attempts.work(work)
        if cell.status is CellStatus.FAILED:
            self._attempts.heed_stop()
            self.stick(work.key, cell.reason)
        return cell

    def stick(self, key: CellKey, reason: str) -> None:
        """Ask a person about an undo that failed; the locks stay until then."""
        doubt = StepInDoubt(
            why="stuck", reason=f"the undo failed: {reason}", intent=0, iteration=key.iteration
        )
        self._journal.write(self._draft(key, doubt))

    def _is_as_left(self, reading: Work, left: JsonValue) -> bool:
        key = reading.key
        seqs = left if isinstance(left, dict) else {}
        was, why = self._recorded(seqs.get("left"))
        data, unread = self._attempts.look(reading) if not why else (b"", "")
        if why or unread:
            self._ask(key, "unknown", f"cannot compare: {why or unread}", b"")
            return False
        before, none = self._recorded(seqs.get("before"))
        states = (None if none else state_in(before), state_in(was), state_in(data))
        found = compare(*states)
        if found is Found.OTHER:
            self._ask(key, "other", f"somebody has changed it since: {difference(*states)}", data)
            return False
        told = "it is as it was before the run; nothing is left to take back"
        body = StepCompared(
            found=found.value, reason=told if found is Found.BEFORE else "", iteration=key.iteration
        )
        if found is Found.LEFT:
            # It proves nothing without the intent that follows it.
            self._journal.hold(self._draft(key, body, data))
            return True
        self._journal.write(self._draft(key, body, data))
        return False

    def _ask(self, key: CellKey, found: str, reason: str, data: bytes) -> None:
        compared = StepCompared.model_validate({"found": found, "reason": reason, "iteration": key.iteration})
        doubt = StepInDoubt(why="conflict", reason=reason, intent=0, iteration=key.iteration)
        self._journal.write(self._draft(key, compared, data), self._draft(key, doubt))

    def _recorded(self, seq: JsonValue) -> tuple[bytes, str]:
        """Give a state that the log has, or why it has none."""
        if not isinstance(seq, int) or not seq:
            return b"", "the state that the run left is not on record"
        entry = self._journal.store.entry(seq)
        why = entry.body.reason if isinstance(entry.body, StepCaptured) else "it is no state"
        return self._journal.store.blob(entry, "data") or b"", why

    def _draft(self, key: CellKey, body: Body, data: bytes = b"") -> Draft:
        blobs = [Blob("data", data, "data")] if data else []
        return self._journal.draft(body, step=key.step, target=key.target, blobs=blobs)


def standing(plan: Plan, state: RunState) -> str:
    """Say what an undo run has not taken back; "" where that is nothing, or the run is no way back."""
    undos = (node for node in plan.walk() if isinstance(node, PlannedAction) and node.undoes)
    left = []
    for node in undos:
        target = node.targets[0].target
        cell = state.cells.get(CellKey(node.path, target))
        if cell is None or cell.status is not CellStatus.OK:
            step = node.undoes.partition(" ")[0]
            left.append(f"{step} {node.name.removeprefix(UNDO)}{f' on {target}' if target else ''}")
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    return f"{', '.join(left[:_NAMED])}{more} still {'stands' if len(left) == 1 else 'stand'}" if left else ""


def _is_to_be_done(cell: Cell) -> bool:
    """Say whether an undo may begin, and no person has said that it is to be done whatever it finds."""
    match cell.status:
        case CellStatus.READY:
            return not cell.resolved or cell.doubt == "lost"
        case CellStatus.FAILED:
            return cell.never_arrived
        case CellStatus.UNKNOWN:
            return True
        case _:
            return False


def _has_left_something(cell: Cell) -> bool:
    """Say whether a cell would be taken back: it changed something, or may have."""
    match cell.status:
        case CellStatus.OK:
            return cell.changed or cell.resolved or cell.attempts > 1
        case CellStatus.FAILED:
            return not cell.clean
        case _:
            return False
