"""The key that each form has to bring along, so that no other site can act for who has signed in here."""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request

from mimrun.errors import SignInError
from mimrun.gate.session import form_key_of
from mimrun.secret import Secret

FIELD: Final = "form_key"
HEADER: Final = "x-form-key"
COOKIE: Final = "mimrun-session"
HOST_COOKIE: Final = "__Host-mimrun-session"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


def cookie_of(request: Request) -> Secret | None:
    """Give what the browser has of a session, or None."""
    given = request.cookies.get(HOST_COOKIE) or request.cookies.get(COOKIE)
    return Secret(given) if given else None


def token_of(request: Request) -> Secret | None:
    """Give the token that a program sends, or None."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return Secret(value.strip()) if scheme.lower() == "bearer" and value.strip() else None


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
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise refused
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise refused
    given = request.headers.get(HEADER, "")
    if not given and request.headers.get("content-type", "").startswith(_FORMS):
        form = await request.form()
        field = form.get(FIELD, "")
        given = field if isinstance(field, str) else ""
    if not hmac.compare_digest(given.encode(), form_key_of(cookie).encode()):
        raise refused
