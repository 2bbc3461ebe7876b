"""Everything is stopped from the console by anybody, and goes on when two people agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.console import Browser
from builders.runs import Bench

from mimrun.app.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    bench = Bench(tmp_path)
    with bench.settings.people.open("a") as file:
        file.write("  auditor: {roles: [auditor]}\n")
    with bench.home() as home:
        yield home


def test_anybody_stops_everything_and_two_people_lift_it(home: Home) -> None:
    auditor, alex, billie = (Browser(home, name) for name in ("auditor", "alex", "billie"))
    page = auditor.press(auditor.get("/kill-switch"), "Stop everything now", reason="wrong hosts")
    assert "Nothing begins any more" in page.text
    assert "wrong hosts" in page.one("div", class_="shout").text
    assert "It may be lifted" not in page.text
    page = alex.press(alex.get("/kill-switch"), "Agree to lift it", reason="hosts are right")
    assert "alex agreed to lift it" in page.text
    page = alex.press(page, "Agree to lift it", 403, reason="once more")
    assert "another person must agree" in page.one("main").text
    page = billie.press(billie.get("/kill-switch"), "Agree to lift it", reason="they are")
    assert "It is lifted." in page.text
    assert not page.all("div", class_="shout")


def test_without_a_reason_nothing_is_stopped(home: Home) -> None:
    page = Browser(home).post("/kill-switch/pull", 400, reason=" ")
    assert "say why everything is to stand still" in page.text
    assert "not pulled" in page.text
