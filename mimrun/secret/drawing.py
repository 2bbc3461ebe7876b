"""Drawing: what each thing that a terminal is told does to the line in which the cursor is.

Source: ECMA-48 (control functions); XTerm Control Sequences; terminfo(5), for what line editors make use of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mimrun.secret.drawn_line import DrawnLine
from mimrun.secret.escape import Token

_INSERT: Final = 4
"""The mode in which what is drawn moves the rest to the right."""
_ALL: Final = 2
"""What a terminal is told to erase a whole row."""

_Draw = Callable[[DrawnLine], None]
_Count = Callable[[DrawnLine, int], None]

_CONTROLS: Final[Mapping[bytes, _Draw]] = {
    b"\b": lambda line: line.sideways(-1),
    b"\t": lambda line: line.tab(),
    b"\r": lambda line: line.carriage_return(),
    **dict.fromkeys((b"\n", b"\v", b"\f"), lambda line: line.line_feed()),
}
_ESCAPES: Final[Mapping[bytes, _Draw]] = {
    b"E": lambda line: line.end(),
    **dict.fromkeys((b"7", b"8", b"D", b"M", b"c"), lambda line: line.leave()),
}
_COUNTED: Final[Mapping[bytes, _Count]] = {
    b"A": lambda line, count: line.up(count),
    **dict.fromkeys((b"B", b"e"), lambda line, count: line.down(count)),
    **dict.fromkeys((b"C", b"a"), lambda line, count: line.sideways(count)),
    b"D": lambda line, count: line.sideways(-count),
    **dict.fromkeys((b"G", b"`"), lambda line, count: line.to_column(count - 1)),
    b"P": lambda line, count: line.delete(count),
    b"@": lambda line, count: line.insert(count),
    b"X": lambda line, count: line.erase(count),
    **dict.fromkeys(
        (b"E", b"F", b"L", b"M", b"S", b"T", b"d", b"r", b"s", b"u"), lambda line, _: line.leave()
    ),
}


def draw(line: DrawnLine, token: Token, at: int) -> None:
    """Draw something; what neither shows nor moves anything does nothing.

    Arguments:
        line: where.
        token: what.
        at: where the token stands in the stream.
    """
    match token.kind:
        case "text":
            line.write(token.data.decode("utf-8", "surrogateescape"), at)
        case "end":
            line.end()
        case "csi":
            _control(line, token)
        case "control":
            _CONTROLS.get(token.data, _nothing)(line)
        case "escape":
            _ESCAPES.get(token.data, _nothing)(line)
        case "string":
            pass


def _control(line: DrawnLine, token: Token) -> None:
    """Do what a control sequence says."""
    if token.given is None:
        return
    number = token.given[0]
    match token.data:
        case b"H" | b"f":
            line.leave(max(token.given[1] if len(token.given) > 1 else 0, 1) - 1)
        case b"K" if number <= _ALL:
            line.erase_row(number)
        case b"J":
            line.erase_screen(number)
        case b"h" | b"l" if number == _INSERT:
            line.inserts = token.data == b"h"
        case final if final in _COUNTED:
            _COUNTED[final](line, max(number, 1))
        case _:
            pass


def _nothing(line: DrawnLine) -> None:
    """Leave the line as it is."""
