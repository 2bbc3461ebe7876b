"""Incidents: listed, declared, worked on, ended; their timelines."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import Query, Request, Response

from mimrun.app.home import Home
from mimrun.app.incident.closing import blocks_closing
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.timeline import recorded
from mimrun.app.incident.view import IncidentView, list_incidents, told_by_alert
from mimrun.app.incident.working import (
    assess,
    assign,
    close,
    link,
    move_stage,
    reopen,
    resolve,
    set_time,
)
from mimrun.app.manual_work import Place, write_note
from mimrun.app.masking import masking
from mimrun.app.priority import prioritize
from mimrun.errors import RefusedError
from mimrun.web.acting import Acting, Who
from mimrun.web.api.finding import incident_named, run_named
from mimrun.web.api.incident_model import (
    Assessed,
    Assigned,
    Declared,
    Incident,
    IncidentDetail,
    Linked,
    NeededWhy,
    Note,
    Noted,
    Priority,
    Resolved,
    Staged,
    Timed,
    TimelineLine,
    Why,
)
from mimrun.web.api.model import (
    PREFIX,
    After,
    Before,
    Key,
    Limit,
    Page,
    Standing,
)
from mimrun.web.api.repeat import Repeats
from mimrun.web.route import does, new_router

router: Final = new_router(f"{PREFIX}/incidents", shown=True)


@router.get("", response_model=Page[Incident])
@does("incident list")
def list_all(
    who: Acting,
    standing: Annotated[Standing, Query(description="open: what is not closed.")] = "all",
    before: Before = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """List incidents, the newest first."""
    every = [one for one in list_incidents(who.home, alerts=False) if not one.is_pack]
    wanted = [one for one in every if one.is_open or standing == "all"]
    found = [one for one in wanted if before is None or one.state.opened < before]
    rest = found[limit - 1].state.opened if len(found) > limit else None
    return {"items": [told_by_alert(who.home, one).as_json() for one in found[:limit]], "next": rest}


@router.post("", response_model=Incident, status_code=201)
@does("incident declare")
def declare_one(
    request: Request, who: Acting, given: Declared, response: Response, key: Key = None
) -> dict[str, Any]:
    """Declare an incident. With an Idempotency-Key it is declared once."""
    repeats: Repeats = request.app.state.repeats

    def do() -> str:
        if given.parent is not None:
            incident_named(who.home, given.parent)
        return declare(who.home, who.identity, _declaration(given))

    name = repeats.once((who.identity.person.id, "declare"), key, given, do)
    response.headers["Location"] = f"{PREFIX}/incidents/{name}"
    return incident_named(who.home, name).as_json()


def _declaration(given: Declared) -> Declaration:
    times: dict[Literal["started", "detected"], datetime] = {}
    if given.started is not None:
        times["started"] = given.started
    if given.detected is not None:
        times["detected"] = given.detected
    return Declaration(
        title=given.title,
        impact=given.impact,
        urgency=given.urgency,
        services=tuple(given.services),
        flags=tuple(given.flags),
        text=given.text,
        times=times,
        parent=given.parent or "",
    )


@router.get("/{incident}", response_model=IncidentDetail)
@does("incident show")
def show(who: Acting, incident: str) -> dict[str, Any]:
    """Show how an incident stands."""
    return _detail(who.home, incident_named(who.home, incident))


@router.get("/{incident}/timeline", response_model=Page[TimelineLine])
@does("incident timeline")
def timeline_of(who: Acting, incident: str, after: After = 0, limit: Limit = 200) -> dict[str, Any]:
    """Give what happened, in the order in which it was recorded: alerts, runs, steps, decisions, notes, messages."""
    name = incident_named(who.home, incident).name
    found = recorded(who.home, name, after=after, limit=limit + 1)
    rest = found[limit - 1].seq if len(found) > limit else None
    return {"items": [line.as_json() for line in found[:limit]], "next": rest}


@router.post("/{incident}/notes", response_model=Noted, status_code=201)
@does("incident note")
def note(request: Request, who: Acting, incident: str, given: Note, key: Key = None) -> dict[str, Any]:
    """Write something down. With an Idempotency-Key it is written down once."""
    repeats: Repeats = request.app.state.repeats
    name = incident_named(who.home, incident).name

    def do() -> int:
        run = run_named(who.home, given.run).summary if given.run is not None else None
        if run is not None and run.incident != name:
            raise RefusedError(f"{run.run} belongs to {run.incident}, not to {name}")
        place = Place(name, run.run if run is not None else "")
        return write_note(who.home, who.identity, place, masking(who.home)(given.text))[0].seq

    seq = repeats.once((who.identity.person.id, f"note {name}"), key, given, do)
    return {"seq": seq, "incident": name}


@router.post("/{incident}/assess", response_model=IncidentDetail)
@does("incident assess")
def assess_one(who: Acting, incident: str, given: Assessed) -> dict[str, Any]:
    """Say anew how bad it is."""
    said = Declaration(
        title="",
        impact=given.impact,
        urgency=given.urgency,
        services=tuple(given.services),
        flags=tuple(given.flags),
        text=given.text,
    )
    assess(who.home, who.identity, _name(who, incident), said, given.reason)
    return _now(who, incident)


@router.post("/{incident}/priority", response_model=IncidentDetail)
@does("incident priority")
def set_priority(who: Acting, incident: str, given: Priority) -> dict[str, Any]:
    """Declare how urgent it is. Gates that ask for something else then are void, and are asked anew."""
    prioritize(who.home, who.identity, _name(who, incident), given.priority, given.reason)
    return _now(who, incident)


@router.post("/{incident}/assign", response_model=IncidentDetail)
@does("incident assign")
def assign_role(who: Acting, incident: str, given: Assigned) -> dict[str, Any]:
    """Give somebody a role in it."""
    assign(who.home, who.identity, _name(who, incident), given.role, given.person)
    return _now(who, incident)


@router.post("/{incident}/stage", response_model=IncidentDetail)
@does("incident stage")
def stage(who: Acting, incident: str, given: Staged) -> dict[str, Any]:
    """Say what is being worked on from now on. It is contained only by a verified step."""
    name = _name(who, incident)
    move_stage(who.home, who.identity, name, given.stage, reason=given.reason, verified=given.verified)
    return _now(who, incident)


@router.post("/{incident}/resolve", response_model=IncidentDetail)
@does("incident resolve")
def resolve_one(who: Acting, incident: str, given: Resolved) -> dict[str, Any]:
    """Say that service is back, and how that came."""
    name = _name(who, incident)
    more: dict[str, Any] = {"cause": given.cause, "text": given.text, "restored_at": given.restored_at}
    resolve(who.home, who.identity, name, given.how, **more)
    return _now(who, incident)


@router.post("/{incident}/close", response_model=IncidentDetail)
@does("incident close")
def close_one(who: Acting, incident: str, given: Why) -> dict[str, Any]:
    """Say that nothing is left to do in it."""
    close(who.home, who.identity, _name(who, incident), given.reason)
    return _now(who, incident)


@router.post("/{incident}/reopen", response_model=IncidentDetail)
@does("incident reopen")
def reopen_one(who: Acting, incident: str, given: NeededWhy) -> dict[str, Any]:
    """Say that it is not over after all."""
    reopen(who.home, who.identity, _name(who, incident), given.reason)
    return _now(who, incident)


@router.post("/{incident}/time", response_model=IncidentDetail)
@does("incident time")
def time_of(who: Acting, incident: str, given: Timed) -> dict[str, Any]:
    """Say when something happened that the log could not see."""
    name = _name(who, incident)
    set_time(who.home, who.identity, name, given.what, given.at, source=given.source, reason=given.reason)
    return _now(who, incident)


@router.post("/{incident}/link", response_model=IncidentDetail)
@does("incident link")
def link_one(who: Acting, incident: str, given: Linked) -> dict[str, Any]:
    """Say what it belongs together with: another incident, or a record elsewhere."""
    link(who.home, who.identity, _name(who, incident), given.relation, given.to)
    return _now(who, incident)


def _name(who: Who, incident: str) -> str:
    return incident_named(who.home, incident).name


def _now(who: Who, incident: str) -> dict[str, Any]:
    return _detail(who.home, incident_named(who.home, incident))


def _detail(home: Home, view: IncidentView) -> dict[str, Any]:
    return {**view.as_json(), "blocks_closing": list(blocks_closing(home, view.name))}
