"""What templates call things: moments, durations, counts, as a person reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final


def moment(value: datetime | str) -> str:
    """Give a moment as `2026-11-22 03:10:42`, UTC; "" for never."""
    if isinstance(value, str):
        return value[:19].replace("T", " ")
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def clock(value: datetime | str) -> str:
    """Give the time of day of a moment."""
    return moment(value)[11:]


def duration(seconds: float) -> str:
    """Give a duration with the two largest units: `1 h 5 min`, `42 s`."""
    whole = max(int(seconds), 0)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((at for at, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


FILTERS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {"moment": moment, "clock": clock, "duration": duration}
)
"""The filters of the templates."""
