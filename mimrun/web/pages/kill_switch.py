"""The kill switch: stop everything, and let it go on again, which takes two people."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from mimrun.app.killswitch import LIFTERS, lift, pull, standing_of
from mimrun.errors import InputError, RefusedError
from mimrun.run.hold.killswitch import NEEDED
from mimrun.web.acting import Acting, Who
from mimrun.web.errors import status_of
from mimrun.web.form import Form
from mimrun.web.page import see, show
from mimrun.web.route import does, new_router

router: Final = new_router()


@router.get("/kill-switch")
@does("kill-switch show")
def kill_switch(request: Request, who: Acting) -> HTMLResponse:
    """Say whether everything stands still, and how it is lifted."""
    return _page(request, who)


@router.post("/kill-switch/pull")
@does("kill-switch pull")
def pull_switch(request: Request, who: Acting, form: Form) -> Response:
    """Stop everything at once. Anybody may."""
    try:
        reason = form.needed("reason", "say why everything is to stand still")
        unlogged = pull(who.home.settings, who.identity, reason)
    except (InputError, RefusedError) as exc:
        return _page(request, who, status_of(exc), wrong=str(exc))
    told = "Nothing begins any more; runs rest within a second."
    return see(request, "/kill-switch", f"{told} {unlogged}".strip())


@router.post("/kill-switch/lift")
@does("kill-switch lift")
def lift_switch(request: Request, who: Acting, form: Form) -> Response:
    """Agree that everything goes on; the second person's word lifts it."""
    try:
        reason = form.needed("reason", "say why it may be lifted")
        now = lift(who.home, who.identity, reason)
    except (InputError, RefusedError) as exc:
        return _page(request, who, status_of(exc), wrong=str(exc))
    lifted = "It is lifted. Runs stay where they are until somebody goes on with them, one by one."
    return see(request, "/kill-switch", f"You agreed. {now.advice}" if now.pulled else lifted)


def _page(request: Request, who: Who, status: int = 200, *, wrong: str = "") -> HTMLResponse:
    return show(
        request,
        who,
        "kill_switch.html",
        status=status,
        standing=standing_of(who.home),
        needed=NEEDED,
        lifters=sorted(LIFTERS),
        wrong=wrong,
    )
