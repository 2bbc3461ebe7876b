"""A run told again on a page: the board at one moment, and the moments around it."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.replaying import narrate
from mimrun.app.shown.text import safe
from mimrun.log.moment import write_moment
from mimrun.log.store import Store
from mimrun.replay.board import WORDS, Board
from mimrun.replay.narration import Frame, Narration, Row
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import RunStatus
from mimrun.web.words import worded

AROUND: Final = 100
"""So many moments are listed at once."""
AT_ONCE: Final = 4000
"""So many moments are sent to the scrubber at once."""
_KEEP: Final = 4
_RANK: Final = {word: rank for rank, word in enumerate(WORDS)}


@dataclass(frozen=True, slots=True)
class Line:
    """A step on the board at one moment.

    Arguments:
        word: where it stands as a whole.
        counts: how many hosts stand how, the gravest first.
    """

    row: Row
    word: str
    counts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a run.

    Arguments:
        at: its number, from 0.
        frame: what happened then; None where nothing ever did.
        first: the number of the first of `around`.
    """

    at: int
    frame: Frame | None
    lines: tuple[Line, ...]
    first: int
    around: tuple[Frame, ...]


_KEPT: Final[WeakKeyDictionary[Store, OrderedDict[tuple[str, int], Narration]]] = WeakKeyDictionary()
_KEEPING: Final = threading.Lock()


def narration_kept(home: Home, run: str) -> Narration:
    """Tell a run, or give what was told of it while nothing new was recorded of it.

    Arguments:
        run: its full name.
    """
    key = (run, RunSummary.decode(home.store.projection(RunSummaries.name, run)).last_seq)
    with _KEEPING:
        kept = _KEPT.setdefault(home.store, OrderedDict())
        if key in kept:
            kept.move_to_end(key)
            return kept[key]
    told = narrate(home, run)
    with _KEEPING:
        kept[key] = told
        while len(kept) > _KEEP:
            kept.popitem(last=False)
    return told


def moment_of(told: Narration, at: int | None) -> Moment:
    """Give a moment of a run.

    Arguments:
        at: its number, from 0; None for the last one.
    """
    last = len(told.frames) - 1
    number = last if at is None else min(max(at, 0), max(last, 0))
    board = told.board_at(number)
    first = max(min(number - AROUND // 2, len(told.frames) - AROUND), 0)
    frame = told.frames[number] if told.frames else None
    lines = tuple(_line(row, board) for row in told.rows)
    return Moment(number, frame, lines, first, told.frames[first : first + AROUND])


def _line(row: Row, board: Board) -> Line:
    words: Mapping[str, str] = board.get(row.path, {})
    counted = Counter(word for target, word in words.items() if target)
    left = len(row.targets) - counted.total()
    if counted and left > 0:
        counted["ready"] += left
    whole = words.get("", "running" if counted else "ready")
    counts = sorted(counted.items(), key=lambda one: -_RANK[one[0]])  # type: ignore[index]  # words of a board
    return Line(row, whole, tuple(counts))


def stretch_of(told: Narration, after: int) -> dict[str, JsonValue]:
    """Give a stretch of moments for the scrubber, as short as it gets; with the first one, what stays the same."""
    frames: list[JsonValue] = [
        [
            frame.offset_ms,
            write_moment(frame.at),
            frame.seq,
            safe(frame.text),
            safe(frame.who),
            frame.status,
            [[*change] for change in frame.changes],
        ]
        for frame in told.frames[after : after + AT_ONCE]
    ]
    said: dict[str, JsonValue] = {"after": after, "count": len(told.frames), "frames": frames}
    if after == 0:
        said["hosts"] = {row.path: len(row.targets) for row in told.rows}
        known = dict.fromkeys((*WORDS, *(str(status) for status in RunStatus)))
        said["words"] = {word: [(w := worded(word)).tone, w.sign, w.text] for word in known}
    return said
