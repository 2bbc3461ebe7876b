"""The board of a run on its page: every step with where it stands on each host, readable for one host and for 500.

Few hosts are all shown. Of many only those are that need a look; the others are counted, and shown when asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mimrun.app.shown.batches import ended
from mimrun.app.shown.board import Board, Span
from mimrun.app.shown.plan import count, form_of
from mimrun.runbook.batch import hosts_of
from mimrun.runbook.node import (
    Leaf,
    Node,
    PlannedAction,
    PlannedBlock,
    PlannedGate,
    PlannedInclude,
    PlannedManual,
    PlannedSerial,
    inside_of,
    parts_of,
)
from mimrun.web.view.hosts import NO_HOSTS, Hosts, HostWords, Wanted

_BATCHES: Final = 6
"""So many batches are all shown."""


@dataclass(frozen=True, slots=True)
class Part:
    """Steps within another one.

    Arguments:
        title: "" where nothing is to be said.
        word: how they stand together, where they have a word of their own.
        folded: they are quiet, so that their title says enough.
        more: the path that is opened to see what was left out; "" where nothing was.
        path: what tells it from the others of its board, where it can be folded: whoever opened it finds it open again.
    """

    title: str
    rows: tuple[Row, ...]
    word: str = ""
    folded: bool = False
    more: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A step.

    Arguments:
        doing: what it is doing now, or why it ended so.
        kind: `action`, `gate`, `manual`, or what holds steps.
    """

    path: str
    name: str
    form: str
    word: str
    when: str = ""
    doing: str = ""
    began: datetime | None = None
    took_ms: int = 0
    hosts: Hosts = NO_HOSTS
    kind: str = "action"
    parts: tuple[Part, ...] = ()


def rows_of(board: Board, wanted: Wanted, now: datetime) -> tuple[Part, ...]:
    """Give the steps of a run, and what follows the last one.

    Arguments:
        now: the present moment, UTC.
    """
    return _Rows(board, wanted, now).all()


