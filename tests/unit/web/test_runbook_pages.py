"""The library, one runbook, and what is different between two versions of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.console import Browser
from builders.shelf import Shelf

from mimrun.app.execution import execute_run
from mimrun.app.identity import Identity
from mimrun.app.plans import prepare_plan
from mimrun.app.runs import create_run
from mimrun.gate.people import Person


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    return Shelf(tmp_path, monkeypatch)


def ran(shelf: Shelf, word: str = "a") -> str:
    with shelf.home() as home:
        plan = prepare_plan(home, "leave-a-note", [f"word={word}"], [])
        run = create_run(home, plan, Identity(Person("responder", "responder"), "os-user"))
    execute_run(shelf.settings, run, catalog=shelf.catalog)
    return run


def test_the_library_says_what_each_runbook_is_and_what_came_of_it(shelf: Shelf) -> None:
    with shelf.home() as home:
        row = Browser(home).get("/runbooks").one("tbody").text
        assert "Leave a note" in row
        assert "never" in row
    ran(shelf)
    with shelf.home() as home:
        browser = Browser(home)
        row = browser.get("/runbooks").one("tbody").text
        assert "1 version, last 1.0.0" in row
        assert "succeeded" in row
        assert "low" in row
        assert browser.get("/runbooks?text=note").all("tbody")
        assert "No runbook has" in browser.get("/runbooks?text=nothing").text


def test_a_runbook_shows_its_text_with_line_numbers_and_what_lint_says(shelf: Shelf) -> None:
    path = shelf.library / "containment" / "leave-a-note.yaml"
    path.write_text(path.read_text() + "    when: nobody == 3\n")
    with shelf.home() as home:
        page = Browser(home).get("/runbooks/leave-a-note")
    lines = page.one("div", class_="source")
    assert lines.one(id="L2").text == "2 name: leave-a-note"
    number = len(path.read_text().splitlines())
    assert "when: nobody == 3" in lines.one(id=f"L{number}").text
    assert "nobody" in page.one("p", class_="finding").text
    assert "word" in page.text
    assert "local.command" in page.text


def test_what_only_an_inventory_has_is_no_error_of_a_runbook(shelf: Shelf) -> None:
    path = shelf.library / "containment" / "leave-a-note.yaml"
    path.write_text(path.read_text() + "    when: rack == 'r1'\n")
    with shelf.home() as home:
        page = Browser(home).get("/runbooks/leave-a-note")
    assert "rack" in page.one("p", class_="finding").text
    assert "0 errors, 1 warning" in page.text
    assert "It would fail" not in page.text


def test_a_version_that_ran_keeps_its_text_when_the_library_has_another(shelf: Shelf) -> None:
    ran(shelf)
    shelf.put("1.1.0", "and tells nobody")
    with shelf.home() as home:
        browser = Browser(home)
        page = browser.get("/runbooks/leave-a-note")
        assert "leave-a-note@1.1.0" in page.text
        old = browser.get("/runbooks/leave-a-note?version=1.0.0")
        assert "It is not in the library any more" in old.text
        assert "and nothing else" in old.text
        diff = browser.get("/runbooks/leave-a-note/diff")
        assert "added: Writes a word into a file, and tells nobody." in diff.one("div", class_="diff").text
        assert "removed: Writes a word into a file, and nothing else." in diff.one("div", class_="diff").text
        same = browser.get("/runbooks/leave-a-note/diff?before=1.1.0&after=1.1.0")
        assert "Nothing is different" in same.text


def test_a_version_with_other_content_than_what_ran_is_said_loudly(shelf: Shelf) -> None:
    ran(shelf)
    shelf.put("1.0.0", "and more than it did")
    with shelf.home() as home:
        page = Browser(home).get("/runbooks/leave-a-note")
    assert "The library has other content under this version" in page.text
    assert "and nothing else" in page.text


def test_what_cannot_be_read_is_named(shelf: Shelf) -> None:
    (shelf.library / "containment" / "broken.yaml").write_text("schema: mimrun/1\nname: broken\nsteps: 3\n")
    with shelf.home() as home:
        assert "broken.yaml" in Browser(home).get("/runbooks").all("div", class_="notice")[-1].text


@pytest.mark.parametrize(
    "path", ["/runbooks/nothing", "/runbooks/leave-a-note?version=9.9.9", "/runbooks/Not-A-Name"]
)
def test_what_is_not_there_is_said(shelf: Shelf, path: str) -> None:
    with shelf.home() as home:
        Browser(home).get(path, 404)
