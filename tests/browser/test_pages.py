"""Every page of the console, at a desk by day and by night and on a phone: everybody can use it, and it fits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.browser import DARK, LIGHT, PHONE, Look, OpenPage, axe, fits, forgive, shoot
from builders.runs import Bench
from builders.serving import Server, serving
from builders.tour import Tour, make_tour

from mimrun.web.route import check_routes
from mimrun.web.site import make_site

PAGES = {
    "now": "/",
    "incidents": "/incidents",
    "incident": "/incidents/{incident}",
    "review": "/incidents/{incident}/review",
    "run-done": "/runs/{done}",
    "run-gate": "/runs/{gate}",
    "run-manual": "/runs/{manual}",
    "run-failed": "/runs/{failed}",
    "run-doubt": "/runs/{doubt}",
    "gate": "/runs/{gate}/gate",
    "replay": "/runs/{done}/replay",
    "replay-redecide": "/runs/{done}/replay/redecide",
    "replay-against": "/runs/{done}/replay/against?version=1.0.0",
    "output": "/runs/{failed}/output?entry={said}&name=data",
    "undo": "/runs/{done}/undo",
    "retry": "/runs/{failed}/retry",
    "proposal": "/proposals/{proposal}",
    "runbooks": "/runbooks",
    "runbook": "/runbooks/close-shop",
    "launch": "/runbooks/close-shop/launch",
    "alerts": "/alerts",
    "log": "/log",
    "log-entry": "/log/{alert}",
    "log-verify": "/log/verify",
    "kill-switch": "/kill-switch",
    "account": "/account",
    "not-there": "/no-such-page",
}
"""Where each page of the tour is."""
PARTS = {
    "/incidents/preview",
    "/incidents/{incident}/timeline",
    "/runs/{run}/board",
    "/runs/{run}/cell",
    "/runs/{run}/gate/news",
    "/runs/{run}/replay/frames",
}
"""What is put into a page that is shown already."""
NO_PAGES = {
    "/events",
    "/health",
    "/incidents/{incident}/review.html",
    "/incidents/{incident}/review.md",
    "/log/{seq:int}/file",
    "/metrics",
    "/ready",
    "/sign-in/oidc",
    "/sign-in/oidc/answer",
}
ELSEWHERE = {"/sign-in", "/runbooks/{name}/diff"}
"""Pages that other tests look at, or that need what the tour has not."""


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    return make_tour(tmp_path_factory.mktemp("tour"))


@pytest.fixture(scope="module")
def server(tour: Tour) -> Iterator[Server]:
    with serving(tour.desk.home, MIMRUN_RUNBOOKS=tour.desk.env["MIMRUN_RUNBOOKS"]) as server:
        yield server


def test_every_page_is_looked_at(tmp_path: Path) -> None:
    with Bench(tmp_path).home() as home:
        there = {path for method, path in check_routes(make_site(home)) if method == "GET"}
    pages = {path for path in there if not path.startswith("/api")} - PARTS - NO_PAGES - ELSEWHERE
    looked = [path.partition("?")[0].replace("{alert}", "1") for path in PAGES.values()]
    patterns = {path: re.sub(r"\{(\w+)(:int)?\}", "[^/]+", path) for path in pages}
    assert not [
        path for path, pattern in patterns.items() if not any(re.fullmatch(pattern, one) for one in looked)
    ]
    assert there >= PARTS | NO_PAGES | ELSEWHERE


@pytest.mark.parametrize("look", [LIGHT, DARK, PHONE], ids=lambda look: look.name)
def test_every_page_is_for_everybody_and_fits(
    tour: Tour, server: Server, open_page: OpenPage, look: Look
) -> None:
    page = open_page(look, base_url=server.url)
    server.sign_in(page, "alex")
    forgive(page, r"status of 404 .*/no-such-page")
    faults = []
    for name, path in PAGES.items():
        answer = page.goto(tour.path(path))
        assert answer is not None
        if answer.status != (404 if name == "not-there" else 200):
            faults.append(f"{path}: {answer.status}")
            continue
        shoot(page, name)
        for check in (axe, fits):
            try:
                check(page)
            except AssertionError as exc:
                faults.append(str(exc))
    assert not faults, "\n".join(faults)
