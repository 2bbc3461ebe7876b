"""The line `mimrun: run=… digest=…` in the description of a change: all that GLPI has no field for."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Final

from connectors.change.fields import Found, Reading

NAMES: Final = ("type", "run", "digest", "key")
_LINE: Final = re.compile(r"^mimrun:((?:[ \t]+[a-z]+=\S{1,200})+)[ \t]*$", re.MULTILINE)
_BREAK: Final = re.compile(r"(?i)<\s*(?:br|/p|/div|/li)\b[^>]*>")
_TAG: Final = re.compile(r"<[^>]*>")
_TIMES: Final = 2
"""So often an instance may have escaped its HTML."""


def plain(content: Found) -> str:
    """Make the text that people see of a description."""
    text = content if isinstance(content, str) else ""
    for _ in range(_TIMES):
        text = html.unescape(text)
    return _TAG.sub("", _BREAK.sub("\n", text)).replace("\r\n", "\n").replace("\xa0", " ")


def read_line(content: Found, reading: Reading) -> Mapping[str, str]:
    """Read the line; where there are two, nobody knows which counts, and everything in it is unreadable."""
    found = _LINE.findall(plain(content))
    pairs = [pair.partition("=") for pair in found[0].split()] if len(found) == 1 else []
    given = {name: value for name, _, value in pairs}
    why = ""
    if len(found) > 1:
        why = "the description has several lines `mimrun: …`"
    elif len(given) != len(pairs) or not given.keys() <= set(NAMES):
        why = f"the line `mimrun: …` says something twice, or something else than {', '.join(NAMES)}"
    elif not isinstance(content, str):
        why = "the description cannot be read"
    if not why:
        return given
    for name in ("type", "run", "digest"):
        reading.miss(name, why)
    return {}


def write_line(values: Mapping[str, str]) -> str:
    """Write the line."""
    return "mimrun: " + " ".join(
        f"{name}={values[name].replace(' ', '_')}" for name in NAMES if values.get(name)
    )
