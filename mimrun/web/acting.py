"""Who acts: the person of a token or of a session, with the opened home as they are to see it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from mimrun.app.home import Home
from mimrun.app.identity import Identity, identify
from mimrun.app.server.sessions import recognise, sign_in_by_token
from mimrun.errors import NotSignedInError
from mimrun.gate.session import form_key_of
from mimrun.web.form_key import cookie_of, token_of


@dataclass(frozen=True, slots=True)
class Who:
    """Whoever acts in a request.

    Arguments:
        home: with this person signed in; hand it to the use cases of `mimrun.app`.
        form_key: for the forms of the page; "" for programs.
        seen: the last entry of the log before anything was read for this request; live news begin behind it.
    """

    home: Home
    identity: Identity
    form_key: str
    seen: int = 0


def who_acts(request: Request) -> Who:
    """Say who acts, or refuse.

    1. A token says who it is, before anything else.
    2. Else the session of the browser.
    3. Nobody is the account that the server runs under.

    Raises:
        SignInError: nobody has signed in, or not for this.
    """
    home: Home = request.app.state.home
    token, cookie = token_of(request), cookie_of(request)
    if token is not None:
        signed = sign_in_by_token(home, token)
    elif cookie is not None:
        signed = recognise(home, cookie, request.app.state.idle, acts=_acts(request))
    else:
        raise NotSignedInError("sign in first")
    acting = replace(home, signed_in=signed)
    key = form_key_of(cookie) if token is None and cookie is not None else ""
    return Who(acting, identify(acting.people(), None), key, home.store.head().size)


async def known(request: Request) -> Who:
    """Give who acts, as the route has found (`mimrun.web.route`)."""
    who: Who = request.state.who
    return who


def _acts(request: Request) -> bool:
    """Say whether a person does something: a page that is open asks by itself for what is new."""
    headers = request.headers
    by_itself = headers.get("hx-request") == "true" and headers.get("hx-boosted") != "true"
    live = by_itself or headers.get("accept", "").startswith("text/event-stream")
    return request.method not in ("GET", "HEAD") or not live


Acting: TypeAlias = Annotated[Who, Depends(known)]
"""An argument of a route: who acts."""
