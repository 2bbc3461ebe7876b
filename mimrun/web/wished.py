"""The page that somebody asked for before they were signed in: their browser keeps it, and is sent there afterwards."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

from fastapi import Request
from fastapi.responses import Response

COOKIE: Final = "mimrun-wished"
_PATH: Final = "/sign-in"
_LASTS_S: Final = 900
_LONGEST: Final = 1000
_OURS: Final = re.compile(r"/(?![/\\])[\x21-\x7e]*")
"""A path of this server as a browser sends it: with two slashes in front it would be another one's."""


def keep_wish(request: Request, answer: Response) -> None:
    """Keep which page was asked for, while its reader signs in."""
    query = f"?{request.url.query}" if request.url.query else ""
    wish = f"{request.url.path}{query}"
    if wish == "/" or len(wish) > _LONGEST or not _OURS.fullmatch(wish):
        return
    answer.set_cookie(
        COOKIE,
        quote(wish, safe=""),
        max_age=_LASTS_S,
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="lax",
        path=_PATH,
    )


def wished(request: Request) -> str:
    """Give the page that was asked for before; the first one where none was."""
    wish = unquote(request.cookies.get(COOKIE, ""))
    return wish if len(wish) <= _LONGEST and _OURS.fullmatch(wish) else "/"


def forget_wish(request: Request, answer: Response) -> None:
    """Forget it: it was fulfilled."""
    if COOKIE in request.cookies:
        answer.delete_cookie(COOKIE, path=_PATH, httponly=True, samesite="lax")
