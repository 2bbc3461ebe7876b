"""Casts: an interactive session as asciicast v2, written piece by piece while it goes on.

Recorded is what the terminal showed, and how large it was: what a person types is there as far as the target
echoes it. A password that is asked for is not echoed, and so is not recorded.

Source: asciicast file format version 2 (docs.asciinema.org/manual/asciicast/v2).
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from mimrun.errors import TamperError
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import ShellOpened
from mimrun.secret import DrawnSieve, Masker

VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """Some lines of a cast, next to each other.

    Arguments:
        part: its place among the pieces, from 1.
        lines: as the file has them, a new line behind each.
        events: how many.
        until_ms: when the last of them was, counted from the beginning of the session.
    """

    part: int
    lines: bytes
    events: int
    until_ms: int


class Recorder:
    """Makes a cast of what a terminal shows. What was not saved yet is kept until it is.

    Arguments:
        masker: knows the secrets that must not be in it.
        columns: how wide the terminal is.
    """

    def __init__(self, masker: Masker, columns: int = 80) -> None:
        self._sieve = DrawnSieve(masker, columns)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lines: list[bytes] = []
        self._part = 1
        self._until_ms = 0
        self.waiting = 0
        """Bytes of lines that are not saved yet."""
        self.lingers_since: int | None = None
        """When it was that something was held that may be a slip in a secret; None where nothing is. See `settle`."""

    def output(self, data: bytes, at_ms: int) -> None:
        """Take what the terminal showed. What may be the beginning of a secret is held back until that is known."""
        self._show(self._sieve.feed(data), at_ms)
        if not self._sieve.lingers():
            self.lingers_since = None
        elif self.lingers_since is None:
            self.lingers_since = at_ms

    def settle(self, at_ms: int) -> None:
        """Take what was held because a person might take back their last letters: they did not."""
        self._show(self._sieve.settle(), at_ms)
        self.lingers_since = None

    def resize(self, columns: int, rows: int, at_ms: int) -> None:
        """Take a change of its size."""
        self._sieve.resize(columns)
        self._event("r", f"{columns}x{rows}", at_ms)

    def finish(self, at_ms: int) -> None:
        """Take what was held back: nothing more will be shown."""
        self._show(self._sieve.finish(), at_ms)
        self.lingers_since = None
        self._event("o", self._decoder.decode(b"", final=True), at_ms)

    def piece(self) -> Piece | None:
        """Give what is not saved yet; None where that is nothing."""
        if not self._lines:
            return None
        return Piece(self._part, b"".join(self._lines), len(self._lines), self._until_ms)

    def saved(self, piece: Piece) -> None:
        """Forget a piece that is on record."""
        del self._lines[: piece.events]
        self._part = piece.part + 1
        self.waiting -= len(piece.lines)

    def _show(self, data: bytes, at_ms: int) -> None:
        self._event("o", self._decoder.decode(data), at_ms)

    def _event(self, code: Literal["o", "r"], text: str, at_ms: int) -> None:
        if text:
            # Nothing is earlier than what came before it, whatever the clock says.
            self._until_ms = max(self._until_ms, at_ms)
            line = json.dumps([self._until_ms / 1000, code, text]).encode() + b"\n"
            self._lines.append(line)
            self.waiting += len(line)


def whole_cast(opened: LogEntry, pieces: Iterable[tuple[LogEntry, bytes | None]]) -> Iterator[bytes]:
    """Give a recorded session as one file, piece by piece.

    Arguments:
        opened: the entry with which it began.
        pieces: the entries that recorded it, with the lines; None where they were erased.

    Raises:
        TamperError: a piece is missing or stands twice.
    """
    body = opened.body
    assert isinstance(body, ShellOpened)
    head = {
        "version": VERSION,
        "width": body.columns,
        "height": body.rows,
        "timestamp": int(opened.ts.timestamp()),
        "title": f"{opened.inc}: {opened.actor.id} as {body.account} on {opened.target} ({opened.log}, entry {opened.seq})",
    }
    yield json.dumps(head).encode() + b"\n"
    expected = 1
    for entry, lines in pieces:
        part, until_ms = getattr(entry.body, "part", 0), getattr(entry.body, "until_ms", 0)
        if part != expected:
            raise TamperError(
                f"entry {entry.seq}: piece {part} of shell {opened.seq} comes where {expected} belongs"
            )
        expected += 1
        yield lines if lines is not None else json.dumps([until_ms / 1000, "m", "erased"]).encode() + b"\n"
