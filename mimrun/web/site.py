"""The site: every page, the API and the intake of one server, over one opened home."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

from mimrun import __version__
from mimrun.app.alert.intake import Intake
from mimrun.app.going_on import Start
from mimrun.app.home import Home
from mimrun.app.server.feed import Feed
from mimrun.app.server.guesses import Guesses
from mimrun.app.server.idle import Idle
from mimrun.app.server.oidc import ProviderDoor
from mimrun.app.server.passwords import Passwords
from mimrun.app.server.readiness import Readiness
from mimrun.app.server.starting import start_run
from mimrun.app.server.verifying import Verifying
from mimrun.web import events, health, intake, metrics
from mimrun.web.api.repeat import Repeats
from mimrun.web.api.routers import ROUTERS as API
from mimrun.web.errors import answer_errors
from mimrun.web.metrics import Figures
from mimrun.web.page import make_templates
from mimrun.web.pages import (
    account,
    after,
    alerts,
    gate,
    incident,
    incident_acts,
    incidents,
    kill_switch,
    launch,
    log,
    log_export,
    manual,
    now,
    oidc,
    proposal,
    replay,
    review,
    run,
    run_acts,
    runbooks,
    sign_in,
    theme,
)
from mimrun.web.pressed import Pressed
from mimrun.web.route import check_routes
from mimrun.web.security import Names, Receive, Scope, Send, guarded

ROUTERS: Final[Sequence[APIRouter]] = (
    health.router,
    *API,
    intake.router,
    events.router,
    sign_in.router,
    oidc.router,
    account.router,
    theme.router,
    now.router,
    incidents.router,
    alerts.router,
    log.router,
    log_export.router,
    kill_switch.router,
    incident.router,
    incident_acts.router,
    run.router,
    run_acts.router,
    manual.router,
    gate.router,
    launch.router,
    runbooks.router,
    after.router,
    proposal.router,
    replay.router,
    review.router,
)
"""What the server answers."""
_PROVIDER_TRIES: Final = 20
"""So many times a minute somebody may begin to sign in at a provider, from one address."""


class Site(FastAPI):
    """The application, inside of what holds for every request and answer.

    Arguments:
        names: under which names it is asked.
    """

    def __init__(self, names: Names) -> None:
        super().__init__(
            title="mimrun",
            version=__version__,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            redirect_slashes=False,
        )
        self._guarded = guarded(super().__call__, names)

    def count_with(self, figures: Figures) -> None:
        """Count every answer from here on."""
        self.state.figures = figures
        self._guarded = figures.counting(self._guarded)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._guarded(scope, receive, send)


def make_site(
    home: Home,
    names: Names | None = None,
    readiness: Readiness | None = None,
    *,
    start: Start = start_run,
    open_metrics: bool = False,
) -> Site:
    """Give the application of a server.

    Arguments:
        home: opened, for as long as the server lasts.
        names: under which names it is asked; those of this machine alone where nothing is said.
        readiness: says whether it is ready; of itself alone where nothing is said.
        start: has runs executed.
        open_metrics: show figures to whoever asks.

    Raises:
        RouteError: a route does not say who may use it.
    """
    site = Site(names or Names())
    # Nobody is the account that the server runs under, nor whoever that has signed in.
    settings = replace(home.settings, token=None, token_wrong="", session=None)
    home = replace(home, settings=settings, signed_in=None)
    site.state.home, site.state.templates = home, make_templates()
    site.state.feed, site.state.streams = Feed(home.store), events.Streams()
    site.state.idle, site.state.passwords = Idle(home.clock), Passwords()
    site.state.provider, site.state.provider_guesses = ProviderDoor(home), Guesses(each=_PROVIDER_TRIES)
    site.state.start = start
    site.state.repeats, site.state.pressed = Repeats(), Pressed()
    site.state.verifying = Verifying(home)
    site.state.readiness = readiness or Readiness(home)
    site.state.alerts = intake.Door(Intake(home))
    site.count_with(Figures(site.state))
    for router in (*ROUTERS, metrics.open_router if open_metrics else metrics.router):
        # Each route whole, and not behind an included router: so the check below sees every one.
        site.router.routes.extend(router.routes)
    site.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    answer_errors(site)
    check_routes(site)
    return site
