"""The board: each step on each target, and where it stood at any moment of a run, told as what changed.

A board of ten thousand steps is long, and one entry changes a single place of it. So a frame has only what
changed, and whoever shows the board of a moment puts the changes together, from the beginning or from the
board before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from mimrun.log import kinds
from mimrun.log.entry import Draft, LogEntry
from mimrun.run.record.state import Cell, CellKey, RunState
from mimrun.run.record.transitions import CellStatus

Word: TypeAlias = Literal[
    "ready", "ok", "changed", "skipped", "running", "waiting", "failed", "unreachable", "in_doubt"
]
"""Where a step stands on a target. Of the items of a loop the last of these words counts that one of them has."""

WORDS: Final[tuple[Word, ...]] = get_args(Word)
_RANK: Final = {word: rank for rank, word in enumerate(WORDS)}
PARTS: Final = (".verify", ".capture")
"""What the path of a look begins with that stands before or after a step."""

Board: TypeAlias = dict[str, dict[str, Word]]
"""By step, by target: where it stands. The target "" is the step as a whole. What is not there is `ready`."""


class Change(NamedTuple):
    """One place of the board that is different now."""

    step: str
    target: str
    word: Word


def step_of(path: str) -> str:
    """Give the step that a look before or after it belongs to, or the step itself."""
    if path.endswith(PARTS):
        return path.rpartition(".")[0]
    return path


def iteration_of(entry: LogEntry | Draft) -> int:
    """Give the item of a loop that an entry is about, from 0."""
    # Asking a body for a field that it does not have takes long, and there are many entries.
    return int(getattr(entry.body, "iteration", 0)) if entry.kind in _ITERATED else 0


_ITERATED: Final = frozenset(kind for kind, body in kinds.BODIES.items() if "iteration" in body.model_fields)


def word_of(cell: Cell) -> Word:
    """Say where a cell stands, in Ansible's words and some of ours."""
    match cell.status:
        case CellStatus.OK if cell.passed is False:
            return "failed"
        case CellStatus.OK:
            return "changed" if cell.changed else "ok"
        case CellStatus.FAILED:
            return "unreachable" if cell.unreachable else "failed"
        case CellStatus.UNKNOWN | CellStatus.IN_DOUBT:
            return "in_doubt"
        case CellStatus.SKIPPED:
            return "skipped"
        case CellStatus.PERFORMING:
            return "running"
        case _:
            return "failed" if cell.passed is False else "ready"


class Changes:
    """Follows a run, and gives what each entry changes on its board."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], dict[int, Word]] = {}
        self._counts: dict[tuple[str, str], Counter[Word]] = {}
        self._shown: dict[tuple[str, str], Word] = {}

    def take(self, entry: LogEntry, state: RunState) -> tuple[Change, ...]:
        """Take the next entry of a run.

        Arguments:
            state: the run's, after the entry.
        """
        if not entry.step:
            return ()
        step = step_of(entry.step)
        if entry.target:
            iteration = iteration_of(entry)
            word = _cell_word(state, CellKey(step, entry.target, iteration))
            return self._put(step, entry.target, self._gravest(step, entry.target, iteration, word))
        whole = _step_word(entry.body)
        return self._put(step, "", whole) if whole else ()

    def _gravest(self, step: str, target: str, iteration: int, word: Word) -> Word:
        """Note where one item of a loop stands, and give the word that counts of all of them."""
        place = (step, target)
        items, counts = self._items.setdefault(place, {}), self._counts.setdefault(place, Counter())
        if iteration in items:
            counts[items[iteration]] -= 1
        items[iteration] = word
        counts[word] += 1
        return max((one for one, times in counts.items() if times > 0), key=_RANK.__getitem__)

    def _put(self, step: str, target: str, word: Word) -> tuple[Change, ...]:
        if self._shown.get((step, target)) == word:
            return ()
        self._shown[step, target] = word
        return (Change(step, target, word),)


def _cell_word(state: RunState, key: CellKey) -> Word:
    """Say where a cell stands, together with the looks before and after it."""
    words = []
    for part in ("", *PARTS):
        cell = state.cells.get(key._replace(step=key.step + part))
        if cell is None:
            continue
        word = word_of(cell)
        # A look that has come to its end says nothing by itself: what it found is on record with the step.
        if not part or word in ("running", "in_doubt"):
            words.append(word)
    return max(words, key=_RANK.__getitem__, default="ready")


def _step_word(body: kinds.Body) -> Word | None:
    """Say where a step as a whole stands after an entry; None where it says nothing of that."""
    match body:
        case kinds.StepStarted():
            return "running"
        case kinds.RunWaiting(on="doubt"):
            return "in_doubt"
        case kinds.GateRequested() | kinds.ManualRequested() | kinds.RunWaiting():
            return "waiting"
        case kinds.ManualClaimed():
            return "running"
        case kinds.ManualReleased() | kinds.ManualHandedOver() | kinds.ManualDisputed():
            return "waiting"
        case kinds.GateClosed(reason=reason):
            return "waiting" if reason == "void" else "failed"
        case kinds.StepFinished() as over:
            return over.status
        case _:
            return None


def board_of(changes: Iterable[Change], before: Mapping[str, Mapping[str, Word]] | None = None) -> Board:
    """Put changes together.

    Arguments:
        before: the board that they change; an empty one where none is given.
    """
    board: Board = {step: dict(targets) for step, targets in (before or {}).items()}
    for change in changes:
        board.setdefault(change.step, {})[change.target] = change.word
    return board
