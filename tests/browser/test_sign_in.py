"""Signing in, in a real browser at a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from builders.browser import DARK, LIGHT, PHONE, Look, OpenPage, axe, fits, shoot
from builders.commands import Desk
from builders.serving import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(Desk(tmp_path_factory.mktemp("console")).home) as server:
        yield server


@pytest.mark.parametrize("look", [LIGHT, DARK, PHONE], ids=lambda look: look.name)
def test_the_page_to_sign_in_is_for_everybody(server: Server, open_page: OpenPage, look: Look) -> None:
    page = open_page(look, base_url=server.url)
    page.goto("/sign-in")
    assert page.title() == "Sign in · mimrun"
    axe(page)
    fits(page)
    shoot(page, "sign-in")
