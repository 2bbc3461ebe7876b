"""A run told again on the terminal: a line for each thing worth knowing, the board at the end, and the recap."""

from __future__ import annotations

from collections import Counter
from typing import Final

from rich.console import Console
from rich.text import Text

from mimrun.cli.terminal import safe_line
from mimrun.log.kinds import Kind
from mimrun.replay.board import Board
from mimrun.replay.narration import Frame, Narration, Row

_QUIET: Final = frozenset(
    {
        Kind.PLAN_FROZEN.value,
        Kind.RUN_MODE.value,
        Kind.STEP_INTENT.value,
        Kind.STEP_CAPTURED.value,
        Kind.LOCK_TAKEN.value,
        Kind.LOCK_RELEASED.value,
        Kind.LOOP_EXPANDED.value,
    }
)
"""Kinds of entries that are told only where every entry is."""

_HOSTS: Final = 8
"""Hosts of one step that get a line each; of more only those are told that need a look."""

STYLES: Final = {
    "ok": "green",
    "changed": "yellow",
    "failed": "bold red",
    "unreachable": "bold red",
    "skipped": "cyan",
    "in_doubt": "bold magenta",
    "running": "bold blue",
    "waiting": "bold yellow",
    "ready": "dim",
}
_WAITS: Final = frozenset({Kind.RUN_WAITING.value, Kind.GATE_REQUESTED.value, Kind.MANUAL_REQUESTED.value})
_LOUD: Final = {
    Kind.STEP_IN_DOUBT.value: "bold magenta",
    Kind.GUARD_TRIPPED.value: "bold red",
    Kind.GATE_CLOSED.value: "bold red",
    Kind.RUN_ABORT_REQUESTED.value: "bold red",
    Kind.RUN_CANCEL_REQUESTED.value: "bold yellow",
    Kind.KILLSWITCH_PULLED.value: "bold red",
}


class NarrationView:
    """Prints a narration.

    Arguments:
        console: where to.
        narration: what is told.
        every: tell every entry.
    """

    def __init__(self, console: Console, narration: Narration, *, every: bool = False) -> None:
        self._console, self._narration, self._every = console, narration, every
        self._many = {row.path for row in narration.rows if len(row.targets) > _HOSTS}
        self._looks: set[tuple[str, str]] = set()

    def head(self) -> None:
        """Print what is told, and what cannot be."""
        told = self._narration
        line = Text(f"{told.run} ", "bold").append(safe_line(told.title)).append(f"  {told.incident}", "dim")
        self._console.print(line)
        for missing in told.missing:
            self._console.print(Text(f"not on record any more: {safe_line(missing, 500)}", "yellow"))

    def show(self, frame: Frame) -> None:
        """Print a frame, if it is worth a line."""
        if not self._every and self._is_of_little_news(frame):
            return
        line = Text(f"{offset(frame.offset_ms):>12}  ", "dim")
        line.append(safe_line(frame.text, 500), self._style(frame))
        self._console.print(line)

    def _is_of_little_news(self, frame: Frame) -> bool:
        if frame.kind in _QUIET:
            return "attempt" not in frame.text.rpartition(")")[2]
        word = frame.changes[-1].word if frame.changes else ""
        quiet = word in ("", "ok", "changed", "skipped", "running")
        if frame.target and frame.step in self._many and quiet:
            return True
        return (
            frame.kind == Kind.STEP_OUTCOME.value and frame.text.startswith("the look ") and not frame.changes
        )

    def _style(self, frame: Frame) -> str:
        if frame.kind in _LOUD:
            return _LOUD[frame.kind]
        if frame.kind in _WAITS:
            return "yellow"
        if frame.target and frame.changes:
            return STYLES.get(frame.changes[-1].word, "")
        return "bold" if frame.kind == Kind.STEP_STARTED.value else ""

    def end(self) -> None:
        """Print the board as it is in the end, and the recap."""
        told = self._narration
        board = told.board_at(len(told.frames) - 1)
        self._console.print()
        for row in told.rows:
            self._row(row, board)
        line = Text(f"{told.run} {told.status} after {offset(told.length_ms)[1:]}: ", "bold")
        for word, count in told.recap.items():
            line.append(f"{word}={count} ", STYLES[word] if count else "dim")
        self._console.print(line)
        if told.reason:
            self._console.print(Text(f"  {safe_line(told.reason, 500)}", "yellow"))

    def _row(self, row: Row, board: Board) -> None:
        words = board.get(row.path, {})
        line = Text(f"  {'  ' * row.depth}{row.path} ", "bold cyan").append(safe_line(row.name))
        if row.kind not in ("action", "gate", "manual"):
            self._console.print(line.append(f"  {row.kind}", "dim"))
            return
        hosts = row.targets or tuple(target for target in words if target)
        if not hosts:
            word = words.get("", "ready")
            self._console.print(line.append(f"  {word}", STYLES.get(word, "")))
            return
        if len(hosts) > _HOSTS:
            for word, count in Counter(words.get(host, "ready") for host in hosts).items():
                line.append(f"  {count} {word}", STYLES.get(word, ""))
        else:
            for host in hosts:
                word = words.get(host, "ready")
                line.append(f"  {safe_line(host)} ", "dim").append(word, STYLES.get(word, ""))
        self._console.print(line)


def offset(milliseconds: int) -> str:
    """Give a moment of a run as the time since it was asked for: `+1:02:03.004`."""
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"+{hours}:{minutes:02}:{seconds:02}.{thousandths:03}"
