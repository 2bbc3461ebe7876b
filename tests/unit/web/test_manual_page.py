"""Manual steps in the console: a form made of what the step asks for, and every act by a plain form."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.console import Browser, Element
from builders.plans import a_plan, action, manual
from builders.runs import Bench

from mimrun.app.execution import execute_run
from mimrun.app.home import Home
from mimrun.run.record.manual_state import ManualState
from mimrun.runbook.model import Evidence, EvidenceType
from mimrun.runbook.node import PlannedManual

PEOPLE = """\
people:
  responder: {roles: [responder]}
  alex: {roles: [service_desk]}
  sam: {roles: [service_desk]}
  billie: {roles: [change_manager]}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.settings.people.write_text(PEOPLE)
    return bench


def going(bench: Bench, home: Home, person: str) -> Browser:
    """Give a browser at a server that executes runs before it answers."""
    return Browser(home, person, start=lambda _, run: execute_run(bench.settings, run, catalog=bench.catalog))


def asked(**more: object) -> PlannedManual:
    evidence = {
        "link": Evidence(type=EvidenceType.URL, help="Where it can be read."),
        "customers": Evidence(type=EvidenceType.NUMBER, required=False),
        "told": Evidence(type=EvidenceType.BOOLEAN),
        "words": Evidence(type=EvidenceType.TEXT, required=False),
        "picture": Evidence(type=EvidenceType.FILE, required=False),
    }
    return manual("1").model_copy(update={"evidence": evidence, **more})


def waiting(bench: Bench, **more: object) -> str:
    return bench.run(a_plan(bench.world, asked(**more), action("2")))[0]


def state(bench: Bench, run: str) -> ManualState:
    return bench.state(run).manuals["1"]


def buttons(page: Element) -> set[str]:
    return {one.text for one in page.one(id="manual").all("button")}


def test_the_form_has_a_field_for_everything_the_step_asks_for(bench: Bench) -> None:
    run = waiting(bench, checklist=("It is public",))
    with bench.home() as home:
        step = Browser(home, "alex").get(f"/runs/{run}").one(id="manual")
    kinds = {
        one.attributes["name"]: one.attributes.get("type", one.tag)
        for one in step.walk()
        if one.attributes.get("name", "").startswith("ev.")
    }
    assert kinds == {
        "ev.link": "url",
        "ev.customers": "text",
        "ev.told": "select",
        "ev.words": "textarea",
        "ev.picture": "file",
    }
    assert "Where it can be read." in step.text
    assert "It is public" in step.text


def test_a_step_is_taken_up_ticked_and_signed_without_a_script(bench: Bench) -> None:
    run = waiting(bench, checklist=("It is public", "Somebody has read it"))
    with bench.home() as home:
        alex = going(bench, home, "alex")
        page = alex.press(alex.get(f"/runs/{run}"), "I do it")
        assert "alex does it since" in page.one(id="manual").text
        fields = {"ev.link": "https://portal.example.org/42", "ev.told": "true", "ev.customers": "12"}
        page = alex.press(page, "I sign that it is done", 400, outcome="done", **fields)
        assert "item 1 is not ticked: It is public" in page.text
        assert page.one("input", name="ev.link").attributes["value"] == "https://portal.example.org/42"
        page = alex.press(page, "Save the checklist", **{"item.1": "yes", "item.2": "yes"})
        page = alex.press(page, "Save the checklist", **{"item.2": "yes"})
        page = alex.press(page, "I sign that it is done", outcome="done", active="12m", **fields)
        assert "succeeded" in page.one(id="run-head").text
        said = state(bench, run)
        evidence = home.store.blob(home.store.entry(said.attested), "evidence")
    assert said.by == "alex"
    assert said.given is not None
    assert said.given.total_seconds() == 720
    assert evidence == b'{"customers": 12, "link": "https://portal.example.org/42", "told": true}'


def test_what_is_ticked_counts_when_it_is_signed_without_saving_it_first(bench: Bench) -> None:
    run = waiting(bench, checklist=("It is public", "Somebody has read it"))
    fields = {"ev.link": "https://portal.example.org/42", "ev.told": "true"}
    with bench.home() as home:
        alex = going(bench, home, "alex")
        page = alex.get(f"/runs/{run}")
        page = alex.press(page, "I sign that it is done", 400, outcome="done", **fields, **{"item.2": "yes"})
        assert "item 1 is not ticked: It is public" in page.text
        assert "checked" not in page.one("input", name="item.1").attributes
        assert "checked" in page.one("input", name="item.2").attributes
        page = alex.press(page, "I sign that it is done", outcome="done", **fields, **{"item.1": "yes"})
        assert "succeeded" in page.one(id="run-head").text


def test_what_was_typed_stays_while_the_checklist_is_saved(bench: Bench) -> None:
    run = waiting(bench, checklist=("It is public",))
    with bench.home() as home:
        alex = going(bench, home, "alex")
        page = alex.get(f"/runs/{run}")
        sent = {"ev.link": "https://portal.example.org/42", "item.1": "yes"}
        page = alex.press(page, "Save the checklist", **sent)
        assert page.one("input", name="ev.link").attributes["value"] == sent["ev.link"]
        assert "The checklist is saved" in page.one(id="manual").text
    assert state(bench, run).ticked == {1}
    assert not state(bench, run).attested


