"""The colours of the pages, as whoever looks wants them; kept by their browser."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Form, Request
from fastapi.responses import Response

from mimrun.errors import InputError
from mimrun.web.page import THEME_COOKIE, THEMES, see
from mimrun.web.route import new_router, open_to_all

router: Final = new_router()
_YEAR_S: Final = 365 * 24 * 3600


@router.post("/theme")
@open_to_all
def choose_theme(
    request: Request, theme: Annotated[str, Form()] = "auto", back: Annotated[str, Form()] = "/"
) -> Response:
    """Keep the colours that somebody chose, and show the page again."""
    if theme not in THEMES:
        raise InputError(f"no colours {theme!r}; there are {', '.join(THEMES)}")
    # A path of ours: two slashes or a backslash would be another machine for a browser.
    inside = back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable()
    answer = see(request, back if inside else "/")
    answer.set_cookie(
        THEME_COOKIE,
        theme,
        max_age=_YEAR_S,
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="lax",
    )
    return answer
