"""Where a step stands on each of its hosts: which of them are shown, and what is said of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from mimrun.app.shown.board import Board
from mimrun.replay.board import PARTS, WORDS, word_of
from mimrun.run.record.state import Cell, CellKey
from mimrun.runbook.node import PlannedAction

FEW: Final = 8
"""So many hosts of a step are all shown."""
MOST: Final = 40
"""So many of those that need a look are shown."""
ALL: Final = 1000
"""So many are shown where somebody asks for all."""
QUIET: Final = frozenset({"ready", "ok", "changed", "skipped"})
"""What needs no look."""
_TROUBLE: Final = frozenset(WORDS) - QUIET - {"running", "waiting"}
_RANK: Final[Mapping[str, int]] = {word: rank for rank, word in enumerate(WORDS)}


def gravity(word: str) -> int:
    """Say how much a word matters beside others; one that is not known matters most."""
    return _RANK.get(word, len(_RANK))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to see of a board.

    Arguments:
        run: its name, for links.
        status: of the run, as `RunView` has it.
        open: the path of the step whose hosts are all to be shown, or whose batches; "" for none.
        host: show this host only; "" for all of them.
    """

    run: str
    status: str
    open: str = ""
    host: str = ""

    def link(self, step: str, target: str) -> str:
        """Give the page of what a step did on a host."""
        return f"/runs/{self.run}/cell?{urlencode({'step': step, 'target': target})}"


@dataclass(frozen=True, slots=True)
class Chip:
    """A step on a host.

    Arguments:
        items: how many items of a loop are done: "3 of 5 items"; "" where there is no loop.
        took_ms: of all its attempts; 0 where nothing came of it yet.
    """

    target: str
    word: str
    link: str
    items: str = ""
    attempts: int = 0
    took_ms: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts of a step.

    Arguments:
        total: how many there are.
        chips: those that are shown.
        counts: how many stand how, the gravest first; nothing where all are shown.
    """

    total: int = 0
    chips: tuple[Chip, ...] = ()
    counts: tuple[tuple[str, int], ...] = ()

    @property
    def hidden(self) -> int:
        """How many are not shown."""
        return self.total - len(self.chips)


NO_HOSTS: Final = Hosts()
"""Those of a step that works on none."""


class HostWords:
    """Says where steps stand on their hosts.

    Arguments:
        board: of the run.
        wanted: what is to be seen of it.
    """

    def __init__(self, board: Board, wanted: Wanted) -> None:
        self._board, self._wanted = board, wanted
        self._keys: dict[tuple[str, str], list[CellKey]] = {}
        self.troubled: set[str] = set()
        """The steps that did not go well on each of their hosts."""
        for key, cell in board.state.cells.items():
            self._keys.setdefault((key.step, key.target), []).append(key)
            if word_of(cell) in _TROUBLE:
                self.troubled.add(key.step)

    def of(self, node: PlannedAction) -> Hosts:
        """Give the hosts of a step."""
        items = {target.target: len(target.items or ()) for target in node.targets}
        looped = node.loop is not None
        if self._wanted.host:
            items = {host: count for host, count in items.items() if host == self._wanted.host}
        return self._hosts(node.path, items, looped=looped)

    def told(self, path: str) -> Hosts:
        """Give the hosts of a step of which only the log tells."""
        hosts = dict.fromkeys((key.target for key in self._board.state.steps.get(path, {})), 0)
        return self._hosts(path, hosts, looped=False)

    def _hosts(self, path: str, items: Mapping[str, int], *, looped: bool) -> Hosts:
        # A step that has not begun is the same on all hosts, however many there are.
        begun = path in self._board.state.steps
        words = {
            host: self._word(path, host, count if looped else 1) if begun else "ready"
            for host, count in items.items()
        }
        shown = self._chosen(path, words)
        chips = tuple(self._chip(path, host, words[host], items[host], looped=looped) for host in shown)
        counted = Counter(words.values())
        counts = sorted(counted.items(), key=lambda one: -gravity(one[0])) if len(words) > FEW else ()
        return Hosts(len(words), chips, tuple(counts))

    def _chosen(self, path: str, words: Mapping[str, str]) -> Sequence[str]:
        if len(words) <= FEW:
            return list(words)
        if self._wanted.open == path:
            return list(words)[:ALL]
        return [host for host, word in words.items() if word not in QUIET][:MOST]

    def _word(self, path: str, host: str, items: int) -> str:
        """Say where a step stands on a host: as the gravest of its items, and of the looks before and after it."""
        cells = self._board.state.cells
        words = [self.cell_word(cells[key]) for key in self._keys.get((path, host), ())]
        if words and len(words) < items and QUIET.issuperset(words):
            words.append("skipped" if path in self._board.state.finished else self._under_way())
        for part in PARTS:
            looks = (self.cell_word(cells[key]) for key in self._keys.get((path + part, host), ()))
            words += [word for word in looks if word not in QUIET and word != "failed"]
        return max(words, key=gravity, default="ready")

    def _under_way(self) -> str:
        return "running" if self._wanted.status == "running" else "interrupted"

    def cell_word(self, cell: Cell) -> str:
        """Say where one item stands; what is under way while nobody executes the run was interrupted."""
        word = word_of(cell)
        return self._under_way() if word == "running" else word

    def _chip(self, path: str, host: str, word: str, items: int, *, looped: bool) -> Chip:
        keys = self._keys.get((path, host), ())
        cells = [self._board.state.cells[key] for key in keys]
        done = sum(self.cell_word(cell) in QUIET for cell in cells)
        worst = next((cell for cell in cells if self.cell_word(cell) == word), None)
        spans = [self._board.cells[key] for key in keys if key in self._board.cells]
        return Chip(
            host,
            word,
            self._wanted.link(path, host),
            items=f"{done} of {items or '?'} items" if looped else "",
            attempts=max((cell.attempts for cell in cells), default=0),
            took_ms=sum(span.took_ms for span in spans),
            reason=(worst.why_not or worst.reason) if worst and word not in ("ok", "changed") else "",
        )
