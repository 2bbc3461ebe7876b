"""Moments that people type at the console: on the clock of its pages, which is UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from mimrun.app.past import parse_past
from mimrun.errors import InputError

HOW: Final = "10:42 (UTC), 15m ago, or 2026-11-22T10:42Z"
"""How a moment may be written, for whoever fills in a form."""


def read_when(text: str, now: datetime) -> datetime:
    """Give the moment that somebody means.

    Raises:
        InputError: it is none, or lies in the future.
    """
    try:
        return parse_past(text, now, _in_utc)
    except InputError as exc:
        raise InputError(str(exc).removeprefix("--at ")) from exc


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
