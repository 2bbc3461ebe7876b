"""What comes of a gate at which nobody decided in time, where the run is to be taken back then.

The run ends, and a run of its own takes back what it did. Whoever executed the run asks for it; where that
process died, a worker does.
"""

from __future__ import annotations

from mimrun.app.home import Home
from mimrun.app.reverts import Started, timer_for
from mimrun.app.undo import WayBackWishes, create_undo, follow_ups, plan_undo
from mimrun.errors import MimrunError, RefusedError, RunError
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import RunStatus

DUE = "due"
"""How a run's summary says that it is to be taken back."""


def is_due(summary: RunSummary) -> bool:
    """Say whether a run ended at a gate that nobody decided in time, and is to be taken back for it."""
    return summary.status is RunStatus.FAILED and summary.way_back == DUE


def take_back_late(home: Home, run: str) -> Started | None:
    """Ask for the way back of such a run, once; it is not executed here.

    Of several processes that ask at the same moment one is heard.

    Returns:
        what became of it; None where there is nothing to do: the run is none such, has a way back already, or did
        nothing that can be taken back.
    """
    summary = RunSummary.decode(home.store.projection(RunSummaries.name, run))
    if not is_due(summary) or follow_ups(home, run).undos:
        return None
    try:
        plan = plan_undo(home, run)
    except RunError:
        return None
    try:
        return Started(run, create_undo(home, run, plan, timer_for(home, run), WayBackWishes(direct=True)))
    except MimrunError as exc:
        return Started(run, why=str(exc), passes=isinstance(exc, RefusedError))
