"""The key that each form has to bring along, so that no other site can act for who has signed in here."""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response

from mimrun.errors import SignInError
from mimrun.gate.session import form_key_of
from mimrun.secret import Secret

FIELD: Final = "form_key"
HEADER: Final = "x-form-key"
COOKIE: Final = "mimrun-session"
HOST_COOKIE: Final = "__Host-mimrun-session"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


def cookie_of(request: Request) -> Secret | None:
    """Give what the browser has of a session, or None.

    Where the line is encrypted only the cookie counts that no other host and no unencrypted page can have set.
    """
    given = request.cookies.get(HOST_COOKIE if request.url.scheme == "https" else COOKIE)
    return Secret(given) if given else None


def give_cookie(request: Request, answer: Response, cookie: Secret, seconds: int) -> None:
    """Have the browser keep what it is given of a session."""
    secure = request.url.scheme == "https"
    answer.set_cookie(
        HOST_COOKIE if secure else COOKIE,
        cookie.reveal(),
        max_age=seconds,
        httponly=True,
        secure=secure,
        samesite="lax",
        path="/",
    )


def take_cookie(answer: Response) -> None:
    """Have the browser forget it."""
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    answer.delete_cookie(HOST_COOKIE, path="/", secure=True, httponly=True, samesite="lax")


def token_of(request: Request) -> Secret | None:
    """Give the token that a program sends, or None."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return Secret(value.strip()) if scheme.lower() == "bearer" and value.strip() else None


def is_from_here(request: Request) -> bool:
    """Say whether a request comes from a page of ours, as far as the browser says where from."""
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")


async def check_form_key(request: Request) -> None:
    """See that what changes something was pressed on a page of ours.

    1. Reading changes nothing, and a token is never sent by itself.
    2. The request comes from no other site, as far as the browser says where from.
    3. It brings along the key that only pages of this session have.

    Raises:
        SignInError: one of these does not hold.
    """
    cookie = cookie_of(request)
    if request.method in _SAFE or token_of(request) is not None or cookie is None:
        return
    refused = SignInError("this form is not from a page of this session; load the page again, and repeat it")
    if not is_from_here(request):
        raise refused
    given = request.headers.get(HEADER, "")
    if not given and request.headers.get("content-type", "").startswith(FORMS):
        form = await request.form()
        field = form.get(FIELD, "")
        given = field if isinstance(field, str) else ""
    if not hmac.compare_digest(given.encode(), form_key_of(cookie).encode()):
        raise refused
