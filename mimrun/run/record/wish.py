"""What people want of a run that is under way: nothing, or that it rests or ends, and how much of a hurry there is."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind

WISHES: Final = frozenset(
    {
        Kind.RUN_PAUSE_REQUESTED,
        Kind.RUN_RESUME_REQUESTED,
        Kind.RUN_CANCEL_REQUESTED,
        Kind.RUN_ABORT_REQUESTED,
    }
)
"""The kinds that say what somebody wants of a run."""


class Level(IntEnum):
    """How strongly somebody wants a run to stop."""

    NONE = 0
    PAUSE = 1
    KILL_SWITCH = 2
    CANCEL = 3
    ABORT = 4


class Wish(NamedTuple):
    """What somebody wants, and why."""

    level: Level = Level.NONE
    reason: str = ""


def wish_after(was: Wish, entry: LogEntry) -> Wish:
    """Give what people want after an entry: the stronger wish stays, and only a pause is taken back."""
    match entry.body:
        case kinds.RunPauseRequested() as body:
            now = Wish(Level.PAUSE, body.reason or "paused")
        case kinds.RunCancelRequested() as body:
            now = Wish(Level.CANCEL, body.reason or "cancelled")
        case kinds.RunAbortRequested() as body:
            now = Wish(Level.ABORT, body.reason or "aborted")
        case kinds.RunResumeRequested():
            return Wish() if was.level is Level.PAUSE else was
        case _:
            return was
    return now if now.level > was.level else was