class _Rows:
    def __init__(self, board: Board, wanted: Wanted, now: datetime) -> None:
        self._board, self._wanted = board, wanted
        self._hosts = HostWords(board, wanted)
        self._doing = board.doing(now) if wanted.status == "running" else {}

    def all(self) -> tuple[Part, ...]:
        plan = self._board.plan
        if plan is None:
            # Only the log can say what there was.
            told = (self._told(path, span) for path, span in self._board.steps.items())
            return (Part("", tuple(told)),)
        rows = tuple(self._rows(plan.nodes))
        return (Part("", rows), *self._handlers("", "at the end"))

    def _rows(self, nodes: Sequence[Node]) -> Iterator[Row]:
        for node in nodes:
            row = self._row(node)
            if row is not None:
                yield row

    def _row(self, node: Node) -> Row | None:
        host = self._wanted.host
        if host and not isinstance(node, PlannedGate | PlannedManual) and host not in _targets(node):
            return None
        span = self._board.steps.get(node.path, Span())
        doing = self._doing.get(node.path, "") or (span.reason if self._word(node) == "failed" else "")
        return Row(
            node.path,
            node.name,
            form_of(node),
            self._word(node),
            when=node.when or "",
            doing=doing,
            began=span.began,
            took_ms=_took(span),
            hosts=self._hosts.of(node) if isinstance(node, PlannedAction) else NO_HOSTS,
            kind=node.kind,
            parts=tuple(self._parts(node)),
        )

    def _word(self, node: Node) -> str:
        """Say where a step stands as a whole."""
        state, status = self._board.state, self._wanted.status
        if not isinstance(node, Leaf):
            word = ended(node, state.finished)
            begun = any(state.has_begun(leaf) for leaf in _leaves(node))
            return word or (("running" if status == "running" else "waiting") if begun else "ready")
        if (over := state.finished.get(node.path)) is not None:
            return "changed" if over == "ok" and self._changed(node.path) else over
        if node.path == state.waits_at and status in ("waiting", "in_doubt"):
            return status
        if not state.has_begun(node.path):
            return "ready"
        return {"running": "running", "in_doubt": "in_doubt"}.get(status, "interrupted")

    def _changed(self, step: str) -> bool:
        return any(cell.changed for cell in self._board.state.steps.get(step, {}).values())

    def _parts(self, node: Node) -> Iterator[Part]:
        match node:
            case PlannedBlock():
                for title, nodes in (("", node.block), ("rescue", node.rescue), ("always", node.always)):
                    if rows := tuple(self._rows(nodes)):
                        yield Part(title, rows)
            case PlannedSerial():
                yield from self._batches(node)
            case PlannedAction() | PlannedGate() | PlannedManual():
                return
            case _:
                if rows := tuple(self._rows(parts_of(node))):
                    yield Part("", rows)
                if isinstance(node, PlannedInclude):
                    yield from self._handlers(inside_of(node), "behind it")

    def _batches(self, node: PlannedSerial) -> Iterator[Part]:
        """Give the batches: of many, those that are quiet are told together."""
        total, quiet = len(node.batches), list[tuple[int, str]]()
        every = total <= _BATCHES or self._wanted.open == node.path or bool(self._wanted.host)
        for number, batch in enumerate(node.batches, 1):
            word = self._word(batch)
            quiet_one = word in ("ok", "ready") and not self._asks_for_a_look(batch)
            if not every and quiet_one:
                if quiet and quiet[-1][1] != word:
                    yield _together(node, quiet, total)
                    quiet = []
                quiet.append((number, word))
                continue
            if quiet:
                yield _together(node, quiet, total)
                quiet = []
            rows = tuple(self._rows(parts_of(batch)))
            if rows:
                hosts = count(len(hosts_of(batch)), "host")
                title = f"batch {number} of {total}, {hosts}"
                yield Part(title, rows, word, folded=quiet_one, path=batch.path)
            yield from self._handlers(batch.path, f"behind batch {number}")
        if quiet:
            yield _together(node, quiet, total)

    def _asks_for_a_look(self, batch: Node) -> bool:
        """Say whether something in a batch must be seen: hosts that failed though the batch went on, or what is asked for."""
        leaves = set(_leaves(batch))
        return not leaves.isdisjoint(self._hosts.troubled) or self._wanted.open in leaves

    def _handlers(self, around: str, when: str) -> Iterator[Part]:
        plan = self._board.plan
        behind = plan.handlers_behind(around) if plan is not None else ()
        if rows := tuple(self._rows(behind)):
            word = "ready" if all(row.word == "ready" for row in rows) else ""
            folded = word == "ready" and len(rows) > _BATCHES
            yield Part(f"{when}, where something changed", rows, folded=folded, path=f"{around}.handlers")

    def _told(self, path: str, span: Span) -> Row:
        """Give a step of which only the log tells."""
        state = self._board.state
        word = state.finished.get(path) or ("waiting" if path == state.waits_at else "running")
        name = self._board.names.get(path, "")
        return Row(path, name, "", word, began=span.began, hosts=self._hosts.told(path))


def _together(node: PlannedSerial, quiet: Sequence[tuple[int, str]], total: int) -> Part:
    first, last = quiet[0][0], quiet[-1][0]
    span = f"batch {first}" if first == last else f"batches {first} to {last}"
    return Part(f"{span} of {total}", (), quiet[0][1], folded=True, more=node.path)


def _leaves(node: Node) -> Iterator[str]:
    if isinstance(node, Leaf):
        yield node.path
    for part in parts_of(node):
        yield from _leaves(part)


def _targets(node: Node) -> frozenset[str]:
    if isinstance(node, PlannedAction):
        return frozenset(target.target for target in node.targets)
    return frozenset(host for part in parts_of(node) for host in _targets(part))


def _took(span: Span) -> int:
    if span.began is None or span.ended is None:
        return 0
    return int((span.ended - span.began).total_seconds() * 1000)
