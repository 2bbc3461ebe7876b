"""A gate: exactly what would run, for people who agree to it or refuse it, on a phone as well."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, Response

from mimrun.app.boards import known_of
from mimrun.app.change.linking import find_record, link_change
from mimrun.app.decisions import decide, override_freeze, pending_gate
from mimrun.app.going_on import carry_on_from_gate
from mimrun.app.runs import find_run
from mimrun.app.withdrawal import withdraw as withdraw_approval
from mimrun.gate.approval import Closed, Waiting
from mimrun.web.acting import Acting, Who
from mimrun.web.form import Form, Given
from mimrun.web.page import see, show
from mimrun.web.route import does, new_router
from mimrun.web.view.gate import gate_page, may_of

router: Final = new_router()


@router.get("/runs/{run}/gate")
@does("status")
def gate(
    request: Request, who: Acting, run: str, *, at: Annotated[str, Query(max_length=200)] = ""
) -> HTMLResponse:
    """Show the gate that a run waits at, or one that it came to before."""
    return _show(request, who, run, at)


@router.get("/runs/{run}/gate/news")
@does("status")
def gate_news(
    request: Request, who: Acting, run: str, *, key: Annotated[str, Query(max_length=32)] = ""
) -> Response:
    """Say that the gate has changed since the page was loaded; nothing where it has not."""
    page = gate_page(who.home, run, known_of(who.home, run))
    if page.key == key:
        return Response(status_code=204)
    return show(request, who, "gate_news.html", gate=page)


@router.post("/runs/{run}/approve")
@does("approve")
def approve(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Agree to exactly what was shown."""
    return _decide(request, who, run, form, "approved")


@router.post("/runs/{run}/reject")
@does("reject")
def reject(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Refuse what the gate would let through."""
    form.needed("reason", "say why you refuse it: a reviewer will read it")
    return _decide(request, who, run, form, "rejected")


@router.post("/runs/{run}/override")
@does("approve")
def override(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Let the gate open although a calendar is closed."""
    reason = form.needed("reason", "say why it cannot wait")
    pending = pending_gate(who.home, run)
    name, digest = pending.run.summary.run, form.text("digest")
    if digest != pending.request.digest:
        return _changed(request, who, name)
    role = override_freeze(who.home, pending, who.identity, digest=digest, reason=reason)
    return _decided(request, who, name, f"The freeze is overridden, as {role}.")


@router.post("/runs/{run}/withdraw")
@does("withdraw")
def withdraw(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Take back an approval of one's own."""
    reason = form.needed("reason", "say why you take it back: a reviewer will read it")
    name = find_run(who.home, run).summary.run
    withdraw_approval(who.home, name, who.identity, reason)
    return see(request, f"/runs/{name}/gate", "Your approval is taken back.")


@router.post("/runs/{run}/change")
@does("change link")
def link(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Link the run to a change record."""
    name = find_run(who.home, run).summary.run
    found = find_record(who.home, form.needed("change", "name the change record"))
    link_change(who.home, name, found, who.identity)
    return see(request, f"/runs/{name}/gate", f"It is part of {found.name}. {found.warning}".strip())


def _decide(
    request: Request, who: Who, run: str, form: Given, decision: Literal["approved", "rejected"]
) -> Response:
    pending = pending_gate(who.home, run)
    name, digest = pending.run.summary.run, form.text("digest")
    if digest != pending.request.digest:
        return _changed(request, who, name)
    reason = form.text("reason")
    role = decide(who.home, pending, who.identity, decision, digest=digest, reason=reason)
    return _decided(request, who, name, f"{decision.capitalize()}, as {role}.")


def _decided(request: Request, who: Who, run: str, told: str) -> Response:
    """Have the run go on, or end, where that decided it."""
    verdict, held_up = carry_on_from_gate(who.home, run, request.app.state.start)
    match verdict:
        case Waiting():
            return see(request, f"/runs/{run}/gate", f"{told} The gate still needs {verdict.needs}.")
        case Closed():
            return see(request, f"/runs/{run}", f"{told} {held_up or 'The run ends there.'}")
        case _:
            return see(request, f"/runs/{run}", f"{told} {held_up or 'The gate is open; the run goes on.'}")


def _changed(request: Request, who: Who, run: str) -> HTMLResponse:
    """Refuse a word on something else than is asked now, and show what is asked."""
    return _show(request, who, run, "", status=409, changed=True)


def _show(
    request: Request, who: Who, run: str, at: str, *, status: int = 200, changed: bool = False
) -> HTMLResponse:
    known = known_of(who.home, run)
    page = gate_page(who.home, run, known, at)
    may = may_of(who.home, page, who.identity, known)
    return show(request, who, "gate.html", status=status, gate=page, allowed=may, changed=changed)
