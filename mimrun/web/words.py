"""What templates call things: moments, durations, counts and statuses, as a person reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from mimrun.app.shown.text import safe, safe_line
from mimrun.log.moment import read_moment

Tone: TypeAlias = Literal["good", "busy", "wait", "bad", "doubt", "calm"]
"""What a status means to whoever reads it: fine, under way, asks for somebody, went wrong, nobody knows, nothing to say."""


@dataclass(frozen=True, slots=True)
class Worded:
    """How a status is shown: never by its colour alone.

    Arguments:
        sign: one character in front of it.
    """

    tone: Tone
    sign: str
    text: str


def _worded(tone: Tone, sign: str, *words: str) -> dict[str, Worded]:
    return {word: Worded(tone, sign, word.replace("_", " ")) for word in words}


WORDS: Final[Mapping[str, Worded]] = MappingProxyType(
    {
        # runs and steps
        **_worded("calm", "○", "new", "created", "ready", "not begun", "-", "expired", "void"),
        **_worded("busy", "●", "running", "under way", "performing", "firing again", "loading"),
        **_worded("wait", "‖", "waiting", "waits", "pause", "paused", "asked", "claimed", "pending", "open"),
        **_worded("doubt", "?", "in_doubt", "in doubt", "interrupted", "unknown", "unreachable", "disputed"),
        **_worded("good", "✓", "succeeded", "ok", "approved", "attested", "confirmed", "taken", "passed"),
        **_worded("good", "Δ", "changed"),
        **_worded("bad", "✗", "failed", "rejected", "refused", "closed by", "lost", "dirty"),
        **_worded("calm", "⊘", "cancelled", "skipped", "withdrawn", "dismissed", "left out"),
        # incidents
        **_worded("busy", "●", "identification", "containment", "resolution", "maintenance"),
        **_worded("busy", "●", "declared", "reopened"),
        **_worded("good", "✓", "contained", "resolved"),
        **_worded("calm", "■", "closed"),
        **_worded("bad", "▲", "P1", "SEV1"),
        **_worded("bad", "△", "P2", "SEV2"),
        **_worded("wait", "△", "P3", "SEV3"),
        **_worded("calm", "▽", "P4", "P5", "SEV4"),
        # alerts and rules
        **_worded("bad", "▲", "firing", "critical"),
        **_worded("bad", "△", "high"),
        **_worded("wait", "△", "warning", "medium", "held", "acknowledged"),
        **_worded("calm", "▽", "low"),
        **_worded("calm", "i", "info", "notified"),
        **_worded("wait", "‖", "proposed"),
        **_worded("busy", "▸", "launched"),
    }
)
"""Statuses, and how each is shown."""


def worded(word: str) -> Worded:
    """Say how a status is shown; one that is not in the table is shown as it is."""
    return WORDS.get(word) or Worded("calm", "·", word.replace("_", " "))


def _read(value: datetime | str) -> datetime | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    try:
        return read_moment(value)
    except ValueError:
        return None


def moment(value: datetime | str) -> str:
    """Give a moment as `2026-11-22 03:10:42`, UTC; "" for never."""
    if isinstance(value, str):
        return value[:19].replace("T", " ")
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def clock(value: datetime | str) -> str:
    """Give the time of day of a moment."""
    return moment(value)[11:]


def day(value: datetime | str) -> str:
    """Give the day of a moment: `2026-11-22`."""
    return moment(value)[:10]


def iso(value: datetime | str) -> str:
    """Give a moment as `<time datetime>` has it; what is no moment gives ""."""
    found = _read(value)
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z") if found is not None else ""


def duration(seconds: float) -> str:
    """Give a duration with the two largest units: `1 h 5 min`, `42 s`."""
    whole = max(int(seconds), 0)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((at for at, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def took(seconds: float) -> str:
    """Give how long a step took: tenths of a second where it was quick, `0.4 s`."""
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def grouped(count: int) -> str:
    """Give a number in groups of three: `16 384`."""
    return f"{count:,}".replace(",", "\u202f")


def since(value: datetime | str, now: datetime) -> str:
    """Say how long something has been so."""
    found = _read(value)
    return duration((now - found).total_seconds()) if found is not None else ""


def left(value: datetime | str, now: datetime) -> str:
    """Say how long it is until something, or how late it is."""
    found = _read(value)
    if found is None:
        return ""
    seconds = (found - now).total_seconds()
    return duration(seconds) if seconds >= 0 else f"late by {duration(-seconds)}"


def size(count: int) -> str:
    """Give a number of bytes as `12 B`, `3.4 kB`, `5.6 MB`."""
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count} B"


def counted(count: int, noun: str, many: str = "") -> str:
    """Give a number with its noun: `1 run`, `2 runs`."""
    return (
        f"{count:,} {noun}".replace(",", " ")
        if count == 1
        else f"{count:,} {many or noun + 's'}".replace(",", " ")
    )


def neutral(value: object) -> object:
    """Give what is put into a page: nothing for None, and no character in a text that would forge what stands beside it."""
    if value is None:
        return ""
    # What has `__html__` is a piece of a page already, made of what went through here.
    return safe(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


FILTERS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "clock": clock,
        "counted": counted,
        "day": day,
        "duration": duration,
        "grouped": grouped,
        "iso": iso,
        "left": left,
        "line": safe_line,
        "moment": moment,
        "since": since,
        "size": size,
        "took": took,
        "worded": worded,
    }
)
"""The filters of the templates."""
