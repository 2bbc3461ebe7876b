"""Waiting for a part: polled, bounded, and clear about what did not come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from mimrun.errors import LabError

STEP: Final = 0.02
"""Seconds between two looks."""


def came_true(check: Callable[[], bool], *, seconds: float) -> bool:
    """Look again and again until `check` is true.

    Arguments:
        check: what to look at; it must not block for long.
        seconds: when to give up.

    Returns:
        True as soon as it is true, False when the time is over.
    """
    end = time.monotonic() + seconds
    while True:
        if check():
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(STEP)


def wait_until(check: Callable[[], bool], *, seconds: float, what: str, why: Callable[[], str] = str) -> None:
    """Wait until `check` is true.

    Arguments:
        check: what to look at.
        seconds: when to give up.
        what: what is waited for, as the rest of "after 5 s ...".
        why: gives what is known about the reason, for the message (the tail of a log).

    Raises:
        LabError: it did not come in time.
    """
    if not came_true(check, seconds=seconds):
        reason = why().strip()
        raise LabError(f"after {seconds:g} s {what}" + (f": {reason}" if reason else ""))
