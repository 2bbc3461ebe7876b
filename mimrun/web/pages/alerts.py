"""Alerts: what monitoring systems said, and what rules made of it."""

from __future__ import annotations

from typing import Annotated, Final, get_args
from urllib.parse import urlencode

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, Response

from mimrun.app.alert.paging import alerts_before
from mimrun.app.rule.resuming import resume_rules
from mimrun.app.rule.view import list_rules
from mimrun.incident.alert import Status
from mimrun.web.acting import Acting
from mimrun.web.form import Form
from mimrun.web.page import is_fragment, see, show
from mimrun.web.route import does, new_router

router: Final = new_router()
STATUSES: Final = get_args(Status)


@router.get("/alerts")
@does("alert list")
def alerts(
    request: Request,
    who: Acting,
    status: Annotated[str, Query(max_length=20)] = "",
    source: Annotated[str, Query(max_length=64)] = "",
    before: Annotated[int, Query(ge=0)] = 0,
) -> HTMLResponse:
    """List alerts, the newest first."""
    page = alerts_before(who.home, before, status=status, source=source)
    rules = None if is_fragment(request) else list_rules(who.home)
    asked = {"status": status, "source": source}

    def link(**changed: str | int) -> str:
        wanted = {name: value for name, value in {**asked, **changed}.items() if value}
        return f"/alerts?{urlencode(wanted)}" if wanted else "/alerts"

    return show(
        request,
        who,
        "alerts.html",
        page=page,
        rules=rules,
        here=link(before=before),
        older=link(before=page.before) if page.before else "",
        newest=link() if before else "",
        chips=[
            (link(status=""), "All", not status),
            *((link(status=one), one, status == one) for one in STATUSES),
        ],
        source=source,
        every_source=link(source=""),
        filtered=bool(status or source or before),
    )


@router.post("/rules/resume")
@does("rule resume")
def resume(request: Request, who: Acting, form: Form) -> Response:
    """Say that a storm is over: rules launch again, and what was held back fires if it still burns."""
    was = resume_rules(who.home, who.identity, form.text("reason"))
    told = "Rules may launch again. This incident of the storm is open until somebody resolves it."
    return see(request, f"/incidents/{was.incident}" if was.incident else "/alerts", told)