def test_a_file_is_kept_with_the_word(bench: Bench) -> None:
    run = waiting(bench)
    with bench.home() as home:
        alex = going(bench, home, "alex")
        answer = alex.client.post(
            f"/runs/{run}/manual/attest",
            data={
                "form_key": alex.form_key,
                "outcome": "done",
                "ev.link": "https://x.test",
                "ev.told": "true",
            },
            files={"ev.picture": ("C:\\shots\\portal.png", b"\x89PNG\r\n\x1a\nx", "text/html")},
        )
        assert answer.status_code == 200, answer.text[:2000]
        kept = [entry for entry in home.store.entries(run=run) if entry.kind.value == "incident.attached"]
        assert [(one.body.name, one.body.media_type) for one in kept] == [("portal.png", "image/png")]  # type: ignore[attr-defined]
        assert home.store.blob(kept[0], "content") == b"\x89PNG\r\n\x1a\nx"


def test_what_is_missing_or_wrong_is_said_and_nothing_is_recorded(bench: Bench) -> None:
    run = waiting(bench)
    with bench.home() as home:
        alex = going(bench, home, "alex")
        page = alex.get(f"/runs/{run}")
        page = alex.press(
            page, "I sign that it is done", 400, outcome="done", **{"ev.link": "nowhere", "active": "x"}
        )
        assert "how long it took" in page.text
        page = alex.press(
            page, "I sign that it is done", 400, outcome="done", **{"ev.link": "nowhere", "active": ""}
        )
        assert "'nowhere' is not an http or https address" in page.text
        assert "evidence 'told' (boolean) is missing" in page.text
    assert not state(bench, run).attested


def test_it_cannot_be_done_needs_a_reason_and_no_evidence(bench: Bench) -> None:
    run = waiting(bench)
    with bench.home() as home:
        alex = going(bench, home, "alex")
        page = alex.press(alex.get(f"/runs/{run}"), "It cannot be done", 400)
        assert "say why it cannot be done" in page.text
        page = alex.press(page, "It cannot be done", reason="the portal does not answer")
        assert "failed" in page.one(id="run-head").text
    assert state(bench, run).status == "failed"


def test_a_step_is_handed_over_taken_over_and_put_down(bench: Bench) -> None:
    run = waiting(bench)
    with bench.home() as home:
        alex, sam = going(bench, home, "alex"), going(bench, home, "sam")
        page = alex.press(alex.get(f"/runs/{run}"), "I do it")
        assert [one.attributes["value"] for one in page.one("select", name="to").all("option")] == ["sam"]
        assert "I sign that it is done" not in buttons(sam.get(f"/runs/{run}"))
        page = alex.press(page, "Hand it over now", to="sam", reason="item 1 is open")
        assert "handed to sam" in page.one(id="manual").text
        page = sam.press(sam.get(f"/runs/{run}"), "I do it")
        page = sam.press(page, "I do not do it any more", reason="called away")
        assert "nobody has taken it up" in page.one(id="manual").text
        alex.press(alex.get(f"/runs/{run}"), "I do it")
        page = sam.press(sam.get(f"/runs/{run}"), "Take it over now", reason="alex is asleep")
        assert "sam does it since" in page.one(id="manual").text
    assert state(bench, run).holder == "sam"


def test_a_second_person_confirms_or_disputes(bench: Bench) -> None:
    run = waiting(bench, second="service_desk")
    fields = {"ev.link": "https://x.test", "ev.told": "false"}
    with bench.home() as home:
        alex, sam = going(bench, home, "alex"), going(bench, home, "sam")
        page = alex.press(alex.get(f"/runs/{run}"), "I sign that it is done", outcome="done", **fields)
        assert "alex attested" in page.one(id="manual").text
        assert "I confirm that it is so" not in buttons(page)
        page = sam.press(sam.get(f"/runs/{run}"), "It is to be done again", reason="the link goes nowhere")
        assert "disputed: the link goes nowhere" in page.one(id="manual").text
        alex.press(alex.get(f"/runs/{run}"), "I sign that it is done", outcome="done", **fields)
        page = sam.press(sam.get(f"/runs/{run}"), "I confirm that it is so")
        assert "succeeded" in page.one(id="run-head").text
    assert (state(bench, run).by, state(bench, run).confirmed_by) == ("alex", "sam")


def test_who_has_not_the_role_is_told_so_and_refused_when_posting_anyway(bench: Bench) -> None:
    run = waiting(bench, checklist=("It is public",))
    with bench.home() as home:
        billie = going(bench, home, "billie")
        page = billie.get(f"/runs/{run}")
        assert "billie does not have the role service_desk" in page.one(id="manual").text
        assert buttons(page) == set()
        for act in ("claim", "release", "hand-over", "check", "attest", "confirm", "dispute"):
            answer = billie.send(
                f"/runs/{run}/manual/{act}", outcome="done", to="alex", reason="x", **{"item.1": "yes"}
            )
            assert answer.status_code in (403, 409), (act, answer.status_code)
    assert state(bench, run).status == "asked"
