"""The page of a review: read, taken away, published, and with its action items; without a script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.console import Browser
from builders.plans import a_plan, action
from builders.runs import RESPONDER, Bench

from mimrun.app.home import Home
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.working import move_stage, resolve
from mimrun.app.review.html import as_html
from mimrun.app.review.items import list_items
from mimrun.app.review.making import make_review
from mimrun.app.review.markdown import as_markdown


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    with bench.settings.people.open("a") as file:
        file.write("  auditor: {roles: [auditor]}\n")
    return bench


@pytest.fixture
def home(bench: Bench) -> Iterator[Home]:
    with bench.home() as home:
        yield home


@pytest.fixture
def incident(home: Home) -> str:
    return declare(
        home, RESPONDER, Declaration("Nobody can pay", "high", "high", text="since the deployment")
    )


def solve(home: Home, incident: str) -> None:
    move_stage(home, RESPONDER, incident, "resolution", reason="it went away")
    resolve(home, RESPONDER, incident, "fixed", text="rolled back")


def test_the_review_is_read_from_the_page_of_the_incident(home: Home, incident: str) -> None:
    browser = Browser(home)
    assert browser.get(f"/incidents/{incident}").one("a", href=f"/incidents/{incident}/review")
    page = browser.get(f"/incidents/{incident}/review")
    assert "Time to restore (MTTR)" in page.text
    assert "nobody recorded when it was noticed" in page.text
    assert "since the deployment" in page.text
    assert "It is not resolved" in page.text
    assert "Nothing was agreed upon yet." in page.text


def test_a_run_is_in_it(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1")))
    with bench.home() as home:
        name = make_review(home, "latest").incident.name
        page = Browser(home).get(f"/incidents/{name}/review")
        assert f"{run} (succeeded)" in page.text
        assert "100 % (1 of 1)" in page.text


def test_it_is_taken_away_as_a_file(home: Home, incident: str) -> None:
    browser = Browser(home)
    for ending, write in (("html", as_html), ("md", as_markdown)):
        answer = browser.ask(f"/incidents/{incident}/review.{ending}")
        assert answer.status_code == 200
        assert answer.headers["content-disposition"] == f'attachment; filename="review-{incident}.{ending}"'
        assert answer.text == write(make_review(home, incident))


def test_it_is_published_once_it_is_resolved(home: Home, incident: str) -> None:
    browser = Browser(home)
    page = browser.get(f"/incidents/{incident}/review")
    assert "Publish" not in [button.text for button in page.all("button")], "nobody presses what is refused"
    page = browser.post(f"/incidents/{incident}/review", 409)
    assert f"{incident} is not resolved" in page.text
    solve(home, incident)
    page = browser.press(browser.get(f"/incidents/{incident}/review"), "Publish")
    assert "The review is published: entry" in page.text
    assert "It was published as entry" in page.text
    page = browser.press(page, "Publish", 409)
    assert "nothing has changed since the review was published" in page.text


def test_action_items_are_agreed_upon_and_closed_there(home: Home, incident: str) -> None:
    browser, path = Browser(home), f"/incidents/{incident}/review"
    page = browser.press(browser.get(path), "Add", title="Alert on lag", owner="alex", due="2020-01-31")
    assert "A1 is on record." in page.text
    assert "overdue" in page.text
    page = browser.press(page, "Add", 400, title="Buy a third", owner="alex", due="soon")
    assert "'soon' is no day" in page.text
    assert page.one("input", name="title").attributes["value"] == "Buy a third"
    page = browser.press(browser.get(path), "Done", reason="rule 7")
    assert "A1 is done." in page.text
    page = browser.press(page, "Add", title="Buy a third", owner="billie")
    page = browser.press(page, "Drop", 400, reason=" ")
    assert "say why it is dropped" in page.text
    browser.press(page, "Drop", reason="no money")
    assert [(one.item, one.state, one.reason) for one in list_items(home, incident, everything=True)] == [
        ("A1", "done", "rule 7"),
        ("A2", "dropped", "no money"),
    ]


def test_an_auditor_reads_and_changes_nothing(home: Home, incident: str) -> None:
    auditor = Browser(home, "auditor")
    page = auditor.get(f"/incidents/{incident}/review")
    assert not page.all("form", method="post", action=f"/incidents/{incident}/review")
    auditor.post(f"/incidents/{incident}/review", 403)
    auditor.post(f"/incidents/{incident}/review/items", 403, title="x", owner="alex")


def test_there_is_no_review_of_what_is_no_incident(home: Home) -> None:
    Browser(home).get("/incidents/INC-0/review", 400)
