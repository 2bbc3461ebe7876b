"""Escapes: what a terminal is told between the characters that it shows.

Source: ECMA-48 (control functions); XTerm Control Sequences.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["text", "end", "control", "csi", "escape", "string"]

LONGEST: Final = 256
"""Bytes from which on a sequence that does not end is taken for none."""

_TOKEN: Final = re.compile(
    rb"(?P<text>[^\x00-\x1f\x7f]+)"
    rb"|(?P<end>\r+\n)"
    rb"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f])"
    rb"|\x1b\[(?P<given>[0-?]*)(?P<between>[ -/]*)(?P<csi>[@-~])"
    rb"|(?P<string>\x1b[]PX^_])"
    rb"|(?P<escape>\x1b[ -/]*[0-OQ-WYZ\\`-~])"
)
_UNFINISHED: Final = re.compile(rb"\x1b(\[[0-?]*[ -/]*|[ -/]*)")
_STRING_END: Final = re.compile(rb"[\x07\x18\x1a\x1b]")
_CUT_CHARACTER: Final = re.compile(rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")


@dataclass(frozen=True, slots=True)
class Token:
    """One thing that a terminal is told.

    Arguments:
        kind: characters; the end of a line; a control character; a control sequence; a short escape; or a
            string that is not shown.
        start, end: where it stands in the bytes.
        data: the characters, the control character, what ends a sequence or stands behind the escape.
        given: the numbers of a control sequence, 0 for one that is left out; None where they are none.
    """

    kind: Kind
    start: int
    end: int
    data: bytes
    given: tuple[int, ...] | None = ()


class Tokens:
    """Takes a stream apart, in whatever pieces it comes."""

    def __init__(self) -> None:
        self.in_string = False
        """Say whether a title or the like has begun and not ended."""

    def take(self, data: bytes, at: int) -> Token | None:
        """Give what comes next, from a place on; None where it is not all there yet."""
        if self.in_string:
            return self._rest_of_string(data, at)
        found = _TOKEN.match(data, at)
        if found is None:
            begun = at < len(data) and _UNFINISHED.fullmatch(data, at) and len(data) - at < LONGEST
            return None if begun or at >= len(data) else Token("control", at, at + 1, b"\x1b")
        kind, end = str(found.lastgroup), found.end()
        match kind:
            case "text":
                if end == len(data) and (cut := _CUT_CHARACTER.search(data, max(at, end - 3))):
                    end = cut.start()
                return Token("text", at, end, data[at:end]) if end > at else None
            case "csi":
                return Token("csi", at, end, found["csi"], _numbers(found["given"], found["between"]))
            case "string":
                self.in_string = True
                return Token("string", at, end, b"")
            case "escape":
                return Token("escape", at, end, found["escape"][1:])
            case "end":
                return Token("end", at, end, b"\n")
            case _:
                return Token("control", at, end, found["control"])

    def _rest_of_string(self, data: bytes, at: int) -> Token | None:
        """Give what is there of a title or the like; a bell or an escape ends it."""
        if at >= len(data):
            return None
        ends = _STRING_END.search(data, at)
        if ends is None:
            return Token("string", at, len(data), b"")
        self.in_string = False
        end = ends.end() if data[ends.start()] != 0x1B else ends.start()
        return Token("string", at, end, b"")


def _numbers(given: bytes, between: bytes) -> tuple[int, ...] | None:
    if between or not re.fullmatch(rb"[0-9;]*", given):
        return None
    # A terminal is never larger; more digits are somebody's joke.
    return tuple(min(int(number[:6] or 0), 99999) for number in given.split(b";"))
