"""Signing in and out."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Form, Request
from fastapi.responses import HTMLResponse, Response

from mimrun.app.home import Home
from mimrun.app.server.sessions import LASTS, end_session, open_session, sign_in_by_token
from mimrun.app.sign_in import doing
from mimrun.errors import SignInError
from mimrun.secret import Secret
from mimrun.web.form_key import COOKIE, HOST_COOKIE, cookie_of
from mimrun.web.page import see, show
from mimrun.web.route import does, new_router, open_to_all

router: Final = new_router()


@router.get("/sign-in")
@open_to_all
def sign_in_page(request: Request) -> HTMLResponse:
    """Show where to sign in."""
    return show(request, None, "sign_in.html", wrong="")


@router.post("/sign-in")
@open_to_all
def sign_in(request: Request, token: Annotated[str, Form()] = "") -> Response:
    """Sign in."""
    home: Home = request.app.state.home
    try:
        with doing("login", "web"):
            signed = sign_in_by_token(home, Secret(token))
    except SignInError as exc:
        return show(request, None, "sign_in.html", status=401, wrong=str(exc))
    answer = see(request, "/")
    secure = request.url.scheme == "https"
    answer.set_cookie(
        HOST_COOKIE if secure else COOKIE,
        open_session(home, signed).reveal(),
        max_age=int(LASTS.total_seconds()),
        httponly=True,
        secure=secure,
        samesite="lax",
        path="/",
    )
    return answer


@router.post("/sign-out")
@does("logout")
def sign_out(request: Request) -> Response:
    """End the session."""
    cookie = cookie_of(request)
    if cookie is not None:
        end_session(request.app.state.home, cookie)
    answer = see(request, "/sign-in")
    answer.delete_cookie(COOKIE, path="/")
    answer.delete_cookie(HOST_COOKIE, path="/", secure=True)
    return answer
