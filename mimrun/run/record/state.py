"""The state of a run: what its log entries add up to (see `fold`).

Nothing about a run is kept anywhere else. A worker that takes over, a reviewer and the one who wrote
the entries see the same state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, assert_never

from mimrun.connector import Effect
from mimrun.gate.approval import Question, Vote
from mimrun.run.record.manual_state import ManualState
from mimrun.run.record.transitions import CellStatus, RunStatus
from mimrun.run.record.wish import Wish


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
            probe proved that they never reached the target; the latter are also in `lost`.
        intent: the sequence number of the last intent, 0 for none, and the epoch of its worker.
        never_arrived: a probe says that the last intent had no effect.
        outcome: the sequence number of the last outcome, 0 for none; its blob has the answer.
        clean: the last failure provably had no effect.
        passed: what `expect` and `verify` said of the answer, once they were asked.
        resolved: the step counts as done by a person's word.
        since: when its first intent was recorded; anew after a person said that nothing had happened.
        doubt: what a person is or was asked: `lost`, `conflict` or `stuck`; "" where nobody was.
    """

    status: CellStatus = CellStatus.READY
    effect: Effect = Effect.ONCE
    attempts: int = 0
    voided: int = 0
    lost: int = 0
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
    since: datetime | None = None
    doubt: str = ""


@dataclass(slots=True)
class GateState:
    """What is known about a gate: the last request, the votes on it, and how it ended.

    Arguments:
        question: what people were asked.
        rounds: how many roles were asked besides since nobody decided in time, and `since` when last.
        opened_by: what opened it.
        governed: people, or a change record, were asked for at some time.
        passed: the request that was opened last, 0 for none, and `passed_at` when it was asked. It stays when the
            gate is asked anew: what was done behind it was done by that word.
    """

    digest: str = ""
    asked_at: datetime | None = None
    expires_at: datetime | None = None
    request: int = 0
    question: Question | None = None
    rounds: int = 0
    since: datetime | None = None
    votes: list[Vote] = field(default_factory=list)
    opened: bool = False
    opened_by: str = ""
    governed: bool = False
    closed: str = ""
    detail: str = ""
    passed: int = 0
    passed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A first person's word on a doubt, where a second one has to say the same.

    Arguments:
        by: the person, and `names` every id and account behind them.
    """

    resolution: str
    reason: str
    by: str
    names: frozenset[str]


@dataclass(slots=True)
class RunState:
    """Where a run stands.

    Arguments:
        seq: the last entry that was taken.
        waits_on: what the run rests for, as `run.waiting` has it, with `waits_at` the step.
        wish: whether somebody wants the run to stop, and how strongly.
        steps: the same cells as `cells`, by step.
        launchers: ids and accounts of who asked for the run or started it; none of them can approve it.
        proposals: what a first person said of a doubt, where the risk is high.
        locks: the resources that the run holds, with the generation of each.
        finished: the final word on each step that is over, and `finished_at` when it was recorded.
        worked: how long the run has been at work up to its last rest, and `at_work_since` when it began
            again, None while it rests; `seen` is the last moment in which a worker wrote something.
        captured, left: the entries that have the state before an effect, and the one after it.
        reverts: the outcomes of what is to be taken back at its time.
        decided: the last entry with a word of a person at a gate.
        broken: the digest of the plan that the glass was broken for; "" where it was not.
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
    wish: Wish = Wish()  # noqa: RUF009 - it is frozen
    locks: dict[str, int] = field(default_factory=dict)
    cells: dict[CellKey, Cell] = field(default_factory=dict)
    steps: dict[str, dict[CellKey, Cell]] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    finished: dict[str, str] = field(default_factory=dict)
    finished_at: dict[str, datetime] = field(default_factory=dict)
    worked: timedelta = timedelta()
    at_work_since: datetime | None = None
    seen: datetime | None = None
    loops: dict[tuple[str, str], int] = field(default_factory=dict)
    captured: dict[CellKey, int] = field(default_factory=dict)
    left: dict[CellKey, int] = field(default_factory=dict)
    reverts: dict[CellKey, int] = field(default_factory=dict)
    proposals: dict[CellKey, Proposal] = field(default_factory=dict)
    gates: dict[str, GateState] = field(default_factory=dict)
    manuals: dict[str, ManualState] = field(default_factory=dict)
    decided: int = 0
    broken: str = ""

    def cell(self, key: CellKey) -> Cell:
        """Give what is known about a cell; a cell nobody touched is ready."""
        cell = self.cells.get(key)
        if cell is None:
            # Many threads make cells, but only one makes this one.
            cell = self.cells.setdefault(key, Cell())
            self.steps.setdefault(key.step, {})[key] = cell
        return cell

    def has_begun(self, step: str) -> bool:
        """Say whether anything of a step is on record."""
        return any(step in known for known in (self.started, self.finished, self.gates, self.manuals))

    def at_work(self, now: datetime) -> timedelta:
        """Say how long the run has been at work: while it waits for people, or lies without a worker, it is not.

        Arguments:
            now: the present moment, UTC.
        """
        return self.worked + (now - self.at_work_since if self.at_work_since else timedelta())

    def in_doubt(self) -> list[CellKey]:
        """Give the cells that wait for a person's word."""
        return [key for key, cell in self.cells.items() if cell.status is CellStatus.IN_DOUBT]

    def recap(self) -> dict[str, int]:
        """Count the cells in Ansible's words, and in doubt."""
        return recap(self.cells)


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
            case CellStatus.UNKNOWN | CellStatus.IN_DOUBT:
                counts["in_doubt"] += 1
            case CellStatus.PERFORMING:
                pass  # under way, or interrupted: the status of the run tells which
            case CellStatus.READY:
                counts["failed"] += cell.passed is False
            case _:
                assert_never(cell.status)
    return counts
