"""A run told again: any moment of it, with the board as it was, and what today's code would have decided."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, JSONResponse

from mimrun.app.replaying import against, redecide
from mimrun.app.runbook_versions import versions_of
from mimrun.app.runs import find_run
from mimrun.app.server.planning import named_at_server
from mimrun.web.acting import Acting
from mimrun.web.page import show
from mimrun.web.route import does, new_router
from mimrun.web.view.comparison import MOST, calls_of
from mimrun.web.view.replay import AROUND, moment_of, narration_kept, stretch_of

router: Final = new_router()
Number = Query(ge=0, le=2**31)


@router.get("/runs/{run}/replay")
@does("replay")
def replay(
    request: Request, who: Acting, run: str, *, at: Annotated[int | None, Number] = None
) -> HTMLResponse:
    """Show a moment of a run: the last one, or the one that is named."""
    view = find_run(who.home, run)
    told = narration_kept(who.home, view.summary.run)
    moment = moment_of(told, at)
    versions = [one.version for one in versions_of(who.home, view.summary.runbook) if one.file]
    values: dict[str, Any] = {
        "view": view,
        "narration": told,
        "moment": moment,
        "around": AROUND,
        "versions": versions,
    }
    return show(request, who, "replay.html", **values)


@router.get("/runs/{run}/replay/redecide")
@does("replay")
def redecided(request: Request, who: Acting, run: str) -> HTMLResponse:
    """Show what today's code decides over the recorded answers, and the first place where that is something else."""
    view = find_run(who.home, run)
    return show(
        request, who, "redecide.html", view=view, found=redecide(who.home, view.summary.run), tried=""
    )


@router.get("/runs/{run}/replay/against")
@does("replay")
def tried(
    request: Request, who: Acting, run: str, version: Annotated[str, Query(max_length=40)]
) -> HTMLResponse:
    """Show what another version of the runbook, as the library has it, comes to over the recorded answers."""
    view = find_run(who.home, run)
    loaded = named_at_server(f"{view.summary.runbook}@{version}")
    named = f"{loaded.runbook.name}@{loaded.runbook.version}"
    found = against(who.home, view.summary.run, named)
    return show(
        request, who, "redecide.html", view=view, found=found, tried=named, calls=calls_of(found), most=MOST
    )


@router.get("/runs/{run}/replay/frames")
@does("replay")
def frames(who: Acting, run: str, *, after: Annotated[int, Number] = 0) -> JSONResponse:
    """Give a stretch of moments for the scrubber."""
    view = find_run(who.home, run)
    return JSONResponse(stretch_of(narration_kept(who.home, view.summary.run), after))
