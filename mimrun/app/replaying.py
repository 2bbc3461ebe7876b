"""Replaying: a run told again, done again over what was recorded, and tried with a changed runbook.

Nothing outside is touched and nothing is written: no connector is loaded, and the log is only read.
"""

from __future__ import annotations

from collections.abc import Iterator

from mimrun.app.home import Home
from mimrun.app.runs import find_run, load_plan
from mimrun.errors import BlobKeyError, ErasedError
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.replay.comparison import Comparison
from mimrun.replay.narration import Narration, narration_of
from mimrun.replay.redecide import redecide as decide_again
from mimrun.replay.verdict import judge
from mimrun.runbook.plan import Plan

_SWITCH = frozenset({Kind.KILLSWITCH_PULLED, Kind.KILLSWITCH_LIFT_AGREED})


def narrate(home: Home, run: str) -> Narration:
    """Tell a run again from its log.

    Arguments:
        run: its name, the beginning of it, or `latest`.

    Raises:
        InputError: there is no such run.
        TamperError: the log is not what was recorded.
    """
    name = find_run(home, run).summary.run
    plan, missing = _plan_if_there(home, name)
    return narration_of(entries_of(home, name), plan, missing=missing)


def redecide(home: Home, run: str) -> Comparison:
    """Let today's executor decide a run again, over what its record says happened around it.

    Arguments:
        run: its name, the beginning of it, or `latest`.

    Raises:
        InputError: there is no such run.
        ErasedError: two people had its plan erased, without which nothing can be decided.
        TamperError: the log is not what was recorded.
    """
    name = find_run(home, run).summary.run
    entries, plan = entries_of(home, name), load_plan(home, name)
    return judge(name, entries, plan, decide_again(name, entries, plan, home.store))


def entries_of(home: Home, run: str) -> list[LogEntry]:
    """Give the entries of a run, and those of the kill switch that were recorded meanwhile, in order."""
    own = list(home.store.entries(run=run))
    if not own:
        return own
    return sorted([*own, *_switch(home, own[0].seq, own[-1].seq)], key=lambda entry: entry.seq)


def _switch(home: Home, first: int, last: int) -> Iterator[LogEntry]:
    for entry in home.store.entries(after=first, kinds=_SWITCH):
        if entry.seq > last:
            return
        yield entry


def _plan_if_there(home: Home, run: str) -> tuple[Plan | None, tuple[str, ...]]:
    """Read the frozen plan; where it cannot be read any more, say why."""
    try:
        return load_plan(home, run), ()
    except (ErasedError, BlobKeyError) as exc:
        return None, (f"the plan: {exc}",)
