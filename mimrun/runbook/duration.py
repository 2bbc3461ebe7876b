"""Durations as people write them: `90s`, `5m`, `1h30m`, `250ms`, or a bare number of seconds as in Ansible."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

_UNITS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_PART: Final = re.compile(r"(\d+)(ms|[dhms])")
_LONGEST: Final = 366 * _UNITS["d"]


def parse_duration(text: object) -> int:
    """Give a duration in milliseconds.

    Raises:
        ValueError: it is not a duration, or longer than 366 days.
    """
    if isinstance(text, bool) or not isinstance(text, int | str):
        raise ValueError(f"{text!r} is not a duration; write 30s, 5m or 1h30m")
    if isinstance(text, int) or text.isdigit():
        total = int(text) * 1000
    elif text and _PART.sub("", text) == "":
        total = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        raise ValueError(f"{text!r} is not a duration; write 30s, 5m or 1h30m")
    if not 0 <= total <= _LONGEST:
        raise ValueError(f"{text!r} is not between 0 and 366 days")
    return total


def format_duration(milliseconds: int) -> str:
    """Give a duration in the form that an author would write: `1h30m`, `250ms`."""
    parts = []
    for unit, size in _UNITS.items():
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    Field(json_schema_extra={"type": ["string", "integer"], "examples": ["30s", "5m", "1h30m"]}),
]
"""A duration in milliseconds, written as `30s`, `5m`, `1h30m` or a number of seconds."""
