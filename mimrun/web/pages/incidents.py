"""Incidents: which there are, and declaring one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from mimrun.app.home import Home
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.view import IncidentView, list_incidents
from mimrun.app.masking import masked
from mimrun.errors import InputError
from mimrun.incident.assessment import GRADES, IncidentTable, assess, check_flags, read_grade
from mimrun.incident.assessment_file import load_table
from mimrun.web.acting import Acting, Who
from mimrun.web.form import Form, Given
from mimrun.web.moments import read_when
from mimrun.web.page import see, show
from mimrun.web.route import does, new_router

router: Final = new_router()
PAGE: Final = 50
SHOWN: Final = ("open", "all")
_IMPACT: Final = (
    ("high", "High: all of a service, or all users"),
    ("medium", "Medium: part of it, or many users"),
    ("low", "Low: few users, or a comfort"),
    ("unknown", "Not known yet"),
)
_URGENCY: Final = (
    ("high", "High: now"),
    ("medium", "Medium: today"),
    ("low", "Low: it can wait"),
    ("unknown", "Not known yet"),
)


@dataclass(frozen=True, slots=True)
class Preview:
    """What the table makes of what somebody is filling in.

    Arguments:
        wrong: why it makes nothing of it; "" where it does.
    """

    priority: str = ""
    severity: str = ""
    why: str = ""
    wrong: str = ""


@router.get("/incidents")
@does("incident list")
def incidents(request: Request, who: Acting, shown: str = "open", page: int = 1) -> HTMLResponse:
    """List incidents, and ask for what is needed to declare one."""
    return _page(request, who, Given({}), shown=shown, number=page)


@router.get("/incidents/preview")
@does("incident list")
def preview(request: Request, who: Acting) -> HTMLResponse:
    """Say what priority and severity an incident would have."""
    given = Given(dict(request.query_params))
    return show(request, who, "incident_preview.html", preview=_preview(who.home, given))


@router.post("/incidents")
@does("incident declare")
def declare_incident(request: Request, who: Acting, form: Form) -> Response:
    """Declare an incident."""
    try:
        name = declare(who.home, who.identity, read_declaration(who.home, form))
    except InputError as exc:
        return _page(request, who, form, status=400, wrong=str(exc))
    return see(request, f"/incidents/{name}", f"{name} is declared. Say who leads it, and launch what helps.")


def read_declaration(home: Home, form: Given) -> Declaration:
    """Read what somebody says of an incident.

    Raises:
        InputError: a grade or a time is none.
    """
    began = form.text("started")
    said = Declaration(
        title=form.text("title"),
        impact=read_grade(form.text("impact", "unknown"), "impact"),
        urgency=read_grade(form.text("urgency", "unknown"), "urgency"),
        services=services_of(form),
        flags=tuple(form.below("flag.")),
        text=form.text("text"),
        times={"started": read_when(began, home.clock())} if began else {},
        parent=form.text("parent"),
    )
    return masked(home, said)


def services_of(form: Given) -> tuple[str, ...]:
    """Give the services that somebody typed, with commas between."""
    return tuple(word for word in (part.strip() for part in form.text("services").split(",")) if word)


def grade_choices(table: IncidentTable, flags: Sequence[str] = ()) -> dict[str, Any]:
    """Give what can be said of how bad an incident is."""
    return {"impacts": _IMPACT, "urgencies": _URGENCY, "flags": table.every_flag, "set_flags": flags}


def _preview(home: Home, given: Given) -> Preview:
    table = load_table(home.settings.incidents)
    try:
        check_flags(table, tuple(given.below("flag.")))
        found = assess(
            table,
            read_grade(given.text("impact", "unknown"), "impact"),
            read_grade(given.text("urgency", "unknown"), "urgency"),
            services_of(given),
            tuple(given.below("flag.")),
        )
    except InputError as exc:
        return Preview(wrong=str(exc))
    return Preview(found.priority, found.severity, found.why)


def _page(
    request: Request,
    who: Who,
    form: Given,
    *,
    status: int = 200,
    wrong: str = "",
    shown: str = "open",
    number: int = 1,
) -> HTMLResponse:
    every = [one for one in list_incidents(who.home, alerts=False) if not one.is_pack]
    wanted = [one for one in every if one.is_open or shown == "all"]
    pages = max(-(-len(wanted) // PAGE), 1)
    number = min(max(number, 1), pages)
    table = load_table(who.home.settings.incidents)
    return show(
        request,
        who,
        "incidents.html",
        status=status,
        incidents=wanted[(number - 1) * PAGE : number * PAGE],
        counts={"open": sum(one.is_open for one in every), "all": len(every)},
        shown=shown if shown in SHOWN else "open",
        number=number,
        pages=pages,
        form=form,
        wrong=wrong,
        preview=_preview(who.home, form),
        table=table,
        grades=GRADES,
        parents=_parents(every),
        **grade_choices(table, tuple(form.below("flag."))),
    )


def _parents(every: Sequence[IncidentView]) -> list[tuple[str, str]]:
    return [("", "none"), *((one.name, f"{one.name}: {one.title}") for one in every if one.is_open)]
