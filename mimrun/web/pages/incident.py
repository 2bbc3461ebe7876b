"""An incident: where it stands, what happened, who does what, and everything that may be done in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse

from mimrun.app.alert.attached import attached_alerts
from mimrun.app.home import Home
from mimrun.app.incident.closing import blocks_closing
from mimrun.app.incident.declaring import may_prioritize
from mimrun.app.incident.pages import timeline_news, timeline_page
from mimrun.app.incident.view import IncidentView, find_incident, list_incidents
from mimrun.app.incident.working import HOWS, RELATIONS, TIMED
from mimrun.app.persons import why_not
from mimrun.app.runs import find_run
from mimrun.app.waiting import run_progress, waiting_tasks
from mimrun.gate.policy import PRIORITIES
from mimrun.incident.assessment_file import load_table
from mimrun.run.record.transitions import TERMINAL
from mimrun.web.acting import Acting, Who
from mimrun.web.form import Given
from mimrun.web.moments import HOW
from mimrun.web.page import show
from mimrun.web.pages.incidents import grade_choices
from mimrun.web.route import does, new_router
from mimrun.web.view.incident import clocks_of, moves_of, rail_of, times_of
from mimrun.web.view.timeline import SIGNS, chips_of, read_place, wanted_of, write_place

router: Final = new_router()
_RUNS: Final = 30


@dataclass(frozen=True, slots=True)
class Refused:
    """What somebody wanted to do in an incident, and could not.

    Arguments:
        act: what it was; "" where nothing was refused.
        why: in words.
        form: what was sent for it, to be put right.
    """

    act: str = ""
    why: str = ""
    form: Given = field(default_factory=lambda: Given({}))

    def text(self, act: str, name: str, otherwise: str = "") -> str:
        """Give what was sent for an act that was refused, else what its form begins with."""
        return self.form.text(name, otherwise) if act == self.act else otherwise


@router.get("/incidents/{incident}")
@does("incident show")
def incident(request: Request, who: Acting, incident: str, shown: str = "", before: str = "") -> HTMLResponse:
    """Show an incident."""
    view = find_incident(who.home, incident)
    if request.headers.get("hx-request") == "true":
        return show(request, who, "incident_state.html", **_standing(who, view))
    return incident_page(request, who, view, shown=shown, before=before)


@router.get("/incidents/{incident}/timeline")
@does("incident show")
def timeline_part(
    request: Request, who: Acting, incident: str, *, shown: str = "", before: str = "", after: int = 0
) -> HTMLResponse:
    """Give more of a timeline: what came behind an entry, or what was before a place."""
    view = find_incident(who.home, incident)
    wanted, earlier = wanted_of(shown), ""
    if before:
        page = timeline_page(who.home, view.name, wanted, upto=who.seen, before=read_place(before))
        lines, earlier = page.lines, write_place(page.before)
    else:
        lines = timeline_news(who.home, view.name, wanted, after=after, upto=who.seen)[::-1]
    return show(
        request,
        who,
        "incident_timeline.html",
        view=view,
        lines=lines,
        earlier=earlier,
        shown=shown,
        signs=SIGNS,
        news=not before,
    )


def incident_page(
    request: Request,
    who: Who,
    view: IncidentView,
    *,
    status: int = 200,
    shown: str = "",
    before: str = "",
    refused: Refused | None = None,
) -> HTMLResponse:
    """Show the page of an incident."""
    home, path = who.home, f"/incidents/{view.name}"
    page = timeline_page(home, view.name, wanted_of(shown), upto=who.seen, before=read_place(before))
    return show(
        request,
        who,
        "incident.html",
        status=status,
        lines=page.lines,
        earlier=write_place(page.before),
        shown=shown,
        before=before,
        how_when=HOW,
        chips=chips_of(path, shown),
        signs=SIGNS,
        refused=refused or Refused(),
        **_standing(who, view),
        **_choices(home, who, view),
    )


def _standing(who: Who, view: IncidentView) -> dict[str, Any]:
    """Give what changes while somebody looks."""
    home = who.home
    runs = [find_run(home, run.run) for run in view.runs[:_RUNS]]
    return {
        "view": view,
        "state": view.state,
        "rail": rail_of(view.state),
        "clocks": clocks_of(view.state),
        "times": list(times_of(view.state)),
        "blocks": blocks_closing(home, view.name) if view.state.status == "resolved" else (),
        "tasks": [
            task for task in waiting_tasks(home, who.identity, runs) if task.incident in ("", view.name)
        ],
        "runs": [(run, None if run.summary.status in TERMINAL else run_progress(home, run)) for run in runs],
        "more_runs": max(len(view.runs) - _RUNS, 0),
        "alerts": attached_alerts(home, view.name),
    }


def _choices(home: Home, who: Who, view: IncidentView) -> dict[str, Any]:
    """Give what can be chosen in the forms."""
    table, now = load_table(home.settings.incidents), home.clock()
    people = [one for one in home.people().by_id.values() if not why_not(one, now)]
    others = [one for one in list_incidents(home, alerts=False) if one.name != view.name and not one.is_pack]
    return {
        "roles": [
            (role, f"{role.replace('_', ' ')}: {meaning}") for role, meaning in table.every_role.items()
        ],
        "people": [("", "nobody"), *((one.id, f"{one.id} ({one.name})") for one in people)],
        "moves": moves_of(view.state),
        "hows": [(how, how.replace("_", " ")) for how in HOWS],
        "relations": [(one, one) for one in RELATIONS],
        "timed": [(one, one) for one in TIMED],
        "priorities": [(one, one) for one in PRIORITIES],
        "prioritizes": may_prioritize(home, who.identity),
        "others": others[:100],
        "closes": not table.close or not who.identity.person.roles.isdisjoint(table.close),
        **grade_choices(table, view.state.flags),
    }
