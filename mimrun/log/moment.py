"""Moments as the log writes them: RFC 3339, UTC, microseconds, `Z`."""

from __future__ import annotations

from datetime import UTC, datetime


def write_moment(moment: datetime) -> str:
    """Write a moment as `2026-10-26T12:34:56.123456Z`.

    Raises:
        ValueError: the moment has no time zone, so nobody knows when it is.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def read_moment(text: str) -> datetime:
    """Read what `write_moment` wrote.

    Raises:
        ValueError: the text is written otherwise.
    """
    if len(text) != 27 or text[-1] != "Z":
        raise ValueError(f"{text!r} is not RFC 3339 in UTC with microseconds")
    return datetime.fromisoformat(text)


def utc_now() -> datetime:
    """The present moment, by the machine's wall clock."""
    return datetime.now(UTC)
