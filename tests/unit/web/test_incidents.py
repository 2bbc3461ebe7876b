"""The pages of incidents: listed, declared, and everything that somebody does in one, without a script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.console import Browser, Element
from builders.plans import a_plan, action, check, gate
from builders.runs import RESPONDER, Bench

from mimrun.app.home import Home
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.view import find_incident
from mimrun.app.manual_work import Place, write_note
from mimrun.app.runs import create_run

PEOPLE = """\
people:
  responder: {name: Robin, roles: [responder, major_incident_manager]}
  alex: {name: Alex, roles: [change_manager, service_desk]}
  auditor: {name: Audrey, roles: [auditor]}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.settings.people.write_text(PEOPLE)
    return bench


@pytest.fixture
def home(bench: Bench) -> Iterator[Home]:
    with bench.home() as home:
        yield home


@pytest.fixture
def incident(home: Home) -> str:
    return declare(home, RESPONDER, Declaration("Nobody can pay", "high", "high", ("payments",)))


@pytest.fixture
def small(home: Home) -> str:
    """An incident that is closed without a review."""
    return declare(home, RESPONDER, Declaration("A clock is wrong", "low", "low"))


def fold(page: Element, label: str) -> Element:
    """Give what opens below a button."""
    return next(one for one in page.all("details", class_="fold") if one.all("summary")[0].text == label)


def test_an_empty_list_teaches_how_to_declare_one(home: Home) -> None:
    page = Browser(home).get("/incidents")
    assert "There is no incident yet." in page.text
    assert "mimrun incident declare" in page.text


def test_an_incident_is_declared_with_a_form_and_no_script(home: Home) -> None:
    browser = Browser(home)
    page = browser.press(
        browser.get("/incidents"),
        "Declare",
        title="Nobody can pay",
        impact="high",
        urgency="high",
        services="payments, shop ",
        **{"flag.security": "yes", "text": "since 03:02", "started": "20m ago"},
    )
    assert page.one("h1").text == "Nobody can pay"
    assert "is declared. Say who leads it" in page.text
    state = find_incident(home, "latest").state
    assert (state.priority, state.severity, state.services) == ("P1", "SEV1", ("payments", "shop"))
    assert state.flags == ("security",)
    assert state.clocks.started.source == "seen"


def test_what_was_typed_stays_where_it_cannot_be_declared(home: Home) -> None:
    browser = Browser(home)
    page = browser.press(
        browser.get("/incidents"), "Declare", 400, title="Nobody can pay", started="tomorrow", text="a lot"
    )
    assert "tomorrow" in page.one("div", role="alert").text
    assert page.one("input", name="title").attributes["value"] == "Nobody can pay"
    assert page.one("textarea", name="text").text == "a lot"
    assert browser.get("/incidents").text.count("There is no incident yet.") == 1


def test_the_preview_says_what_the_table_makes_of_it(home: Home) -> None:
    page = Browser(home).get("/incidents/preview?impact=high&urgency=medium&flag.safety=yes")
    assert "P2" in page.text
    assert "SEV3" in page.text
    assert "there is no flag" in Browser(home).get("/incidents/preview?flag.nope=yes").text


def test_closed_incidents_are_listed_when_asked_for(home: Home, small: str) -> None:
    browser = Browser(home, "responder")
    page = browser.get(f"/incidents/{small}")
    page = browser.press(page, "Resolve", how="no_fault")
    page = browser.press(page, "Close the incident")
    assert "It is closed." in page.text
    assert "No incident is open." in browser.get("/incidents").text
    assert small in browser.get("/incidents?shown=all").text


def test_an_incident_shows_where_it_stands(home: Home, incident: str) -> None:
    page = Browser(home).get(f"/incidents/{incident}")
    here = [one for one in page.one("ol", class_="rail").all("li") if "aria-current" in one.attributes]
    assert [one.text.split(":")[0].strip() for one in here] == ["● identification"]
    assert page.one("section", aria_label="Clocks").all("time", data_clock="up")
    assert "SEV2" in page.text
    assert "responder opened the incident" in page.one("ol", class_="timeline").text


