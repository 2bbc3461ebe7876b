"""A line as a terminal draws it: which characters stand where, and which bytes of the stream drew each.

A line here goes on over the edge of the terminal: the rows that it takes are one. It ends where the cursor goes
to a row that is none of its own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

KEPT: Final = 4096
"""Characters of a line that are kept at least; what stands far before the cursor is let go of."""
TAB: Final = 8
_FAR: Final = 1 << 16
"""Places from which on a cursor has gone mad."""
_GHOSTS: Final = 16
"""So many times that a letter was drawn at a place before are remembered."""

Span = tuple[int, int]
_Drawn = int | tuple[Span, ...]
"""Where the first byte of a character stands in the stream; or all that drew it, in order; `_BLANK` where nothing."""
_BLANK: Final[_Drawn] = ()


class DrawnLine:
    """The line in which the cursor is.

    Arguments:
        columns: how wide the terminal is.
        look: called before characters are lost, so that they are looked at while they are there.
    """

    def __init__(self, columns: int, look: Callable[[], None]) -> None:
        self.columns = max(columns, 2)
        self._look = look
        self.least = KEPT
        """So many characters are kept at least."""
        self.inserts = False
        self._begin(0)

    def _begin(self, column: int) -> None:
        # What stands before the column is not known, and may as well be blank.
        self._cells: list[str] = [" "] * column
        self._drawn: list[_Drawn] = [_BLANK] * column
        self._at = column  # where the next character goes; past the end of the line where the cursor went on
        # What stood at a place before: a person who takes letters back may write the same ones again.
        self._ghosts: dict[tuple[int, str], tuple[Span, ...]] = {}
        self._edge = False  # the row is full, and the cursor stands on its last character
        self.drawn_to = -1
        """Where in the stream the characters end that were drawn last; -1 before any."""
        self.plain = True
        """Say whether its characters stand one behind the other in the stream, too."""
        self.dirty: Span | None = None
        """From where to where there is something new."""

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def untouched(self) -> bool:
        """Say whether nothing is drawn, and the cursor stands at its beginning."""
        return not self._cells and not self._at

    @property
    def cursor(self) -> int:
        """Where the next character goes."""
        return min(self._at, len(self._cells))

    def text(self, start: int, end: int) -> tuple[bytes, list[int] | range]:
        """Give the bytes of some characters, and to which of them each byte belongs."""
        cells = self._cells[start:end]
        joined = "".join(cells)
        if joined.isascii() and len(joined) == len(cells) and "" not in cells:
            return joined.encode(), range(start, start + len(cells))
        owners: list[int] = []
        coded = [cell.encode("utf-8", "surrogateescape") for cell in cells]
        for place, data in enumerate(coded, start):
            owners += [place] * len(data)
        return b"".join(coded), owners

    def spans(self, place: int) -> tuple[Span, ...]:
        """Give which bytes drew a character, and drew it there before; none where nothing did."""
        return (*self._ghosts.get((place, self._cells[place]), ()), *self._spans(place))

    def _spans(self, place: int) -> tuple[Span, ...]:
        drawn = self._drawn[place]
        if isinstance(drawn, int):
            return ((drawn, drawn + len(self._cells[place].encode("utf-8", "surrogateescape"))),)
        return drawn

    def write(self, text: str, at: int) -> None:
        """Draw characters.

        Arguments:
            text: what they are; a byte that is none of UTF-8 is a surrogate.
            at: where they stand in the stream.
        """
        if self._at < len(self._cells):
            self._lose()
        if self.drawn_to not in (-1, at):
            self.plain = False
        self._edge = False
        self._pad()
        if self._at == len(self._cells) and text.isascii():
            start = self._at
            self._cells.extend(text)
            self._drawn.extend(range(at, at + len(text)))
            self._at = len(self._cells)
            self._touch(start, self._at)
            self.drawn_to = at + len(text)
            self._edge = self._column(self._at) == 0
        else:
            self._draw_each(text, at)
        self._trim()

    def _draw_each(self, text: str, at: int) -> None:
        for letter in text:
            end = at + len(letter.encode("utf-8", "surrogateescape"))
            self._draw(letter, (at, end))
            at = end
        self.drawn_to = at

    def _draw(self, letter: str, span: Span) -> None:
        width = _width(letter)
        if width == 0:
            if self.cursor:
                self._join(self.cursor - 1, letter, span)
            return
        if width == 2 and self._column(self._at) == self.columns - 1:
            self._put("", _BLANK)  # it does not fit any more
        self._put(letter, (span,))
        for _ in range(width - 1):
            self._put("", _BLANK)
        self._edge = self._column(self._at) == 0

    def _put(self, cell: str, drawn: _Drawn) -> None:
        at = self._at
        if at < len(self._cells):
            self.plain = False
            if self.inserts:
                self.insert(1)
            else:
                self._remember(at)
            self._cells[at], self._drawn[at] = cell, drawn
        else:
            self._cells.append(cell)
            self._drawn.append(drawn)
        self._at += 1
        self._touch(at, self._at)

    def _join(self, place: int, letter: str, span: Span) -> None:
        """Draw a mark over the character before."""
        spans = (*self._spans(place), span)
        self._cells[place] += letter
        self._drawn[place] = spans
        self._touch(place, place + 1)

    def carriage_return(self) -> None:
        """Go to the beginning of the row."""
        self._move(self._row_start())

    def line_feed(self) -> None:
        """Go one row down; where that is none of the line's, a new line begins.

        Behind a row that is full the line goes on: so line editors draw one that is too long.
        """
        place, rows = self._place(), self._row(max(len(self._cells) - 1, 0))
        full = bool(self._cells) and self._column(len(self._cells)) == 0
        if self._row(place) < rows + full:
            self._move(place + self.columns)
            self.plain = False
        else:
            self.leave(self._column(place))

    def end(self) -> None:
        """Go to the beginning of the next row, as at the end of what a program says."""
        if self._cells and (self._column(len(self._cells)) == 0 or self._at < len(self._cells)):
            self.carriage_return()
            self.line_feed()
        else:
            self.leave(0)

    def leave(self, column: int = 0) -> None:
        """Begin a new line: the cursor is somewhere else."""
        self._lose()
        self._begin(min(column, self.columns - 1))

    def up(self, rows: int) -> None:
        """Go some rows up; where they are none of the line's, a new line begins."""
        place = self._place() - rows * self.columns
        if place < 0:
            self.leave(self._column(self._place()))
        else:
            self._move(place)

    def down(self, rows: int) -> None:
        """Go some rows down; where they are none of the line's, a new line begins."""
        place = self._place()
        if self._row(place) + rows <= self._row(max(len(self._cells) - 1, 0)):
            self._move(place + rows * self.columns)
        else:
            self.leave(self._column(place))

    def sideways(self, columns: int) -> None:
        """Go some columns to the right, or to the left; the edge stops it."""
        self.to_column(self._column(self._place()) + columns)

    def to_column(self, column: int) -> None:
        """Go to a column of the row, counted from 0; the edge stops it."""
        start = self._row_start()
        self._move(start + max(0, min(column, self.columns - 1)))

    def tab(self) -> None:
        """Go on to the next tabulator."""
        self.to_column((self._column(self._place()) // TAB + 1) * TAB)

    def erase_row(self, how: int) -> None:
        """Erase from the cursor to the end of its row (0), from the beginning to it (1), or all of it (2)."""
        start, place = self._row_start(), self._at
        end = start + self.columns if not self._edge else self._at
        if how == 0 and self._edge:
            return  # what stands at the edge is meant to stay
        self._blank({0: place, 1: start, 2: start}[how], {0: end, 1: self._place() + 1, 2: end}[how])

    def erase_screen(self, how: int) -> None:
        """Erase from the cursor to the end (0), or from the beginning to it (1), or all."""
        if how == 0:
            self._blank(self._at, len(self._cells))
        elif how == 1:
            self._blank(0, self._place() + 1)
        else:
            self.leave(self._column(self._place()))

    def erase(self, count: int) -> None:
        """Erase some characters from the cursor on; the others stay where they are."""
        self._blank(self._place(), min(self._place() + count, self._row_start() + self.columns))

    def insert(self, count: int) -> None:
        """Make room for some characters; what stands behind in the row goes to the right, and over the edge."""
        self._lose()
        place, end = self._place(), self._row_start() + self.columns
        room = end - place
        if place < len(self._cells):
            blanks = min(count, room)
            self._cells[place:end] = [*[" "] * blanks, *self._cells[place:end]][:room]
            self._drawn[place:end] = [*[_BLANK] * blanks, *self._drawn[place:end]][:room]
            self._changed(place)

    def delete(self, count: int) -> None:
        """Take some characters out; what stands behind in the row comes nearer."""
        self._lose()
        place, end = self._place(), self._row_start() + self.columns
        if place < len(self._cells):
            gone = min(count, min(end, len(self._cells)) - place)
            blanks = gone if end < len(self._cells) else 0
            self._cells[place:end] = [*self._cells[place + gone : end], *[" "] * blanks]
            self._drawn[place:end] = [*self._drawn[place + gone : end], *[_BLANK] * blanks]
            self._changed(place)

    def _blank(self, start: int, end: int) -> None:
        if start >= len(self._cells) or start >= end:
            return
        self._lose()
        for place in range(start, min(end, len(self._cells))):
            self._remember(place)
        if end >= len(self._cells):
            del self._cells[start:], self._drawn[start:]
        else:
            self._cells[start:end] = [" "] * (end - start)
            self._drawn[start:end] = [_BLANK] * (end - start)
        self._changed(start)

    def _remember(self, place: int) -> None:
        spans = self._spans(place)
        if spans:
            key = (place, self._cells[place])
            self._ghosts[key] = (*self._ghosts.get(key, ()), *spans)[-_GHOSTS:]

    def _changed(self, start: int) -> None:
        self.plain = False
        self._touch(min(start, len(self._cells)), len(self._cells))

    def _touch(self, start: int, end: int) -> None:
        was = self.dirty
        self.dirty = (start, end) if was is None else (min(was[0], start), max(was[1], end))

    def _lose(self) -> None:
        if self.dirty is not None:
            self._look()

    def _move(self, place: int) -> None:
        self._edge = False
        if place > len(self._cells) + _FAR:
            self.leave()
        else:
            self._at = place

    def _pad(self) -> None:
        """Fill what the cursor has gone over: nothing is known to stand there."""
        missing = self._at - len(self._cells)
        if missing > 0:
            start = len(self._cells)
            self._cells += [" "] * missing
            self._drawn += [_BLANK] * missing
            self._changed(start)

    def _trim(self) -> None:
        more = len(self._cells) - 2 * self.least
        if more > 0:
            self._lose()
            gone = min(more + self.least, self._at) // self.columns * self.columns
            del self._cells[:gone], self._drawn[:gone]
            self._ghosts.clear()
            self._at -= gone
            self.dirty = None

    def _place(self) -> int:
        return self._at - self._edge

    def _column(self, place: int) -> int:
        return place % self.columns

    def _row(self, place: int) -> int:
        return place // self.columns

    def _row_start(self) -> int:
        return self._place() - self._column(self._place())


def _width(letter: str) -> int:
    """Give how many columns a character takes."""
    if unicodedata.category(letter) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
