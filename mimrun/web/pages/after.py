"""After a run: what it did is taken back, or what it has left is done, each shown before it is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, Response

from mimrun.app.going_on import carry_on
from mimrun.app.home import Home
from mimrun.app.plans import require_secrets
from mimrun.app.retry import create_retry, plan_retry
from mimrun.app.runs import RunView, check_launch, find_run
from mimrun.app.undo import WayBackWishes, create_undo, left_standing, plan_undo, steps_only
from mimrun.errors import MimrunError, RefusedError, RunError
from mimrun.runbook.plan import Plan
from mimrun.web.acting import Acting, Who
from mimrun.web.errors import status_of
from mimrun.web.form import Form
from mimrun.web.page import see, show
from mimrun.web.route import does, new_router
from mimrun.web.view.plan import plan_page

router: Final = new_router()
Steps = Annotated[list[str] | None, Query(alias="step", max_length=200)]


@dataclass(frozen=True, slots=True)
class _Way:
    """A plan that is made from a run.

    Arguments:
        what: `undo` or `retry`.
        steps: only these are taken back; all where none is named.
    """

    what: str
    make: Callable[[Home, str], Plan]
    steps: tuple[str, ...] = ()


@router.get("/runs/{run}/undo")
@does("plan")
def undo_page(request: Request, who: Acting, run: str, *, step: Steps = None) -> HTMLResponse:
    """Show what would be taken back."""
    return _show(request, who, find_run(who.home, run), _back(step or ()))


@router.post("/runs/{run}/undo")
@does("undo")
def undo(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Take back exactly what was shown."""
    view = find_run(who.home, run)
    name, steps = view.summary.run, tuple(form.text("steps").split())
    way = _back(steps)
    plan = _made(who.home, name, way)
    if plan is None or plan.digest != form.text("digest"):
        return _show(request, who, view, way, status=409, changed=True)
    require_secrets(plan)
    wishes = WayBackWishes(steps_only(who.home, name, steps))
    try:
        made = create_undo(who.home, name, plan, who.identity, wishes)
    except RefusedError as exc:
        return _show(request, who, view, way, status=status_of(exc), tried=str(exc))
    held_up = carry_on(who.home, made, request.app.state.start)
    return see(request, f"/runs/{made}", held_up or f"{made} takes {name} back.")


@router.get("/runs/{run}/retry")
@does("plan")
def retry_page(request: Request, who: Acting, run: str) -> HTMLResponse:
    """Show what is left to do."""
    return _show(request, who, find_run(who.home, run), _AGAIN)


@router.post("/runs/{run}/retry")
@does("retry")
def retry(request: Request, who: Acting, run: str, form: Form) -> Response:
    """Do exactly what was shown of what a run has left."""
    view = find_run(who.home, run)
    name = view.summary.run
    plan = _made(who.home, name, _AGAIN)
    if plan is None or plan.digest != form.text("digest"):
        return _show(request, who, view, _AGAIN, status=409, changed=True)
    require_secrets(plan)
    try:
        made = create_retry(who.home, name, plan, who.identity)
    except RefusedError as exc:
        return _show(request, who, view, _AGAIN, status=status_of(exc), tried=str(exc))
    held_up = carry_on(who.home, made, request.app.state.start)
    return see(request, f"/runs/{made}", held_up or f"{made} repeats what {name} has left.")


_AGAIN: Final = _Way("retry", plan_retry)


def _back(steps: tuple[str, ...] | list[str]) -> _Way:
    return _Way("undo", lambda home, run: plan_undo(home, run, steps_only(home, run, steps)), tuple(steps))


def _made(home: Home, run: str, way: _Way) -> Plan | None:
    """Make the plan; None where there is none any more, which the page says."""
    try:
        return way.make(home, run)
    except RunError:
        return None


def _show(
    request: Request,
    who: Who,
    view: RunView,
    way: _Way,
    *,
    status: int = 200,
    changed: bool = False,
    tried: str = "",
) -> HTMLResponse:
    name = view.summary.run
    page, why_not, standing = None, "", list[str]()
    try:
        plan = way.make(who.home, name)
    except RunError as exc:
        why_not = str(exc)
    else:
        page = plan_page(plan)
        standing = left_standing(who.home, name) if way.what == "undo" else []
    return show(
        request,
        who,
        "after.html",
        status=status,
        view=view,
        way=way,
        page=page,
        why_not=why_not,
        standing=standing,
        changed=changed,
        tried=tried,
        refused=_refusal(who.home, page.plan) if page is not None else "",
    )


def _refusal(home: Home, plan: Plan) -> str:
    try:
        check_launch(home, plan)
        require_secrets(plan)
    except MimrunError as exc:
        return str(exc)
    return ""
