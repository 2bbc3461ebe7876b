"""Signing in and out."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Form, Request
from fastapi.responses import HTMLResponse, Response

from mimrun.app.home import Home
from mimrun.app.server.passwords import Passwords
from mimrun.app.server.sessions import LASTS, end_session, open_session, sign_in_by_token
from mimrun.app.sign_in import doing
from mimrun.errors import ChooseAnotherError, InputError, SettingsError, SignInError, TooManyGuessesError
from mimrun.gate.password import SHORTEST
from mimrun.gate.people import SignedIn
from mimrun.secret import Secret
from mimrun.web.form_key import cookie_of, give_cookie, is_from_here, take_cookie
from mimrun.web.page import see, show
from mimrun.web.route import does, new_router, open_to_all
from mimrun.web.wished import forget_wish, wished

router: Final = new_router()
_Typed = Annotated[str, Form(max_length=512)]


@router.get("/sign-in")
@open_to_all
def sign_in_page(request: Request) -> HTMLResponse:
    """Show where to sign in."""
    return _page(request)


@router.post("/sign-in")
@open_to_all
def sign_in(request: Request, person: _Typed = "", password: _Typed = "", token: _Typed = "") -> Response:
    """Sign in with a password, or with a token."""
    home: Home = request.app.state.home
    passwords: Passwords = request.app.state.passwords
    try:
        _check_from_here(request)
        with doing("login", "web"):
            if token:
                signed = sign_in_by_token(home, Secret(token))
            else:
                signed = passwords.sign_in(home, person, Secret(password), address_of(request))
    except ChooseAnotherError:
        return _choose_page(request, person)
    except SignInError as exc:
        return _page(request, 401, person=person, wrong=str(exc))
    except TooManyGuessesError as exc:
        return _page(request, 429, person=person, wrong=str(exc))
    return let_in(request, signed)


@router.post("/sign-in/password")
@open_to_all
def choose_password(
    request: Request, person: _Typed = "", password: _Typed = "", new: _Typed = "", again: _Typed = ""
) -> Response:
    """Choose a password instead of one that somebody else has made, or that one has, and sign in."""
    home: Home = request.app.state.home
    passwords: Passwords = request.app.state.passwords
    try:
        _check_from_here(request)
        if new != again:
            raise InputError("the two new passwords are not the same")
        with doing("password set", "web"):
            signed = passwords.choose(home, person, Secret(password), Secret(new), address_of(request))
    except SettingsError:
        raise
    except (SignInError, InputError) as exc:
        status = 401 if isinstance(exc, SignInError) else 400
        return _choose_page(request, person, status, wrong=str(exc))
    except TooManyGuessesError as exc:
        return _choose_page(request, person, 429, wrong=str(exc))
    return let_in(request, signed)


@router.post("/sign-out")
@does("logout")
def sign_out(request: Request) -> Response:
    """End the session."""
    cookie = cookie_of(request)
    if cookie is not None:
        end_session(request.app.state.home, cookie)
    answer = see(request, "/sign-in")
    take_cookie(answer)
    return answer


def let_in(request: Request, signed: SignedIn, to: str = "") -> Response:
    """Open a session for somebody who has proven who they are, and show them a page; a session of before is over.

    Arguments:
        to: which one; without, what they asked for before they had to sign in.
    """
    home: Home = request.app.state.home
    before = cookie_of(request)
    if before is not None:
        end_session(home, before)
    answer = see(request, to or wished(request))
    forget_wish(request, answer)
    give_cookie(request, answer, open_session(home, signed), int(LASTS.total_seconds()))
    return answer


def _check_from_here(request: Request) -> None:
    """Refuse to sign somebody in whom another site sends: they would act here as somebody that they are not."""
    if not is_from_here(request):
        raise SignInError("this form is not from a page of this server; type it in here")


def address_of(request: Request) -> str:
    """Say from where somebody asks."""
    return request.client.host if request.client is not None else ""


def sign_in_again(request: Request, wrong: str) -> HTMLResponse:
    """Show where to sign in, and why that has come to nothing."""
    return _page(request, 401, wrong=wrong)


def _page(request: Request, status: int = 200, *, person: str = "", wrong: str = "") -> HTMLResponse:
    oidc: str = request.app.state.home.settings.oidc_issuer
    return show(request, None, "sign_in.html", status=status, person=person, wrong=wrong, oidc=oidc)


def _choose_page(request: Request, person: str, status: int = 200, *, wrong: str = "") -> HTMLResponse:
    values: dict[str, Any] = {"person": person, "wrong": wrong, "shortest": SHORTEST}
    return show(request, None, "choose_password.html", status=status, **values)
