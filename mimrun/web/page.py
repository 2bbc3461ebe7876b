"""Pages: a template, with what every page needs, as HTML."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mimrun import __version__
from mimrun.app.allowed import why_not_verb
from mimrun.app.killswitch import standing_of
from mimrun.web.acting import Who
from mimrun.web.form_key import cookie_of
from mimrun.web.words import FILTERS, neutral

_HERE: Final = Path(__file__).parent
THEMES: Final = ("auto", "light", "dark")
"""What colours a page may have: as the system has them, or as somebody chose."""
THEME_COOKIE: Final = "mimrun-theme"
_TOLD: Final = "mimrun-told"
_TOLD_LENGTH: Final = 600
_TOLD_S: Final = 60


def make_templates() -> Environment:
    """Give the templates.

    Everything that is filled in is escaped, characters that would forge a text are shown as escapes, and a name that
    nobody gave is an error.
    """
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=neutral,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS)
    return made


def is_fragment(request: Request) -> bool:
    """Say whether a part of a page is asked for, to be put into one that is shown already."""
    return request.headers.get("hx-request") == "true"


def show(
    request: Request,
    who: Who | None,
    template: str,
    /,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """Give a page.

    Arguments:
        who: whoever looks; None where nobody has signed in.
        template: under `templates`.
        values: what it fills in, besides what `_always` gives every page.
    """
    page = request.app.state.templates.get_template(template)
    answer = HTMLResponse(page.render(**_always(request, who), **values), status, headers=dict(headers or {}))
    if _TOLD in request.cookies and not is_fragment(request):
        answer.delete_cookie(_TOLD, path="/")
    return answer


def _always(request: Request, who: Who | None) -> dict[str, Any]:
    """Give what every page has: who looks, where, when, in which colours, and what must not be missed."""
    now: datetime = request.app.state.home.clock()
    theme = request.cookies.get(THEME_COOKIE, "auto")
    return {
        "who": who,
        "path": request.url.path,
        "again": _again(request),
        "now": now,
        "version": __version__,
        "assets": assets(),
        "form_key": who.form_key if who is not None else "",
        "once": lambda: secrets.token_hex(16),
        "fragment": is_fragment(request),
        "theme": theme if theme in THEMES else "auto",
        "pulled": standing_of(who.home).why if who is not None and not is_fragment(request) else "",
        "told": "" if is_fragment(request) else _told(request),
        "may": lambda verb: who is not None and not why_not_verb(who.home, who.identity, verb),
    }


def _again(request: Request) -> str:
    """Give where what is shown can be looked at again: a form that was sent has no page, but stood on one."""
    if request.method == "GET":
        return request.url.path
    came = urlsplit(request.headers.get("referer", ""))
    return came.path if came.netloc == request.url.netloc and re.match(r"/[^/\\]", came.path) else ""


@cache
def assets() -> str:
    """Name what the static files contain, so that a browser that has kept others asks for these."""
    files = sorted((_HERE / "static").iterdir())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def see(request: Request, path: str, told: str = "") -> Response:
    """Send the browser to another page after something was done there, so that loading it again does nothing twice.

    Arguments:
        path: of this server.
        told: what that page is to say once, above everything else: what was done.
    """
    assert path.startswith("/")
    assert not path.startswith("//")
    answer: Response = RedirectResponse(path, status_code=303)
    if is_fragment(request):
        answer = Response(status_code=204, headers={"HX-Redirect": quote(path, safe="/:?#[]@!$&'()*+,;=%")})
    cookie = cookie_of(request)
    if told and cookie is not None:
        text = told[:_TOLD_LENGTH]
        value = f"{_mark(cookie.reveal(), text)}.{quote(text)}"
        secure = request.url.scheme == "https"
        answer.set_cookie(
            _TOLD, value, max_age=_TOLD_S, httponly=True, secure=secure, samesite="strict", path="/"
        )
    return answer


def _told(request: Request) -> str:
    """Give what the page before this one wanted to be said here; "" where nobody of this session did."""
    mark, _, quoted = request.cookies.get(_TOLD, "").partition(".")
    cookie, text = cookie_of(request), unquote(quoted)
    if cookie is None or not hmac.compare_digest(mark.encode(), _mark(cookie.reveal(), text).encode()):
        return ""
    return text


def _mark(session: str, text: str) -> str:
    """Tell what we wanted to be said from what somebody else put into the cookie."""
    return hmac.new(session.encode(), b"mimrun told\n" + text.encode(), hashlib.sha256).hexdigest()


def tell(response: Response, **events: Any) -> Response:
    """Have the page that is shown hear of something: `tell(answer, toast="Paused")`."""
    response.headers["HX-Trigger"] = json.dumps(events)
    return response
