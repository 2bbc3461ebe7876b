"""Work time: how long a run may be at work. Waiting for people, and lying there without a worker, do not count."""

from __future__ import annotations

from datetime import datetime, timedelta

from mimrun.run.hold.stop import Halt
from mimrun.run.record.state import RunState
from mimrun.runbook.duration import format_duration
from mimrun.runbook.plan import Plan


class TimeOver(Halt):
    """The run was at work for as long as it may be. It ends failed, and no rescue begins any more."""


def time_left(plan: Plan, state: RunState, now: datetime) -> timedelta:
    """Say how much longer a run may be at work; nothing, or less, when its time is over.

    Arguments:
        now: the present moment, UTC.
    """
    return timedelta(milliseconds=plan.timeout_ms) - state.at_work(now)


def heed_time(plan: Plan, state: RunState, now: datetime) -> None:
    """Go no further when the time of a run is over.

    Arguments:
        now: the present moment, UTC.

    Raises:
        TimeOver: it is.
    """
    if time_left(plan, state, now) <= timedelta():
        raise TimeOver(f"its time is over: the run was at work for {format_duration(plan.timeout_ms)}")
