"""A proposal of a rule: why, exactly what would run, and one tap to launch it or to let it be."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from mimrun.app.alert.view import read_alert
from mimrun.app.explaining import Explanation, Wanted, explain_plan
from mimrun.app.going_on import carry_on
from mimrun.app.home import Home
from mimrun.app.plans import require_secrets
from mimrun.app.policies import asks_at_launch
from mimrun.app.rule.proposals import (
    ProposalView,
    dismiss_proposal,
    find_proposal,
    proposal_plan,
    take_proposal,
)
from mimrun.app.runs import check_launch
from mimrun.errors import ErasedError, LogError, MimrunError, RefusedError
from mimrun.incident.alert import Alert
from mimrun.runbook.plan import Plan
from mimrun.web.acting import Acting, Who
from mimrun.web.errors import status_of
from mimrun.web.form import Form
from mimrun.web.page import see, show
from mimrun.web.route import does, new_router
from mimrun.web.view.plan import plan_page

router: Final = new_router()
_ALERTS: Final = 10


@router.get("/proposals/{name}")
@does("proposal show")
def proposal(request: Request, who: Acting, name: str) -> HTMLResponse:
    """Show a proposal."""
    return _show(request, who, find_proposal(who.home, name))


@router.post("/proposals/{name}/take")
@does("proposal take")
def take(request: Request, who: Acting, name: str, form: Form) -> Response:
    """Launch exactly what was proposed."""
    view = find_proposal(who.home, name)
    if view.state == "taken":
        return see(request, f"/runs/{view.said.run}", f"{view.said.by} took it already; this is the run.")
    if form.text("digest") != view.digest:
        return _show(request, who, view, status=409, changed=True)
    try:
        run = take_proposal(who.home, who.identity, view.name, view.digest)
    except RefusedError as exc:
        return _show(request, who, find_proposal(who.home, name), status=status_of(exc), tried=str(exc))
    held_up = carry_on(who.home, run, request.app.state.start)
    return see(request, f"/runs/{run}", held_up or "Launched, as it was proposed.")


@router.post("/proposals/{name}/dismiss")
@does("proposal dismiss")
def dismiss(request: Request, who: Acting, name: str, form: Form) -> Response:
    """Let a proposal be."""
    reason = form.needed("reason", "say why it is not launched: a reviewer will read it")
    view = dismiss_proposal(who.home, who.identity, name, reason)
    return see(request, f"/proposals/{view.name}", "Dismissed.")


def _show(
    request: Request,
    who: Who,
    view: ProposalView,
    *,
    status: int = 200,
    changed: bool = False,
    tried: str = "",
) -> HTMLResponse:
    home = who.home
    plan, gone = None, ""
    try:
        plan = proposal_plan(home, view.name)
    except ErasedError as exc:
        gone = str(exc)
    open_ = view.state == "open" and plan is not None
    return show(
        request,
        who,
        "proposal.html",
        status=status,
        proposal=view,
        page=plan_page(plan) if plan is not None else None,
        gone=gone,
        alerts=_alerts(home, view),
        refused=_refusal(home, plan) if open_ and plan is not None else "",
        outlook=_outlook(who, view, plan) if open_ and plan is not None else None,
        changed=changed,
        tried=tried,
    )


def _alerts(home: Home, view: ProposalView) -> list[tuple[int, Alert]]:
    """Give the first alerts that it was made for, each with its entry."""
    found = []
    for seq in view.alerts[:_ALERTS]:
        try:
            found.append((seq, read_alert(home, home.store.entry(seq))))
        except (LogError, MimrunError):
            continue  # the log of it cannot be read; that the entry is there is said by its number
    return found


def _outlook(who: Who, view: ProposalView, plan: Plan) -> Explanation | None:
    if not asks_at_launch(who.home.settings):
        return None
    try:
        return explain_plan(who.home, plan, Wanted(who.identity, view.incident))
    except MimrunError:
        return None


def _refusal(home: Home, plan: Plan) -> str:
    try:
        check_launch(home, plan)
        require_secrets(plan)
    except MimrunError as exc:
        return str(exc)
    return ""
