"""What somebody does in an incident from its page; what cannot be done is said there, with what was typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, get_args

from fastapi import Request
from fastapi.responses import Response

from mimrun.app.attachments import take_attachments
from mimrun.app.incident import working
from mimrun.app.incident.declaring import Declaration
from mimrun.app.incident.told import Relation, Timed
from mimrun.app.incident.view import IncidentView, find_incident
from mimrun.app.incident.working import How
from mimrun.app.manual_work import Report, find_place, report_work, write_note
from mimrun.app.masking import masker_of, masking
from mimrun.app.priority import prioritize, read_priority
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.incident.assessment import read_grade
from mimrun.incident.stage import read_stage
from mimrun.runbook.suggestion import suggest
from mimrun.web.acting import Acting, Who
from mimrun.web.errors import status_of
from mimrun.web.form import Form, Given
from mimrun.web.moments import read_when
from mimrun.web.page import see
from mimrun.web.pages.incident import Refused, incident_page
from mimrun.web.pages.incidents import services_of
from mimrun.web.route import does, new_router

router: Final = new_router()
Act = Callable[[IncidentView], str]
"""Does something in an incident, and gives what is to be said of it."""


def _act(request: Request, who: Who, incident: str, act: Act, *, name: str, form: Given) -> Response:
    """Do something, and show the incident again: with what was done, or with why it was not."""
    view = find_incident(who.home, incident)
    try:
        told = act(view)
    except (InputError, RefusedError, GateError) as exc:
        return incident_page(request, who, view, status=status_of(exc), refused=Refused(name, str(exc), form))
    return see(request, f"/incidents/{view.name}", told)


@router.post("/incidents/{incident}/note")
@does("incident note")
def note(request: Request, who: Acting, incident: str, form: Form) -> Response:
    """Write something down, with files where there are some."""

    def act(view: IncidentView) -> str:
        files = take_attachments(form.files_below("file"), masker_of(who.home.settings))
        place = find_place(who.home, view.name, None)
        write_note(who.home, who.identity, place, masking(who.home)(form.text("text")), list(files.values()))
        return "Noted." if not files else f"Noted, with {len(files)} attached."

    return _act(request, who, incident, act, name="note", form=form)


@router.post("/incidents/{incident}/did")
@does("did")
def did(request: Request, who: Acting, incident: str, form: Form) -> Response:
    """Record what somebody did by hand, and when."""

    def act(view: IncidentView) -> str:
        home, at = who.home, form.text("at")
        when = read_when(at, home.clock()) if at else home.clock()
        text = masking(home)(form.needed("text", "say what you did"))
        report_work(
            home, who.identity, find_place(home, view.name, None), Report(text, when, form.text("target"))
        )
        return "Recorded."

    return _act(request, who, incident, act, name="did", form=form)


@router.post("/incidents/{incident}/assess")
@does("incident assess")
def assess(request: Request, who: Acting, incident: str, form: Form) -> Response:
    """Say anew how bad it is."""

    def act(view: IncidentView) -> str:
        declaration = Declaration(
            title=view.title,
            impact=read_grade(form.text("impact", "unknown"), "impact"),
            urgency=read_grade(form.text("urgency", "unknown"), "urgency"),
            services=services_of(form),
            flags=tuple(form.below("flag.")),
        )
        reason = masking(who.home)(form.text("reason"))
        state = working.assess(who.home, who.identity, view.name, declaration, reason)
        return f"It is {state.priority} and {state.severity} now."

    return _act(request, who, incident, act, name="assess", form=form)


@router.post("/incidents/{incident}/priority")
@does("incident priority")
def priority(request: Request, who: Acting, incident: str, form: Form) -> Response:
    """Say which priority counts at gates."""

    def act(view: IncidentView) -> str:
        wanted = read_priority(form.text("priority"))
        prioritize(who.home, who.identity, view.name, wanted, masking(who.home)(form.text("reason")))
        return f"{wanted} counts at gates from now on."

    return _act(request, who, incident, act, name="priority", form=form)


@router.post("/incidents/{incident}/assign")
@does("incident assign")
def assign(request: Request, who: Acting, incident: str, form: Form) -> Response:
    """Give somebody a role, or take it away."""

    def act(view: IncidentView) -> str:
        role, person = form.text("role"), form.text("person")
        working.assign(who.home, who.identity, view.name, role, person)
        return f"{person or 'Nobody'} is {role.replace('_', ' ')} now."

    return _act(request, who, incident, act, name="assign", form=form)


@router.post("/incidents/{incident}/stage")
@does("incident stage")
def stage(request: Request, who: Acting, incident: str, form: Form) -> Response:
    """Say what is worked on from now on."""

    def act(view: IncidentView) -> str:
        to, reason = read_stage(form.text("stage")), masking(who.home)(form.text("reason"))
        state = working.move_stage(who.home, who.identity, view.name, to, reason=reason)
        proven = f", contained by entry {state.verified}" if state.verified else ""
        return f"It is in {state.stage} now{proven}."

    return _act(request, who, incident, act, name="stage", form=form)


@router.post("/incidents/{incident}/resolve")
@does("incident resolve")
def resolve(request: Request, who: Acting, incident: str, form: Form) -> Response:
    """Say that service is back, and how that came."""

    def act(view: IncidentView) -> str:
        home, back = who.home, form.text("restored")
        working.resolve(
            home,
            who.identity,
            view.name,
            _read_how(form.text("how")),
            cause=masking(home)(form.text("cause")),
            text=masking(home)(form.text("text")),
            restored_at=read_when(back, home.clock()) if back else None,
        )
        return "It is resolved. What is left before it can be closed is said below."

    return _act(request, who, incident, act, name="resolve", form=form)


def _read_how(text: str) -> How:
    found: How | None = next((how for how in working.HOWS if how == text), None)
    if found is None:
        raise InputError(f"{text!r} does not say how it was resolved; {suggest(text, working.HOWS)}")
    return found


@router.post("/incidents/{incident}/close")
@does("incident close")
def close(request: Request, who: Acting, incident: str, form: Form) -> Response:
    """Say that nothing is left to do."""

    def act(view: IncidentView) -> str:
        working.close(who.home, who.identity, view.name, masking(who.home)(form.text("reason")))
        return "It is closed."

    return _act(request, who, incident, act, name="close", form=form)


@router.post("/incidents/{incident}/reopen")
@does("incident reopen")
def reopen(request: Request, who: Acting, incident: str, form: Form) -> Response:
    """Say that it was not over."""

    def act(view: IncidentView) -> str:
        working.reopen(who.home, who.identity, view.name, masking(who.home)(form.text("reason")))
        return "It is open again, in containment."

    return _act(request, who, incident, act, name="reopen", form=form)


@router.post("/incidents/{incident}/time")
@does("incident time")
def time(request: Request, who: Acting, incident: str, form: Form) -> Response:
    """Say when something happened that the log could not see."""

    def act(view: IncidentView) -> str:
        home, what = who.home, form.text("what")
        known: Timed | None = next((one for one in working.TIMED if one == what), None)
        if known is None:
            raise InputError(f"{what!r} is no moment of an incident; {suggest(what, working.TIMED)}")
        at = read_when(form.needed("at", "say when it was"), home.clock())
        working.set_time(
            home,
            who.identity,
            view.name,
            known,
            at,
            source="estimate" if form.has("estimate") else "seen",
            reason=masking(home)(form.text("reason")),
        )
        return f"On record: {known} at {at:%Y-%m-%d %H:%M:%S %Z}."

    return _act(request, who, incident, act, name="time", form=form)


@router.post("/incidents/{incident}/link")
@does("incident link")
def link(request: Request, who: Acting, incident: str, form: Form) -> Response:
    """Say that it belongs together with another one, or with a record elsewhere."""

    def act(view: IncidentView) -> str:
        relation = form.text("relation")
        known: Relation | None = next((one for one in get_args(Relation) if one == relation), None)
        if known is None:
            raise InputError(f"{relation!r} is no relation; {suggest(relation, working.RELATIONS)}")
        to = form.needed("to", "say what it belongs together with")
        working.link(who.home, who.identity, view.name, known, to)
        return f"Linked with {to}."

    return _act(request, who, incident, act, name="link", form=form)
