"""Pages: a template, with what every page needs, as HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mimrun import __version__
from mimrun.web.acting import Who
from mimrun.web.words import FILTERS

_HERE: Final = Path(__file__).parent


def make_templates() -> Environment:
    """Give the templates. Everything that is filled in is escaped, and a name that nobody gave is an error."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
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
        values: what it fills in, besides `who`, `path`, `now`, `version` and `form_key`.
    """
    now: datetime = request.app.state.home.clock()
    page = request.app.state.templates.get_template(template)
    text = page.render(
        who=who,
        path=request.url.path,
        now=now,
        version=__version__,
        form_key=who.form_key if who is not None else "",
        fragment=is_fragment(request),
        **values,
    )
    return HTMLResponse(text, status, headers=dict(headers or {}))


def see(request: Request, path: str) -> Response:
    """Send the browser to another page after something was done there, so that loading it again does nothing twice.

    Arguments:
        path: of this server.
    """
    assert path.startswith("/")
    assert not path.startswith("//")
    if is_fragment(request):
        return Response(status_code=204, headers={"HX-Redirect": path})
    return RedirectResponse(path, status_code=303)


def tell(response: Response, **events: Any) -> Response:
    """Have the page that is shown hear of something: `tell(answer, toast="Paused")`."""
    response.headers["HX-Trigger"] = json.dumps(events)
    return response
