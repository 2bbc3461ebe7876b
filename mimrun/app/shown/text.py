"""Text that nobody obeys: no control character from a target or a person reaches a terminal or a page as one."""

from __future__ import annotations

import json
import re
from typing import Final

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters, bidirectional overrides and invisible characters: what could forge a line."""


_PLAIN: Final = re.compile(r"[^\W_][\w.:/@%+=~^-]*|[./~-][\w.:/@%+=~^-]*", re.ASCII)
"""Words that need no quotes to be read as what they are."""

_HIDDEN_IN_JSON: Final = re.compile(_UNSAFE.pattern.replace("\x00-\x08\x0b-\x1f", ""))
"""The same where JSON has not escaped them already; a new line between two values is fine."""


def safe(text: str) -> str:
    """Show characters that a terminal would obey or hide as escapes, so that output cannot forge output.

    Where one is shown so, backslashes of the text itself are doubled: nothing reads like an escape that
    was not one.
    """
    if not _UNSAFE.search(text):
        return text
    return _UNSAFE.sub(_escape, text.replace("\\", "\\\\"))


def exact(text: str) -> str:
    """Give a text on one line such that no two texts look the same: bare where it is plain, else as JSON."""
    return text if _PLAIN.fullmatch(text) else safe_json(json.dumps(text, ensure_ascii=False))


def safe_line(text: str, length: int = 300) -> str:
    """Give one line of safe text, cut to a length."""
    line = safe(text.strip().replace("\r\n", "\n")).replace("\n", " ⏎ ").replace("\t", " ")
    return line if len(line) <= length else line[: length - 1] + "…"


def safe_json(text: str) -> str:
    """Give JSON text in which characters that a terminal would obey or hide are written as escapes."""
    return _HIDDEN_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