def test_a_note_is_written_down_with_its_file(home: Home, incident: str) -> None:
    browser = Browser(home)
    browser.client.post(
        f"/incidents/{incident}/note",
        data={"form_key": browser.form_key, "text": "the standby looks healthy"},
        files={"file": ("graph.txt", b"up", "text/plain")},
    )
    page = browser.get(f"/incidents/{incident}?shown=notes")
    lines = [one.text for one in page.one("ol", class_="timeline").all("li") if "id" in one.attributes]
    assert "the standby looks healthy" in lines[1]
    assert "graph.txt" in lines[0]


def test_an_empty_note_is_refused_with_its_form_open(home: Home, incident: str) -> None:
    browser = Browser(home)
    page = browser.press(browser.get(f"/incidents/{incident}"), "Write it down", 400, text="  ")
    assert "open" in fold(page, "Note").attributes
    assert "open" not in fold(page, "Assign").attributes


def test_work_by_hand_stands_where_it_was_done(home: Home, incident: str) -> None:
    browser = Browser(home)
    page = browser.get(f"/incidents/{incident}")
    page = browser.press(page, "Record it", text="Rebooted it", at="20m ago", target="db1")
    last = [one for one in page.one("ol", class_="timeline").all("li") if "id" in one.attributes][-1]
    assert "Rebooted it" in last.text
    assert "entered 20 min later" in last.text.replace("entered 20 min 0 s", "entered 20 min")


def test_roles_are_given(home: Home, incident: str) -> None:
    browser = Browser(home)
    page = browser.press(
        browser.get(f"/incidents/{incident}"), "Assign", role="technical_lead", person="responder"
    )
    assert "responder is technical lead now." in page.text
    assert find_incident(home, incident).state.roles == {"technical_lead": "responder"}


def test_containment_needs_proof_or_a_reason(home: Home, incident: str) -> None:
    browser = Browser(home)
    page = browser.press(browser.get(f"/incidents/{incident}"), "Move", 409, stage="resolution")
    assert "nothing shows that" in page.one("div", role="alert").text
    page = browser.press(page, "Move", stage="resolution", reason="it was a false alarm")
    assert "nothing had to be contained" in page.one("ol", class_="rail").text


def test_a_verified_step_contains_it(bench: Bench, home: Home, incident: str) -> None:
    run = create_run(
        home, a_plan(bench.world, action("1", verify=check("true"))), RESPONDER, incident=incident
    )
    bench.execute(run)
    browser = Browser(home)
    page = browser.press(browser.get(f"/incidents/{incident}"), "Move", stage="resolution")
    assert "contained by entry" in page.text
    assert "To contain" in page.one("section", aria_label="Clocks").text


def test_it_is_assessed_anew_and_its_priority_declared(home: Home, incident: str) -> None:
    browser = Browser(home, "responder")
    page = browser.press(
        browser.get(f"/incidents/{incident}"), "Assess", impact="low", urgency="low", reason="one shop"
    )
    assert "It is P5 and SEV4 now." in page.text
    page = browser.press(page, "Declare the priority", priority="P3", reason="the minister is in it")
    assert "P3 counts at gates" in page.text


def test_it_is_opened_again(home: Home, incident: str) -> None:
    browser = Browser(home, "responder")
    page = browser.press(browser.get(f"/incidents/{incident}"), "Resolve", how="no_fault")
    page = browser.press(page, "Open it again", reason="it is back")
    assert "It is open again" in page.text
    assert find_incident(home, incident).state.reopened == 1


def test_when_it_began_is_said_later(home: Home, incident: str) -> None:
    browser = Browser(home)
    page = browser.press(
        browser.get(f"/incidents/{incident}"), "Set the time", what="started", at="1h ago", estimate="yes"
    )
    assert "On record: started at" in page.text
    assert "estimated" in page.one("aside").text


