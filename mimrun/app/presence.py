"""Presence: whether somebody stays on this machine who does at its time what nobody types.

A worker, or an engine that is kept, holds a file locked for as long as it lives. The kernel lets go of it, however
the process ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mimrun.runbook.node import PlannedAction
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

HEEDS: Final = "rules"
"""What is held by whoever follows the rules for alerts."""
_WORKS: Final = "worker"


@contextmanager
def stays(settings: Settings, what: str = _WORKS) -> Iterator[None]:
    """Let others see that somebody stays; several may at once.

    Arguments:
        what: to do which work.

    Raises:
        OSError: the home folder cannot be written.
    """
    place = settings.locks / what
    place.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield
    finally:
        os.close(file)


def nobody_stays(settings: Settings) -> str:
    """Say that nobody stays on this machine, and what to type; "" where somebody does."""
    return "" if _is_held(settings, _WORKS) else _ALONE


def somebody_heeds(settings: Settings) -> bool:
    """Say whether somebody on this machine follows the rules for alerts."""
    return _is_held(settings, HEEDS)


def _is_held(settings: Settings, what: str) -> bool:
    try:
        file = os.open(settings.locks / what, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


_ALONE = (
    "no worker and no kept engine is there on this machine to take back what is due:"
    " start `mimrun worker`, or `mimrun up`"
)


def takes_back_alone(settings: Settings, plan: Plan) -> str:
    """Warn where a plan has changes for a time only, and nobody is there to take them back; "" else."""
    timed = any(
        node.options.revert_after_ms is not None for node in plan.walk() if isinstance(node, PlannedAction)
    )
    return nobody_stays(settings) if timed else ""
