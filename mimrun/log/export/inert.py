"""Inert text: what came from a target, or from a person, obeyed by nobody who reads an export."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Final

from mimrun.canonical import Json

_PLAIN: Final = re.compile(r"[ -\[\]-~]*")
"""Printable ASCII without the backslash."""

_OBEYED: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
"""Unicode categories of what a terminal, a log viewer or a line reader obeys or hides instead of showing it:
controls, bidirectional marks, joiners, lone surrogates, what is no character, ends of lines and paragraphs."""


def inert(text: str) -> str:
    r"""Write everything that is not shown as it is as an escape: `\u001b`, `\u202e`, `\U000e0041`.

    A backslash is always doubled, so that no two texts look the same and nothing reads like an escape
    that was not one. The result is one line.
    """
    if _PLAIN.fullmatch(text):
        return text
    return "".join(map(_inert, text))


def ascii_json(value: Json) -> str:
    """Give a value as JSON of printable ASCII on one line, keys sorted."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    # The one control character that JSON leaves as it is.
    return text.replace("\x7f", "\\u007f")


def _inert(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if unicodedata.category(char) not in _OBEYED:
        return char
    code = ord(char)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
