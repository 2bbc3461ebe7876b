"""Boards of runs, kept up to date: whoever looks takes up only what was recorded since somebody looked before."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Final
from weakref import WeakKeyDictionary

from mimrun.app.home import Home
from mimrun.app.runs import Known, find_run, load_plan, load_state, plan_erased
from mimrun.app.shown.board import Board
from mimrun.errors import BlobKeyError, ErasedError
from mimrun.log.store import Store
from mimrun.run.record.summary import RunSummaries, RunSummary

_MOST: Final = 32
"""Boards that are kept of one log: those that were looked at last."""


class _Boards:
    """The boards of one log. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def of(self, run: str) -> _Kept:
        with self._lock:
            kept = self._kept.setdefault(run, _Kept())
            self._kept.move_to_end(run)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
            return kept


class _Kept:
    """A board, and who may look at it now."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.board: Board | None = None

    def caught_up(self, home: Home, run: str) -> Board:
        if self.board is None or self.board.missing or _is_erased(home, run):
            self.board = _begin(home, run)
        try:
            for entry in home.store.entries(run=run, after=self.board.state.seq):
                self.board.take(entry)
        except BaseException:
            self.board = None  # half an entry may have been taken
            raise
        return self.board


def _begin(home: Home, run: str) -> Board:
    try:
        return Board(load_plan(home, run))
    except (ErasedError, BlobKeyError) as exc:
        return Board(None, str(exc))


def _is_erased(home: Home, run: str) -> bool:
    """Say whether the plan was erased: what is kept in memory is gone then, too."""
    summary = RunSummary.decode(home.store.projection(RunSummaries.name, run))
    return bool(plan_erased(home, summary))


_KEPT: Final[WeakKeyDictionary[Store, _Boards]] = WeakKeyDictionary()
_KEEPING: Final = threading.Lock()


@contextmanager
def board_of(home: Home, run: str) -> Iterator[Board]:
    """Give the board of a run as it is now; nobody else looks at it or changes it while the `with` lasts.

    Arguments:
        run: its full name.

    Raises:
        RunError: the run has no plan in the log.
        TamperError: the log is not what was recorded.
    """
    with _KEEPING:
        boards = _KEPT.get(home.store)
        if boards is None:
            boards = _KEPT[home.store] = _Boards()
    kept = boards.of(run)
    with kept.lock:
        yield kept.caught_up(home, run)


def known_of(home: Home, run: str) -> Known:
    """Give what gates and manual steps need to know of a run as it is now, without its cells: others may go on with it.

    Arguments:
        run: its name, or the beginning of it.

    Raises:
        InputError: there is no such run.
        ErasedError: two people had its plan erased.
        TamperError: the log is not what was recorded.
    """
    name = find_run(home, run).summary.run
    with board_of(home, name) as board:
        return asked_of(board) or Known(load_state(home, name), load_plan(home, name))


def asked_of(board: Board) -> Known | None:
    """Give that of a board that somebody holds; None where its plan was erased."""
    if board.plan is None:
        return None
    state = replace(
        board.state,
        launchers=set(board.state.launchers),
        cells={},
        steps={},
        gates=deepcopy(board.state.gates),
        manuals=deepcopy(board.state.manuals),
    )
    return Known(state, board.plan)
