"""The frame that every page has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from builders.console import Browser
from builders.runs import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_whoever_has_not_signed_in_is_asked_to(bench: Bench) -> None:
    with bench.home() as home:
        page = Browser(home, "").get("/sign-in")
    assert page.one("h1").text == "Sign in"
    assert page.one("input", name="token").attributes["type"] == "password"
    assert not page.all("nav")


def test_every_page_says_what_time_it_is_and_where(bench: Bench) -> None:
    with bench.home() as home:
        now = Browser(home).get("/").one("time", class_="utc")
    assert re.fullmatch(r"[0-9]{2}:[0-9]{2} UTC", now.text)
    assert now.attributes["datetime"][11:16] == now.text[:5]


def test_a_chosen_theme_stays_without_a_script(bench: Bench) -> None:
    with bench.home() as home:
        browser = Browser(home, "")
        assert "data-theme" not in browser.get("/sign-in").one("html").attributes
        browser.press(browser.get("/sign-in"), "Dark", 200)
        assert browser.get("/sign-in").one("html").attributes["data-theme"] == "dark"


@pytest.mark.parametrize("back", ["//evil.test", "https://evil.test/", "/\\evil.test", "\n//evil.test"])
def test_choosing_a_theme_leads_to_no_other_site(bench: Bench, back: str) -> None:
    with bench.home() as home:
        answer = Browser(home, "").client.post(
            "/theme", data={"theme": "dark", "back": back}, follow_redirects=False
        )
    assert answer.headers["location"] == "/"


def test_a_path_that_no_header_can_hold_is_written_so_that_it_can(bench: Bench) -> None:
    with bench.home() as home:
        form, live = {"theme": "dark", "back": "/log?text=→&x=%20"}, {"hx-request": "true"}
        answer = Browser(home, "").client.post("/theme", data=form, headers=live)
    assert answer.headers["hx-redirect"] == "/log?text=%E2%86%92&x=%20"


def test_what_is_not_there_is_said_with_what_to_do_next(bench: Bench) -> None:
    with bench.home() as home:
        page = Browser(home).get("/nothing-here", 404)
    assert page.one("h1").text == "There is nothing here"
    assert "there is nothing at /nothing-here" in page.text
    assert page.all("nav")
    with bench.home() as home:
        assert not Browser(home, "").get("/nothing-here", 404).all("nav")
