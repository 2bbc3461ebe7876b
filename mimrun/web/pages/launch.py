"""Launching a runbook: a form made from its inputs, then exactly what would run, then the go for just that."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, Response

from mimrun.app.besides import Besides, as_wanted, besides
from mimrun.app.checking import check_plan
from mimrun.app.explaining import explain_plan
from mimrun.app.going_on import carry_on
from mimrun.app.home import Home
from mimrun.app.incident.view import find_incident, list_incidents
from mimrun.app.launch_once import launch_once, launched_before
from mimrun.app.plans import require_secrets
from mimrun.app.policies import asks_at_launch
from mimrun.app.presence import takes_back_alone
from mimrun.app.runs import check_launch
from mimrun.app.server.planning import inventories_at_server, named_at_server, plan_at_server
from mimrun.errors import InputError, MimrunError, PlanError, RefusedError
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.plan import Plan
from mimrun.web.acting import Acting, Who
from mimrun.web.errors import status_of
from mimrun.web.form import Form, Given
from mimrun.web.page import see, show
from mimrun.web.route import does, new_router
from mimrun.web.view.launch import fields_kept, fields_of, other_problems, values_of
from mimrun.web.view.plan import check_page, plan_page

router: Final = new_router()
_BESIDES: Final = ("incident", "priority", "change", "inventory")
_INCIDENTS: Final = 100


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that was made of a form, and what it brings besides."""

    loaded: LoadedRunbook
    plan: Plan
    more: Besides


@router.get("/runbooks/{name}/launch")
@does("plan")
def launch_form(
    request: Request,
    who: Acting,
    name: str,
    *,
    version: Annotated[str, Query(max_length=40)] = "",
    incident: Annotated[str, Query(max_length=64)] = "",
) -> HTMLResponse:
    """Show the form."""
    loaded = named_at_server(f"{name}@{version}" if version else name)
    named = find_incident(who.home, incident).name if incident else ""
    chosen = {"incident": named, "inventory": _only_inventory(who.home)}
    return _form(request, who, loaded, Given(chosen), new=True)


@router.post("/runbooks/{name}/launch")
@does("plan")
def launch_plan(request: Request, who: Acting, name: str, form: Form) -> HTMLResponse:
    """Show the plan that the form makes."""
    loaded = _loaded(name, form)
    try:
        planned = _plan(who, loaded, form)
    except (InputError, RefusedError) as exc:
        return _form(request, who, loaded, form, problem=exc)
    return _show(request, who, planned, form)


@router.post("/runbooks/{name}/change")
@does("plan")
def change_inputs(request: Request, who: Acting, name: str, form: Form) -> HTMLResponse:
    """Show the form again, with what was typed."""
    return _form(request, who, _loaded(name, form), form)


@router.post("/runbooks/{name}/check")
@does("plan")
def check(request: Request, who: Acting, name: str, form: Form) -> HTMLResponse:
    """Hold the plan against its targets as they are now; nothing is changed."""
    loaded = _loaded(name, form)
    try:
        planned = _plan(who, loaded, form)
        require_secrets(planned.plan)
    except (InputError, RefusedError) as exc:
        return _form(request, who, loaded, form, problem=exc)
    found = check_page(check_plan(planned.plan, who.home.catalog))
    return _show(request, who, planned, form, check=found)


@router.post("/runbooks/{name}/go")
@does("run")
def go(request: Request, who: Acting, name: str, form: Form) -> Response:
    """Launch exactly what was shown; a form that is sent twice launches once."""
    key = form.text("launch_key")
    if before := launched_before(who.home, who.identity, key):
        return see(request, f"/runs/{before}", "It was launched already; this is that run.")
    loaded = _loaded(name, form)
    try:
        planned = _plan(who, loaded, form)
        require_secrets(planned.plan)
    except (InputError, RefusedError) as exc:
        return _form(request, who, loaded, form, problem=exc)
    if planned.plan.digest != form.text("digest"):
        return _show(request, who, planned, form, status=409, changed=True)
    try:
        return _launch(request, who, planned, key)
    except RefusedError as exc:
        return _show(request, who, planned, form, status=status_of(exc), tried=str(exc))


