"""The page of what goes on now."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.console import Browser
from builders.plans import a_plan, action, gate, manual
from builders.runs import RESPONDER, Bench

from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.killswitch import pull


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    with bench.settings.people.open("a") as file:
        file.write("  auditor: {roles: [auditor]}\n")
    return bench


def test_an_empty_home_teaches_how_to_begin(bench: Bench) -> None:
    with bench.home() as home:
        page = Browser(home).get("/")
    assert "Nothing has happened here yet." in page.text
    assert "mimrun demo" in page.text
    assert page.one("h1").text == "Now"


def test_what_waits_for_me_comes_before_what_waits_for_others(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.run(a_plan(bench.world, gate("1", role="security"), action("2")))
    with bench.home() as home:
        page = Browser(home, "alex").get("/")
    titles = [one.text for one in page.all("h2") if one.text != "Keys"]
    assert titles == ["Waits for you (1)", "Open incidents", "Under way", "Waits for others"]
    mine = page.all("section")[0]
    assert mine.one("a").attributes["href"] == f"/runs/{run}/gate"
    assert "approve or reject" in mine.text


def test_incidents_are_listed_worst_first(bench: Bench) -> None:
    with bench.home() as home:
        declare(home, RESPONDER, Declaration("It is slow", "low", "low"))
        declare(home, RESPONDER, Declaration("Nobody can pay", "high", "high"))
        declare(home, RESPONDER, Declaration("Some mails are late", "medium", "low"))
        page = Browser(home).get("/")
    rows = page.one("table").one("tbody").all("tr")
    assert [row.one("a").text for row in rows] == ["Nobody can pay", "Some mails are late", "It is slow"]
    assert "▲ P1" in rows[0].text


def test_a_run_under_way_is_shown_with_how_far_it_has_come(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), manual("2"), action("3")))
    with bench.home() as home:
        page = Browser(home, "billie").get("/")
    assert "Not for you: billie has change_manager" in page.text
    assert run in page.text


def test_a_fragment_is_only_what_changes(bench: Bench) -> None:
    with bench.home() as home:
        answer = Browser(home).ask("/", headers={"hx-request": "true"})
    assert answer.text.lstrip().startswith('<div id="now"')
    assert "<html" not in answer.text


def test_an_auditor_sees_everything_and_no_button(bench: Bench) -> None:
    bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home:
        page = Browser(home, "auditor").get("/")
    assert "Declare an incident" not in page.text
    assert "Launch a runbook" not in page.text
    assert "Gate 1" in page.text


def test_everybody_sees_that_the_kill_switch_is_pulled(bench: Bench) -> None:
    pull(bench.settings, RESPONDER, "wrong <b>hosts</b>")
    with bench.home() as home:
        page = Browser(home).get("/")
    shout = page.one("div", class_="shout")
    assert "Everything stands still" in shout.text
    assert "wrong <b>hosts</b>" in shout.text
