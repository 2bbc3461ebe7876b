"""The narration of a run: its log told again, moment by moment, for a person who learns from it.

Nothing is done again. A frame is one entry: when it was, in words what happened and who did it, and what it
changed on the board. The terminal plays frames in time; the console puts a finger on any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from mimrun.log.entry import LogEntry
from mimrun.log.kinds import GateRequested, Kind, StepStarted
from mimrun.log.moment import write_moment
from mimrun.replay.board import Board, Change, Changes, board_of, step_of
from mimrun.replay.telling import Teller
from mimrun.run.record.fold import apply
from mimrun.run.record.state import RunState
from mimrun.runbook.node import Node, PlannedAction
from mimrun.runbook.plan import Plan


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the board: a step, as the plan has it.

    Arguments:
        kind: `action`, `gate`, `manual`, or what holds steps: `block`, `serial`, `parallel`, `include`.
        depth: how many steps it stands in.
        targets: the hosts it works on.
    """

    path: str
    name: str
    kind: str
    depth: int = 0
    targets: tuple[str, ...] = ()

    def as_json(self) -> dict[str, JsonValue]:
        """The row for machines."""
        return {
            "path": self.path,
            "name": self.name,
            "kind": self.kind,
            "depth": self.depth,
            "targets": list(self.targets),
        }


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment of a run: one entry of its log.

    Arguments:
        offset_ms: how long after the run was asked for.
        at: when.
        seq, kind: of the entry.
        step, target: where; "" for the run as a whole.
        status: of the run, after it.
        text: what happened, in a sentence. It may quote a target: show it as data.
        who, via: who caused it, and through which door.
        changes: what it changes on the board.
    """

    offset_ms: int
    at: datetime
    seq: int
    kind: str
    step: str
    target: str
    status: str
    text: str
    who: str
    via: str
    changes: tuple[Change, ...]

    def as_json(self) -> dict[str, JsonValue]:
        """The frame for machines."""
        return {
            "offset_ms": self.offset_ms,
            "at": write_moment(self.at),
            "seq": self.seq,
            "kind": self.kind,
            "step": self.step,
            "target": self.target,
            "status": self.status,
            "text": self.text,
            "who": self.who,
            "via": self.via,
            "changes": [[*change] for change in self.changes],
        }


@dataclass(frozen=True, slots=True)
class Narration:
    """A run, told again.

    Arguments:
        run, incident, title, status, reason: as the log has them.
        rows: the lines of the board, in the order of the plan.
        frames: what happened, in order.
        recap: how many hosts ended how, in Ansible's words.
        missing: what cannot be told any more, and why.
    """

    run: str
    incident: str
    title: str
    status: str
    reason: str
    rows: tuple[Row, ...]
    frames: tuple[Frame, ...]
    recap: dict[str, int]
    missing: tuple[str, ...] = ()

    @property
    def length_ms(self) -> int:
        """How long it took, from being asked for to its last entry."""
        return self.frames[-1].offset_ms if self.frames else 0

    def board_at(self, frame: int) -> Board:
        """Give the board right behind a frame.

        Arguments:
            frame: its place, from 0; a negative one is before everything.
        """
        return board_of(change for one in self.frames[: max(frame + 1, 0)] for change in one.changes)

    def as_json(self, *, after: int = 0, limit: int | None = None) -> dict[str, JsonValue]:
        """Give the whole of it for machines, or a stretch of its frames, with the board that they begin with.

        Arguments:
            after: so many frames are left out at the beginning.
            limit: how many frames are given at most.
        """
        end = len(self.frames) if limit is None else after + limit
        board: dict[str, JsonValue] = {step: {**words} for step, words in self.board_at(after - 1).items()}
        return {
            "run": self.run,
            "incident": self.incident,
            "title": self.title,
            "status": self.status,
            "reason": self.reason,
            "length_ms": self.length_ms,
            "recap": {**self.recap},
            "missing": list(self.missing),
            "rows": [row.as_json() for row in self.rows],
            "count": len(self.frames),
            "after": after,
            "board": board,
            "frames": [frame.as_json() for frame in self.frames[after:end]],
        }


def narration_of(
    entries: Iterable[LogEntry], plan: Plan | None, *, missing: tuple[str, ...] = ()
) -> Narration:
    """Tell a run from its entries.

    Arguments:
        entries: the run's, in order; those of the kill switch may stand among them.
        plan: the frozen plan; None where it was erased, and steps are known by what the log says of them.
        missing: what cannot be told, and why.

    Raises:
        TamperError: the entries are not the history of a run.
    """
    known = list(entries)
    rows = tuple(_rows(plan) if plan is not None else _rows_told(known))
    teller, changes, state = Teller({row.path: row.name for row in rows}), Changes(), RunState()
    frames = []
    first = next((entry.ts for entry in known if entry.run), None)
    for entry in known:
        before = state.status.value
        if entry.run:
            apply(state, entry)
        told = teller.tell(entry, state, before)
        frames.append(
            Frame(
                offset_ms=_milliseconds(entry.ts, first),
                at=entry.ts,
                seq=entry.seq,
                kind=entry.kind.value,
                step=step_of(entry.step),
                target=entry.target,
                status=state.status.value,
                text=told,
                who=entry.actor.id,
                via=entry.actor.via,
                changes=changes.take(entry, state) if entry.run else (),
            )
        )
    return Narration(
        run=state.run,
        incident=state.incident,
        title=state.title,
        status=state.status.value,
        reason=state.reason,
        rows=rows,
        frames=tuple(frames),
        recap=state.recap(),
        missing=missing,
    )


def _milliseconds(at: datetime, first: datetime | None) -> int:
    return max(0, int((at - first).total_seconds() * 1000)) if first else 0


def _rows(plan: Plan) -> Iterator[Row]:
    for node in plan.walk():
        yield Row(node.path, node.name, node.kind, _depth(node), _targets(node))


def _depth(node: Node) -> int:
    """Say how many steps a step stands in: each has a word of its own in the path, such as `block`."""
    return (len(node.path.split(".")) - 1) // 2


def _targets(node: Node) -> tuple[str, ...]:
    return tuple(one.target for one in node.targets) if isinstance(node, PlannedAction) else ()


def _rows_told(entries: Iterable[LogEntry]) -> Iterator[Row]:
    """Give the steps that the log tells of, where there is no plan any more."""
    known = set()
    for entry in entries:
        if entry.step in known:
            continue
        match entry.body:
            case StepStarted() as body:
                known.add(entry.step)
                yield Row(entry.step, body.name, "action", targets=body.targets)
            case GateRequested() as body:
                known.add(entry.step)
                yield Row(entry.step, body.title, "gate")
            case _ if entry.kind is Kind.MANUAL_REQUESTED:
                known.add(entry.step)
                yield Row(entry.step, "", "manual")