def _launch(request: Request, who: Who, planned: Planned, key: str) -> Response:
    wanted = planned.more.wanted
    run, made = launch_once(
        who.home, planned.plan, who.identity, key, incident=wanted.incident or None, more=planned.more.more
    )
    if not made:
        return see(request, f"/runs/{run}", "It was launched already; this is that run.")
    planned.more.link(who.home, run)
    held_up = carry_on(who.home, run, request.app.state.start)
    return see(request, f"/runs/{run}", held_up or "Launched.")


def _loaded(name: str, form: Given) -> LoadedRunbook:
    """Give the very version that the form was made of."""
    version = form.text("version")
    return named_at_server(f"{name}@{version}" if version else name)


def _plan(who: Who, loaded: LoadedRunbook, form: Given) -> Planned:
    book = loaded.runbook
    wanted = as_wanted(who.home, None, form.text("incident") or None, form.text("priority") or None)
    plan = plan_at_server(
        who.home,
        f"{book.name}@{book.version}",
        values_of(book, form.texts),
        typed=True,
        inventory=form.text("inventory"),
    )
    more = besides(who.home, plan, wanted, change=form.text("change") or None, break_glass=None)
    return Planned(loaded, plan, more)


def _show(
    request: Request, who: Who, planned: Planned, form: Given, *, status: int = 200, **more: Any
) -> HTMLResponse:
    """Show a plan, with everything that a go for just this needs."""
    home, plan, wanted = who.home, planned.plan, planned.more.wanted
    kept: dict[str, str] = {
        **fields_kept(planned.loaded.runbook, form.texts),
        **{name: form.text(name) for name in _BESIDES},
        "version": plan.runbook.version,
        "digest": plan.digest,
        # A plan that was looked at anew is another launch.
        "launch_key": secrets.token_hex(16),
    }
    outlook = None
    warnings = [why for why in (takes_back_alone(home.settings, plan),) if why]
    if asks_at_launch(home.settings):
        try:
            outlook = explain_plan(home, plan, wanted)
        except MimrunError as exc:
            warnings.append(str(exc))
    values: Mapping[str, Any] = {"changed": False, "check": None, "tried": "", **more}
    return show(
        request,
        who,
        "launch_plan.html",
        status=status,
        page=plan_page(plan),
        kept=kept,
        wanted=wanted,
        outlook=outlook,
        warnings=warnings,
        refused=_refusal(home, plan),
        **values,
    )


def _refusal(home: Home, plan: Plan) -> str:
    """Say why a launch would be refused at this moment; "" where it would not."""
    try:
        check_launch(home, plan)
        require_secrets(plan)
    except MimrunError as exc:
        return str(exc)
    return ""


def _form(
    request: Request,
    who: Who,
    loaded: LoadedRunbook,
    form: Given,
    *,
    problem: InputError | RefusedError | None = None,
    new: bool = False,
) -> HTMLResponse:
    """Show the form, with what was typed and what is wrong with it; of a secret never what was typed."""
    book = loaded.runbook
    wrong = problem.problems if isinstance(problem, PlanError) else ()
    said: list[str] = []
    if problem is not None:
        said = other_problems(book, problem) if isinstance(problem, InputError) else [str(problem)]
    status = 200 if problem is None else 400 if isinstance(problem, InputError) else 409
    return show(
        request,
        who,
        "launch.html",
        status=status,
        book=book,
        fields=fields_of(book, None if new else form.texts, wrong),
        problems=said or (["see what is marked below"] if wrong else []),
        chosen={name: form.text(name) for name in _BESIDES},
        incidents=_incidents(who.home, form.text("incident")),
        inventories=inventories_at_server(who.home.settings),
    )


def _only_inventory(home: Home) -> str:
    """Give the inventory that is chosen until somebody chooses: the only one, where the server has none of its own."""
    found = inventories_at_server(home.settings)
    return found[1][0] if home.settings.inventory is None and len(found) == 2 else ""


def _incidents(home: Home, chosen: str) -> list[tuple[str, str]]:
    """Give the incidents that a run can belong to: those that are open, and the one that was chosen before."""
    found = [one for one in list_incidents(home, alerts=False) if one.is_open and not one.is_pack][
        :_INCIDENTS
    ]
    if chosen and chosen not in {one.name for one in found}:
        found.append(find_incident(home, chosen))
    return [("", "a new one"), *((one.name, f"{one.name}: {one.title}") for one in found)]
