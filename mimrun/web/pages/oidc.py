"""Signing in with OpenID Connect, in the browser."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from mimrun.app.oidc.login import PATIENCE
from mimrun.app.server.guesses import Guesses
from mimrun.app.server.oidc import ProviderDoor
from mimrun.app.sign_in import doing
from mimrun.errors import SignInError
from mimrun.secret import Secret
from mimrun.web.form_key import is_from_here
from mimrun.web.page import show
from mimrun.web.pages.sign_in import address_of, let_in, sign_in_again
from mimrun.web.route import new_router, open_to_all

router: Final = new_router()
COOKIE: Final = "mimrun-oidc"
PATH: Final = "/sign-in/oidc"
_Brought = Annotated[str, Form(max_length=4096)]


@router.get(PATH)
@open_to_all
def begin(request: Request) -> Response:
    """Send the browser to the provider. Nothing is on record yet."""
    door: ProviderDoor = request.app.state.provider
    guesses: Guesses = request.app.state.provider_guesses
    guesses.count("oidc", address_of(request))
    try:
        url, word = door.begin(f"{request.url.scheme}://{request.headers['host']}{PATH}/answer")
    except SignInError as exc:
        return sign_in_again(request, str(exc))
    answer = RedirectResponse(url, status_code=303)
    answer.set_cookie(
        COOKIE,
        word.reveal(),
        max_age=int(PATIENCE.total_seconds()),
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="lax",
        path=PATH,
    )
    return answer


@router.get(f"{PATH}/answer")
@open_to_all
def brought(
    request: Request, code: str = "", state: str = "", iss: str = "", error: str = ""
) -> HTMLResponse:
    """Show that the provider has answered. To sign somebody in is done by their pressing a button: looking changes nothing."""
    answer = {"code": code, "state": state, "iss": iss, "error": error}
    kept = {name: value[:4096] for name, value in answer.items() if value}
    return show(
        request, None, "oidc_answer.html", answer=kept, issuer=request.app.state.home.settings.oidc_issuer
    )


@router.post(f"{PATH}/answer")
@open_to_all
def finish(
    request: Request, code: _Brought = "", state: _Brought = "", iss: _Brought = "", error: _Brought = ""
) -> Response:
    """Sign in whoever has come back."""
    door: ProviderDoor = request.app.state.provider
    word = request.cookies.get(COOKIE)
    answer = {
        name: value
        for name, value in (("code", code), ("state", state), ("iss", iss), ("error", error))
        if value
    }
    try:
        if not is_from_here(request):
            raise SignInError("this form is not from a page of this server")
        with doing("login", "web"):
            signed = door.finish(answer, Secret(word) if word else None)
    except SignInError as exc:
        return sign_in_again(request, str(exc))
    made = let_in(request, signed)
    made.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="lax")
    return made
