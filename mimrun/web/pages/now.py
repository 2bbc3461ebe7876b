"""Now: what waits for whoever looks, what is on fire, what is under way, and what waits for others."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse

from mimrun.app.incident.view import list_incidents
from mimrun.app.runs import list_runs
from mimrun.app.waiting import run_progress, waiting_tasks
from mimrun.incident.storm import budget_in
from mimrun.run.record.transitions import TERMINAL
from mimrun.web.acting import Acting
from mimrun.web.page import show
from mimrun.web.route import does, new_router

router: Final = new_router()
_SHOWN: Final = 100
_RECENT: Final = 6


@router.get("/")
@does("runs")
def now(request: Request, who: Acting) -> HTMLResponse:
    """Show what goes on, and what needs a person."""
    runs = list_runs(who.home)
    unfinished = [view for view in runs if view.summary.status not in TERMINAL]
    tasks = waiting_tasks(who.home, who.identity, unfinished[:_SHOWN])
    incidents = [one for one in list_incidents(who.home, alerts=False) if one.is_open and not one.is_pack]
    incidents.sort(key=lambda one: one.declared.priority or one.state.priority or "P9")
    asked = {task.run for task in tasks}
    under_way = [view for view in unfinished[:_SHOWN] if view.summary.run not in asked]
    return show(
        request,
        who,
        "now.html",
        mine=[task for task in tasks if task.mine],
        others=[task for task in tasks if not task.mine],
        incidents=incidents[:_SHOWN],
        under_way=[(view, run_progress(who.home, view)) for view in under_way],
        left_out=max(len(unfinished) - _SHOWN, 0),
        recent=[view for view in runs if view.summary.status in TERMINAL][:_RECENT],
        anything=bool(runs or incidents),
        storm=budget_in(who.home.store),
    )
