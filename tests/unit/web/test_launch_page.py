"""Launching in the console: a form made of the inputs, exactly what would run, and a go for just that."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from builders.console import Browser, values_of
from builders.runs import person
from builders.shelf import Shelf

from mimrun.app.execution import execute_run
from mimrun.app.home import Home
from mimrun.app.killswitch import lift, pull
from mimrun.app.runs import list_runs, load_plan

FORM = "/runbooks/leave-a-note/launch"
SHOW, GO = "Show the plan", "Go: run exactly this"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    return Shelf(tmp_path, monkeypatch)


def going(shelf: Shelf, home: Home, who: str = "responder") -> Browser:
    """Give a browser at a server that executes runs before it answers."""
    return Browser(home, who, start=lambda _, run: execute_run(shelf.settings, run, catalog=shelf.catalog))


def test_the_form_has_a_field_for_each_input(shelf: Shelf) -> None:
    with shelf.home() as home:
        page = Browser(home, "responder").get(FORM)
    word = page.one("input", name="in.word")
    assert "required" in word.attributes
    assert "fits [a-z ]{1,40}" in page.text
    times = page.one("input", name="in.times").attributes
    assert (times["type"], times["min"], times["max"], times["value"]) == ("number", "1", "9", "1")
    assert page.one("input", name="in.loud").attributes["type"] == "checkbox"
    assert "checked" not in page.one("input", name="in.loud").attributes
    assert [one.text for one in page.one("select", name="in.where").all("option")] == ["top", "bottom"]
    assert "checked" in page.one("input", name="in.tags=red").attributes
    assert page.one("textarea", name="in.names")
    assert page.one("input", name="in.wait").attributes["value"] == "5s"
    assert page.one("input", name="in.pin").attributes["type"] == "password"


def test_what_was_shown_is_launched_without_a_script(shelf: Shelf) -> None:
    with shelf.home() as home:
        browser = going(shelf, home)
        fields = {"in.word": "hello there", "in.times": "3", "in.names": "ann\nbob", "in.loud": "true"}
        plan = browser.press(browser.get(FORM), SHOW, **fields)
        text = plan.one("main").text
        assert "Nothing has run yet" in text
        assert "printf" in text
        assert '"hello there", 3]' in text or '"hello there"' in text
        assert "1 action, 1 of them changes something" in text
        assert shelf.written() == []
        run = browser.press(plan, GO)
        assert "succeeded" in run.one(id="run-head").text
        view = list_runs(home)[0]
        inputs = load_plan(home, view.summary.run).inputs
    assert view.summary.launched_by == "responder"
    assert inputs["names"] == ["ann", "bob"]
    assert (inputs["loud"], inputs["times"], inputs["where"], inputs["tags"]) == (True, 3, "bottom", ["red"])
    assert shelf.written() == ["hello there 3"]


def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(shelf: Shelf) -> None:
    with shelf.home() as home:
        browser = Browser(home, "responder")
        page = browser.press(browser.get(FORM), SHOW, 400, **{"in.word": "NO", "in.times": "12"})
    assert page.one("input", name="in.word").attributes["value"] == "NO"
    assert page.one("input", name="in.word").attributes["aria-invalid"] == "true"
    assert "does not fit the pattern" in page.one(id="in.word-wrong").text
    assert "must be at most 9" in page.one(id="in.times-wrong").text
    assert "value" not in page.one("input", name="in.pin").attributes


def test_a_secret_that_is_typed_is_never_shown_again(shelf: Shelf) -> None:
    with shelf.home() as home:
        browser = Browser(home, "responder")
        answer = browser.send(FORM, **{"in.word": "a", "in.times": "1", "in.pin": "hunter2"})
    assert answer.status_code in (400, 403, 409)
    assert "hunter2" not in answer.text


def test_a_digest_that_is_not_that_of_now_is_refused_and_the_new_plan_is_shown(shelf: Shelf) -> None:
    shelf.put(hosts="all")
    with shelf.home() as home:
        browser = going(shelf, home)
        plan = browser.press(browser.get(FORM), SHOW, **{"in.word": "a"})
        assert "Targets 1: here" in plan.one("main").text
        shelf.inventory.write_text("here ansible_connection=local\nthere ansible_connection=local\n")
        again = browser.press(plan, GO, 409)
        assert "What would run has changed since you looked" in again.text
        assert "Targets 2: here, there" in again.one("main").text
        assert list_runs(home) == []
        browser.press(again, GO)
        assert len(list_runs(home)) == 1
    assert shelf.written() == ["a 1", "a 1"]


def test_a_form_that_is_sent_twice_launches_once(shelf: Shelf) -> None:
    with shelf.home() as home:
        browser = going(shelf, home)
        plan = browser.press(browser.get(FORM), SHOW, **{"in.word": "a"})
        form = next(one for one in plan.all("form") if one.attributes["action"].endswith("/go"))
        answers: list[str] = []

        def send() -> None:
            other = going(shelf, home)
            fields = {**values_of(form), "form_key": other.form_key}
            answers.append(str(other.client.post(form.attributes["action"], data=fields).url))

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        again = browser.press(plan, GO)
        assert "It was launched already" in again.text
        assert len(list_runs(home)) == 1
        assert len(set(answers)) == 1
    assert shelf.written() == ["a 1"]


def test_a_launch_goes_into_the_incident_that_was_chosen(shelf: Shelf) -> None:
    with shelf.home() as home:
        browser = going(shelf, home)
        browser.press(browser.press(browser.get(FORM), SHOW, **{"in.word": "a"}), GO)
        incident = list_runs(home)[0].summary.incident
        page = browser.get(f"{FORM}?incident={incident}")
        chosen = [
            one.attributes["value"]
            for one in page.one("select", name="incident").all("option")
            if "selected" in one.attributes
        ]
        assert chosen == [incident]
        browser.press(browser.press(page, SHOW, **{"in.word": "b"}), GO)
        assert {view.summary.incident for view in list_runs(home)} == {incident}


def test_the_plan_is_held_against_its_targets_on_request(shelf: Shelf) -> None:
    with shelf.home() as home:
        browser = Browser(home, "responder")
        plan = browser.press(browser.get(FORM), SHOW, **{"in.word": "a"})
        page = browser.press(plan, "Check it on the targets first")
        assert "On the targets as they are now" in page.text
        assert "1 unknown" in page.one(id="check").text
        assert "a" in page.one("main").text
        back = browser.press(page, "Change the inputs")
        assert back.one("input", name="in.word").attributes["value"] == "a"
    assert shelf.written() == []


def test_what_would_be_refused_is_said_before_the_go(shelf: Shelf) -> None:
    pull(shelf.settings, person("alex", "change_manager"), "stop everything")
    with shelf.home() as home:
        browser = Browser(home, "responder")
        plan = browser.press(browser.get(FORM), SHOW, **{"in.word": "a"})
        assert "It would be refused now" in plan.text
        refused = browser.press(plan, GO, 409)
        assert "Refused; nothing was launched" in refused.text
        assert "stop everything" in refused.text
        assert list_runs(home) == []
        for name in ("alex", "billie"):
            lift(home, person(name, "change_manager"), "it is over")
        browser.press(refused, GO)
        assert len(list_runs(home)) == 1, "what was typed is still there, and can be sent again"


def test_an_inventory_of_the_home_can_be_chosen_and_no_other_file(shelf: Shelf) -> None:
    shelf.put(hosts="all")
    shelf.settings.inventories.mkdir()
    (shelf.settings.inventories / "second.ini").write_text("elsewhere ansible_connection=local\n")
    with shelf.home() as home:
        browser = Browser(home, "responder")
        plan = browser.press(browser.get(FORM), SHOW, **{"in.word": "a", "inventory": "second.ini"})
        assert "Targets 1: elsewhere" in plan.one("main").text
        for name in ("../people.yaml", "/etc/hosts", "third.ini", ".."):
            answer = browser.send(FORM, **{"in.word": "a", "in.times": "1", "inventory": name})
            assert answer.status_code == 400, name


def test_the_only_inventory_there_is_is_chosen_and_none_of_several(shelf: Shelf) -> None:
    shelf.settings = replace(shelf.settings, inventory=None)

    def chosen() -> list[str]:
        with shelf.home() as home:
            found = Browser(home, "responder").get(FORM).all("select", name="inventory")
        options = [option for one in found for option in one.all("option")]
        return [option.attributes["value"] for option in options if "selected" in option.attributes]

    assert chosen() == []
    shelf.settings.inventories.mkdir()
    (shelf.settings.inventories / "one.ini").write_text("elsewhere ansible_connection=local\n")
    assert chosen() == ["one.ini"]
    with shelf.home() as home:
        browser = Browser(home, "responder")
        plan = browser.press(browser.get(FORM), SHOW, **{"in.word": "a"})
        assert "Targets 1: localhost" in plan.one("main").text, "it hinders no runbook for this machine"
    (shelf.settings.inventories / "two.ini").write_text("elsewhere ansible_connection=local\n")
    assert chosen() == [""]


@pytest.mark.parametrize("name", ["leave-a-note.yaml", "..%2Fx", "@/etc/passwd", "x.yml"])
def test_no_path_can_be_launched(shelf: Shelf, name: str) -> None:
    with shelf.home() as home:
        assert Browser(home, "responder").ask(f"/runbooks/{name}/launch").status_code in (400, 404)


def test_an_auditor_looks_at_plans_and_launches_nothing(shelf: Shelf) -> None:
    people = shelf.settings.people
    people.write_text(people.read_text() + "  ada: {roles: [auditor]}\n")
    with shelf.home() as home:
        browser = Browser(home, "ada")
        assert "Launch it" not in [one.text for one in browser.get("/runbooks/leave-a-note").all("a")]
        answer = browser.send("/runbooks/leave-a-note/go", launch_key="0123456789abcdef", **{"in.word": "a"})
        assert answer.status_code == 403
        assert list_runs(home) == []