def test_incidents_are_linked(home: Home, incident: str) -> None:
    other = declare(home, RESPONDER, Declaration("All is down"))
    browser = Browser(home)
    page = browser.press(browser.get(f"/incidents/{incident}"), "Link", relation="parent", to=other)
    assert page.one("aside").all("a", href=f"/incidents/{other}")


def test_what_blocks_closing_is_said(bench: Bench, home: Home, small: str) -> None:
    create_run(home, a_plan(bench.world, gate("1")), RESPONDER, incident=small)
    browser = Browser(home, "responder")
    page = browser.press(browser.get(f"/incidents/{small}"), "Resolve", how="no_fault")
    assert "is not over" in fold(page, "Close").text
    page = browser.post(f"/incidents/{small}/close", 409)
    assert "cannot be closed" in page.one("div", role="alert").text


def test_only_who_may_close_sees_the_button(bench: Bench, home: Home, small: str) -> None:
    bench.settings.incidents.write_text("critical_services: [payments]\nclose: [major_incident_manager]\n")
    manager, other = Browser(home, "responder"), Browser(home, "alex")
    page = manager.press(manager.get(f"/incidents/{small}"), "Resolve", how="no_fault")
    assert "Close" in [one.text for one in page.all("summary")]
    page = other.get(f"/incidents/{small}")
    assert "Close" not in [one.text for one in page.all("summary")]
    other.post(f"/incidents/{small}/close", 403)


def test_an_auditor_reads_everything_and_has_no_form(home: Home, incident: str) -> None:
    auditor = Browser(home, "auditor")
    for path in ("/incidents", f"/incidents/{incident}"):
        page = auditor.get(path)
        actions = {one.attributes["action"] for one in page.all("form", method="post")}
        assert actions == {"/theme", "/sign-out"}
    auditor.post(f"/incidents/{incident}/note", 403, text="x")


def test_a_long_timeline_is_read_in_pages(home: Home, incident: str) -> None:
    for number in range(230):
        write_note(home, RESPONDER, Place(incident), f"note {number}")
    browser = Browser(home)
    page = browser.get(f"/incidents/{incident}")
    shown = [one for one in page.one("ol", class_="timeline").all("li") if "id" in one.attributes]
    assert len(shown) == 200
    assert "note 229" in shown[0].text
    (earlier,) = [one for one in page.all("a") if one.text == "Load what was before"]
    page = browser.get(earlier.attributes["href"])
    rest = [one for one in page.one("ol", class_="timeline").all("li") if "id" in one.attributes]
    assert "note 29" in rest[0].text
    assert {one.attributes["id"] for one in shown}.isdisjoint(one.attributes["id"] for one in rest)
    part = browser.get(earlier.attributes["hx-get"])
    assert [one.attributes.get("id") for one in part.all("li") if "id" in one.attributes] == [
        one.attributes["id"] for one in rest
    ]


def test_news_come_without_what_is_shown_already(home: Home, incident: str) -> None:
    browser = Browser(home)
    page = browser.get(f"/incidents/{incident}")
    asks = page.one("ol", class_="timeline").all("li")[0].attributes["hx-get"]
    write_note(home, RESPONDER, Place(incident), "something new")
    answer = browser.ask(asks, headers={"hx-request": "true"})
    assert answer.text.count("<li") == 2
    assert "something new" in answer.text


@pytest.mark.parametrize(
    "place", ["x", "2026,1", "2026-11-22T10:00:00.000000Z", "2026-11-22T10:00:00.000000Z,x"]
)
def test_a_place_that_is_none_is_refused_in_words(home: Home, incident: str, place: str) -> None:
    page = Browser(home).get(f"/incidents/{incident}?before={place}", 400)
    assert "is no place in a timeline" in page.text


def test_an_incident_that_is_not_there_is_said_to_be(home: Home, incident: str) -> None:
    page = Browser(home).get("/incidents/INC-20200101-AAAA", 400)
    assert incident in page.text
