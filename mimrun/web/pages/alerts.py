"""Alerts: what monitoring systems said, and what rules made of it."""

from __future__ import annotations

from typing import Annotated, Final, get_args
from urllib.parse import urlencode

from fastapi import Query, Request
from fastapi.responses import HTMLResponse

from mimrun.app.alert.paging import alerts_before
from mimrun.incident.alert import Status
from mimrun.web.acting import Acting
from mimrun.web.page import show
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
    asked = {"status": status, "source": source}

    def link(**changed: str | int) -> str:
        wanted = {name: value for name, value in {**asked, **changed}.items() if value}
        return f"/alerts?{urlencode(wanted)}" if wanted else "/alerts"

    return show(
        request,
        who,
        "alerts.html",
        page=page,
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
