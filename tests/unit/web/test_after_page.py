"""Taking a run back, or repeating what failed, in the console: shown first, and exactly what was shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.console import Browser, read_html, values_of
from builders.plans import a_plan, action, call
from builders.runs import ALEX, Bench
from builders.world import words

from mimrun.app.execution import execute_run
from mimrun.app.home import Home
from mimrun.app.killswitch import pull
from mimrun.app.runs import list_runs


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def going(bench: Bench, home: Home, person: str = "responder") -> Browser:
    """Give a browser at a server that executes runs before it answers."""
    return Browser(home, person, start=lambda _, run: execute_run(bench.settings, run, catalog=bench.catalog))


def test_a_run_is_taken_back_after_its_way_back_was_shown(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1", undo=call("once", word="back1")), action("2"))
    run, _ = bench.run(plan)
    with bench.home() as home:
        browser = going(bench, home)
        assert any(one.text == "Take it back …" for one in browser.get(f"/runs/{run}").all("a"))
        page = browser.get(f"/runs/{run}/undo")
        assert "world.once word=back1" in page.text
        assert "Stays as it is: 2 Step 2" in page.text
        assert words(bench.world) == ["a:w1", "a:w2"]
        after = browser.press(page, "Go: take exactly this back")
        assert "undo of A test" in after.text
        assert "succeeded" in after.one(id="run-head").text
        assert "has been taken back by" in browser.get(f"/runs/{run}/undo").text
    assert words(bench.world) == ["a:w1", "a:w2", "a:back1"]


def test_a_way_back_that_would_be_another_is_refused_and_shown_anew(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", undo=call("once", word="back1"))))
    with bench.home() as home:
        page = going(bench, home).post(f"/runs/{run}/undo", 409, digest="sha256:" + "0" * 64)
        assert "It would be something else now" in page.text
        assert "world.once word=back1" in page.text
        assert len(list_runs(home)) == 1


def test_only_the_steps_that_were_shown_are_taken_back(bench: Bench) -> None:
    one, two = (action(path, undo=call("once", word=f"back{path}")) for path in ("1", "2"))
    run, _ = bench.run(a_plan(bench.world, one, two))
    with bench.home() as home:
        browser = going(bench, home)
        page = browser.get(f"/runs/{run}/undo?step=1")
        assert "back2" not in page.text
        browser.press(page, "Go: take exactly this back")
    assert words(bench.world) == ["a:w1", "a:w2", "a:back1"]


def test_what_cannot_be_taken_back_is_said_in_words(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1")))
    with bench.home() as home:
        page = going(bench, home).get(f"/runs/{run}/undo")
    assert "has nothing that can be taken back" in page.text
    assert not [one for one in page.all("button") if one.text.startswith("Go")]


def test_what_failed_is_repeated_after_it_was_shown(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), action("2", word="x", answer="failed"), action("3")))
    with bench.home() as home:
        browser = going(bench, home)
        page = browser.get(f"/runs/{run}/retry")
        assert "Step 1" not in page.one("main").text
        after = browser.press(page, "Go: repeat exactly this")
        assert "retry of A test" in after.text
        browser.post(f"/runs/{run}/retry", 409, digest="sha256:" + "0" * 64)


def test_sending_a_way_back_twice_takes_it_back_once(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", undo=call("once", word="back1"))))
    with bench.home() as home:
        browser = going(bench, home)
        page = browser.get(f"/runs/{run}/undo")
        first, again = (browser.press(page, "Go: take exactly this back") for _ in range(2))
        assert again.one("h1").text == first.one("h1").text
        sent = {**values_of(page.one("form", action=f"/runs/{run}/undo")), "once": "from another page"}
        assert browser.client.post(f"/runs/{run}/undo", data=sent).status_code == 409
        assert len(list_runs(home)) == 2
    assert words(bench.world) == ["a:w1", "a:back1"]


def test_what_is_refused_is_said_on_the_page_that_it_was_pressed_on(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", undo=call("once", word="back1"))))
    with bench.home() as home:
        browser = going(bench, home)
        page = browser.get(f"/runs/{run}/undo")
        pull(bench.settings, ALEX, "stop everything")
        refused = browser.press(page, "Go: take exactly this back", 409)
        assert "Refused; nothing was launched" in refused.text
        assert "stop everything" in refused.text
        assert any(one.text == "Go: take exactly this back" for one in refused.all("button"))
    assert words(bench.world) == ["a:w1"]


def test_a_link_to_what_is_not_there_is_not_told_to_be_sent_again(bench: Bench) -> None:
    with bench.home() as home:
        browser = going(bench, home)
        for path in ("/runs/run-none", "/incidents/INC-1", "/proposals/prop-none"):
            page = browser.get(path, 400)
            assert "That cannot be shown" in page.text
            assert "send it again" not in page.text


def test_an_error_leads_back_to_the_page_that_a_form_stood_on_and_to_no_other_site(bench: Bench) -> None:
    with bench.home() as home:
        browser = going(bench, home)
        for came, leads in (
            ("http://localhost/alerts", ["/alerts"]),
            ("https://elsewhere.example.org/alerts", []),
            ("http://localhost//elsewhere.example.org", []),
        ):
            headers = {"referer": came, "accept": "text/html"}
            answer = browser.client.post(
                "/proposals/prop-none/take", data={"form_key": browser.form_key}, headers=headers
            )
            links = [a.attributes["href"] for a in read_html(answer.text).all("a") if "Back to" in a.text]
            assert (answer.status_code, links) == (400, leads), came
