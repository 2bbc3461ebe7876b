"""The pages of the log: searched, looked at, verified, taken away; without a script."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from builders.console import Browser, Element
from builders.plans import a_plan, action
from builders.runs import RESPONDER, Bench
from httpx import Response

from mimrun.app.home import Home
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.manual_work import Place, write_note
from mimrun.app.server.verifying import Verifying
from mimrun.log.entry import Actor, Blob, Draft
from mimrun.log.kinds import IncidentNote, Kind


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
    return declare(home, RESPONDER, Declaration("Nobody can pay", "high", "high"))


def entries(page: Element) -> list[str]:
    """Give what the entries of a page say."""
    return [row.text for row in page.one("section", aria_label="Entries").all("tr", data_row="")]


def test_the_newest_entries_come_first(home: Home, incident: str) -> None:
    found = entries(Browser(home).get("/log"))
    assert "session.opened" in found[0]
    assert "The log begins" in found[-1]


def test_entries_are_found_by_what_they_say(home: Home, incident: str) -> None:
    write_note(home, RESPONDER, Place(incident), "The standby LOOKS healthy")
    found = entries(Browser(home).get("/log?text=looks+healthy"))
    assert len(found) == 1
    assert "responder noted: The standby LOOKS healthy" in found[0]


def test_entries_are_found_by_incident_run_kind_and_person(bench: Bench, home: Home, incident: str) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1")))
    browser = Browser(home)
    assert all(run in one for one in entries(browser.get(f"/log?run={run}")))
    assert all(incident in one for one in entries(browser.get(f"/log?incident={incident}")))
    (created,) = entries(browser.get("/log?kind=run.created"))
    assert run in created
    steps = entries(browser.get("/log?kind=step."))
    assert len(steps) == 4
    assert {"session.opened by alex (web)" in one for one in entries(browser.get("/log?actor=alex"))} == {
        True
    }


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("run=run-nothere", "no run 'run-nothere'"),
        ("incident=INC-NOT", "no incident 'INC-NOT'"),
        ("kind=run.creatd", "did you mean 'run.created'?"),
    ],
)
def test_what_there_is_not_is_said_with_what_was_meant(
    home: Home, incident: str, asked: str, said: str
) -> None:
    page = Browser(home).get(f"/log?{asked}", 400)
    assert said in page.one("div", role="alert").text


def test_what_is_asked_wrongly_is_refused(home: Home) -> None:
    page = Browser(home).get("/log?before=x", 422)
    assert "before" in page.text


def test_a_long_log_is_read_in_pages_that_do_not_overlap(home: Home, incident: str) -> None:
    drafts = [
        Draft(RESPONDER.actor(), IncidentNote(), inc=incident, blobs=(Blob("text", b"x%d" % n, "text"),))
        for n in range(250)
    ]
    home.store.append(drafts)
    browser, path, seen = Browser(home), "/log", list[str]()
    size = home.store.head().size
    while path:
        page = browser.get(path)
        seen += [
            row.one("a", href=row.all("a")[0].attributes["href"]).text for row in page.all("tr", data_row="")
        ]
        path = next((one.attributes["href"] for one in page.all("a", rel="next")), "")
    assert seen == [f"#{seq}" for seq in range(size, 0, -1)]


def test_an_entry_shows_what_it_says_and_what_proves_it(home: Home, incident: str) -> None:
    (note,) = write_note(home, RESPONDER, Place(incident), "the standby looks healthy")
    page = Browser(home).get(f"/log/{note.seq}")
    assert "the standby looks healthy" in page.one("pre", aria_label="text").text
    assert json.loads(page.one("pre", aria_label="Body of the entry").text) == {}
    proof = page.all("section")[-1].text
    assert "follows the entry before it" in proof
    assert note.prev in proof
    assert home.store.leaf_at(note.seq) in proof


def test_the_first_entry_has_nothing_before_it(home: Home) -> None:
    page = Browser(home).get("/log/1")
    assert not page.all("a", rel="prev")
    assert page.all("a", rel="next")


def test_an_entry_that_is_not_there_is_not_found(home: Home) -> None:
    assert "has no entry 999" in Browser(home).get("/log/999", 404).text
    Browser(home).get("/log/0", 422)
    Browser(home).get("/log/1x", 404)


def test_a_file_is_given_out_as_a_file_whatever_it_is_called(home: Home, incident: str) -> None:
    browser = Browser(home)
    content = b"<script>alert(1)</script>"
    browser.client.post(
        f"/incidents/{incident}/note",
        data={"form_key": browser.form_key, "text": "look"},
        files={"file": ('"><script>.html', content, "text/html")},
    )
    seq = next(home.store.entries(kinds={Kind.INCIDENT_ATTACHED})).seq
    page = browser.get(f"/log/{seq}")
    assert "Download the file" in page.text
    answer = browser.ask(f"/log/{seq}/file")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith('attachment; filename="_22__script_.html"')
    assert answer.headers["x-content-type-options"] == "nosniff"


def take(browser: Browser, **fields: str) -> Response:
    """Download an export with the form of the page."""
    form = next(one for one in browser.get("/log").all("form") if one.attributes["action"] == "/log/export")
    assert {one.attributes["name"] for one in form.walk() if "name" in one.attributes} >= fields.keys()
    return browser.send("/log/export", **fields)


def test_lines_are_taken_away_and_that_is_recorded(home: Home, incident: str) -> None:
    answer = take(Browser(home), incident=incident, format="jsonl")
    lines = answer.text.splitlines()
    assert [json.loads(line)["kind"] for line in lines][:2] == ["incident.opened", "incident.assessed"]
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{incident}.jsonl"')
    (made,) = home.store.entries(kinds={Kind.EXPORT_MADE})
    assert (made.actor, made.inc) == (Actor("person", "alex", "web", "password"), incident)


def test_a_bundle_is_taken_away_with_or_without_its_blobs(home: Home, incident: str) -> None:
    write_note(home, RESPONDER, Place(incident), "private")
    whole = take(Browser(home), incident=incident, format="bundle", blobs="yes")
    bare = take(Browser(home), incident=incident, format="bundle")
    names = [zipfile.ZipFile(BytesIO(one.content)).namelist() for one in (whole, bare)]
    assert any("blobs/" in name for name in names[0])
    assert not any("blobs/" in name for name in names[1])


def test_the_whole_log_is_taken_away_for_a_spreadsheet(home: Home, incident: str) -> None:
    answer = take(Browser(home), incident="all", format="csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="log.csv"')
    assert incident in answer.text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"incident": "INC-NOT", "format": "csv"}, "no incident"),
        ({"incident": "all", "format": "cvs"}, "did you mean"),
    ],
)
def test_an_export_of_what_there_is_not_is_refused(home: Home, fields: dict[str, str], said: str) -> None:
    assert said in Browser(home).post("/log/export", 400, **fields).text


def test_verifying_says_how_far_it_is_and_what_it_proves(home: Home, incident: str) -> None:
    browser = Browser(home)
    later = list[object]()
    verifying = Verifying(home, later.append)
    browser.site.state.verifying = verifying
    page = browser.press(browser.get("/log/verify"), "Verify now")
    assert "Under way" in page.text
    assert page.all("meta", http_equiv="refresh")
    assert page.one("section", id="verification").attributes["hx-trigger"] == "every 1s"
    (work,) = later
    assert callable(work)
    work()
    page = browser.get("/log/verify")
    assert "Intact" in page.text
    assert "Proven" in page.text
    assert f"{home.store.head().size}:" in page.one("pre").text
    assert "hx-get" not in page.one("section", id="verification").attributes


def test_an_auditor_reads_verifies_and_takes_away(home: Home, incident: str) -> None:
    auditor = Browser(home, "auditor")
    assert take(auditor, incident=incident, format="csv").status_code == 200
    assert "Verify now" in auditor.get("/log/verify").text


def test_nobody_reads_the_log_without_signing_in(home: Home, incident: str) -> None:
    nobody = Browser(home, "")
    for path in ("/log", "/log/1", "/log/verify"):
        assert nobody.get(path).one("h1").text == "Sign in"
    assert nobody.client.post("/log/export", data={"incident": "all"}).status_code == 401
