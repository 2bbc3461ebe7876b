"""One's own account: sessions that are open, and the password."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Form, Request
from fastapi.responses import HTMLResponse, Response

from mimrun.app.server.passwords import AUTH, Passwords
from mimrun.app.server.sessions import list_sessions, revoke_session
from mimrun.errors import InputError, SignInError
from mimrun.gate.password import SHORTEST
from mimrun.gate.session import name_of
from mimrun.secret import Secret
from mimrun.web.acting import Acting, Who
from mimrun.web.form_key import cookie_of
from mimrun.web.page import see, show
from mimrun.web.pages.sign_in import let_in
from mimrun.web.route import does, new_router

router: Final = new_router()
_Typed = Annotated[str, Form(max_length=512)]


@router.get("/account")
@does("session list")
def account(request: Request, who: Acting) -> HTMLResponse:
    """Show one's sessions."""
    return _page(request, who)


@router.post("/account/sessions/{name}/revoke")
@does("session revoke")
def revoke(request: Request, who: Acting, name: str) -> Response:
    """End a session of one's own."""
    revoke_session(who.home, who.identity, name)
    return see(request, "/account" if name != _own(request) else "/sign-in")


@router.post("/account/password")
@does("password set")
def change_password(
    request: Request, who: Acting, password: _Typed = "", new: _Typed = "", again: _Typed = ""
) -> Response:
    """Choose another password; every session with the former one is over, and this one begins anew."""
    passwords: Passwords = request.app.state.passwords
    address = request.client.host if request.client is not None else ""
    if who.identity.auth != AUTH:
        raise SignInError(
            f"you have signed in by {who.identity.auth}; sign in with your password to change it"
        )
    try:
        if new != again:
            raise InputError("the two new passwords are not the same")
        signed = passwords.choose(who.home, who.identity.person.id, Secret(password), Secret(new), address)
    except (InputError, SignInError) as exc:
        return _page(request, who, 400, wrong=str(exc))
    return let_in(request, signed, "/account")


def _page(request: Request, who: Who, status: int = 200, *, wrong: str = "") -> HTMLResponse:
    values: dict[str, Any] = {
        "sessions": list_sessions(who.home, who.identity.person.id),
        "own": _own(request),
        "by_password": who.identity.auth == AUTH,
        "wrong": wrong,
        "shortest": SHORTEST,
    }
    return show(request, who, "account.html", status=status, **values)


def _own(request: Request) -> str:
    cookie = cookie_of(request)
    return name_of(cookie) if cookie is not None else ""
