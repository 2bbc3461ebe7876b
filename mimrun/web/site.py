"""The site: every page, the API and the intake of one server, over one opened home."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

from mimrun import __version__
from mimrun.app.home import Home
from mimrun.web.errors import answer_errors
from mimrun.web.page import make_templates
from mimrun.web.pages import sign_in
from mimrun.web.route import check_routes

ROUTERS: Final[Sequence[APIRouter]] = (sign_in.router,)
"""What the server answers."""


def make_site(home: Home) -> FastAPI:
    """Give the application of a server.

    Arguments:
        home: opened, for as long as the server lasts.

    Raises:
        RouteError: a route does not say who may use it.
    """
    site = FastAPI(title="mimrun", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    site.state.home, site.state.templates = home, make_templates()
    for router in ROUTERS:
        # Each route whole, and not behind an included router: so the check below sees every one.
        site.router.routes.extend(router.routes)
    site.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    answer_errors(site)
    check_routes(site)
    return site
