"""A run in a browser with a script: launched, followed without loading anything again, looked into, replayed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from builders.browser import LIGHT, PHONE, OpenPage, axe, fits, shoot
from builders.serving import Server, serving
from builders.shelf import Shelf
from playwright.sync_api import expect

from mimrun.app.execution import execute_run
from mimrun.app.identity import Identity
from mimrun.app.manual_work import Place, write_note
from mimrun.app.plans import prepare_plan
from mimrun.app.runs import create_run, find_run
from mimrun.app.stopping import request_stop
from mimrun.gate.people import Person
from mimrun.run.record.wish import Level

PEOPLE = """\
people:
  robin: {roles: [responder]}
  alex: {roles: [change_manager]}
  sam: {roles: [service_desk]}
  kim: {roles: [service_desk]}
"""
ROBIN = Identity(Person("robin", "robin"), "os-user")
SLOWLY = """\
schema: mimrun/1
name: go-slowly
version: 1.0.0
title: Go slowly
stage: containment
owner: testers
risk: low
hosts: all
steps:
  - name: It is looked at
    local.command: {argv: [echo, "looked at {{ inventory_hostname }}"], changed: false}
    effect: {class: read, reason: It only looks.}
  - name: It takes its time
    local.command: {argv: [sh, -c, "sleep 2; echo done"]}
  - name: It is approved
    gate: {change: emergency, approvals: [{role: change_manager}], expires: 30m, on_timeout: fail}
  - name: It is done
    local.command: {argv: [echo, "all is well"]}
"""
IN_BATCHES = """\
schema: mimrun/1
name: in-batches
version: 1.0.0
title: Do it in batches
stage: containment
owner: testers
risk: low
hosts: all
steps:
  - name: It is looked at
    serial: 3
    local.command: {argv: [echo, "looked at {{ inventory_hostname }}"], changed: false}
    effect: {class: read, reason: It only looks.}
  - name: It is done by hand
    manual: {role: service_desk, instructions: Look at it for long., checklist: [It is there, It is whole]}
  - name: It is over
    local.command: {argv: [echo, "all is well"], changed: false}
    effect: {class: read, reason: It only looks.}
"""
BY_HAND = """\
schema: mimrun/1
name: by-hand
version: 1.0.0
title: Do it by hand
stage: containment
owner: testers
risk: low
steps:
  - name: Tell the service desk
    manual: {role: service_desk, instructions: Tell them., checklist: [They know], evidence: {words: {type: text}}}
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with pytest.MonkeyPatch.context() as patch:
        shelf = Shelf(tmp_path_factory.mktemp("shelf"), patch)
        shelf.settings.people.write_text(PEOPLE)
        shelf.inventory.write_text(
            "".join(f"web{number:02} ansible_connection=local\n" for number in range(12))
        )
        for name, text in (("go-slowly", SLOWLY), ("in-batches", IN_BATCHES), ("by-hand", BY_HAND)):
            (shelf.library / f"{name}.yaml").write_text(text)
        yield shelf


@pytest.fixture(scope="module")
def server(shelf: Shelf) -> Iterator[Server]:
    with serving(
        shelf.settings.home, MIMRUN_RUNBOOKS=str(shelf.library), MIMRUN_INVENTORY=str(shelf.inventory)
    ) as server:
        yield server


def test_a_run_is_launched_and_fills_before_ones_eyes(server: Server, open_page: OpenPage) -> None:
    robin = open_page(LIGHT, base_url=server.url)
    server.sign_in(robin, "robin")
    robin.goto("/runbooks/go-slowly/launch")
    robin.get_by_role("button", name="Show the plan").click()
    expect(robin.get_by_role("heading", name="What runs, in this order")).to_be_visible()
    robin.get_by_role("button", name="Go: run exactly this").click()
    expect(robin.locator("[data-live-sign]")).to_have_text("live")
    robin.evaluate("window.loadedOnce = true")
    expect(robin.locator("#step-2")).to_contain_text("12 running")
    expect(robin.locator("#step-2")).to_contain_text("12 changed", timeout=60_000)
    expect(robin.locator("#needs")).to_contain_text("It waits at a gate", timeout=60_000)
    assert robin.evaluate("window.loadedOnce"), "the page was loaded again"
    shoot(robin, "run-live")

    alex = open_page(PHONE, base_url=server.url)
    server.sign_in(alex, "alex")
    alex.goto(robin.url.partition("?")[0] + "/gate")
    axe(alex)
    fits(alex)
    alex.get_by_role("button", name="Approve exactly this").click()
    expect(robin.locator("#run-head")).to_contain_text("succeeded", timeout=60_000)
    assert robin.evaluate("window.loadedOnce"), "the page was loaded again"
    expect(robin.locator("#needs")).not_to_contain_text("It waits at a gate")


def test_what_a_host_said_opens_above_the_page(shelf: Shelf, server: Server, open_page: OpenPage) -> None:
    page = open_page(LIGHT, base_url=server.url)
    server.sign_in(page, "robin")
    run = _ran(shelf, "leave-a-note", "word=hello")
    page.goto(f"/runs/{run}")
    page.locator("a.host").first.click()
    expect(page.locator("#peek")).to_be_visible()
    expect(page.locator("#peek")).to_contain_text("local.command")
    axe(page)
    shoot(page, "run-peek", whole=False)
    page.keyboard.press("Escape")
    expect(page.locator("#peek")).not_to_be_visible()
    assert page.url.endswith(run)


def test_what_somebody_types_is_not_taken_from_under_their_hands(
    shelf: Shelf, server: Server, open_page: OpenPage
) -> None:
    run = _ran(shelf, "by-hand")
    sam, kim = (open_page(LIGHT, base_url=server.url) for _ in range(2))
    server.sign_in(sam, "sam")
    server.sign_in(kim, "kim")
    sam.goto(f"/runs/{run}")
    kim.goto(f"/runs/{run}")
    expect(sam.locator("[data-live-sign]")).to_have_text("live")
    sam.get_by_label("words").fill("I have told them that")
    kim.get_by_role("button", name="I do it").click()
    expect(sam.locator("[data-changed]")).to_contain_text("This has changed since")
    assert sam.get_by_label("words").input_value() == "I have told them that"
    sam.reload()
    expect(sam.locator("#manual")).to_contain_text("kim does it since")


def test_what_is_open_and_where_the_cursor_is_stay_while_a_run_goes_on(
    shelf: Shelf, server: Server, open_page: OpenPage
) -> None:
    run = _ran(shelf, "in-batches")
    page = open_page(LIGHT, base_url=server.url)
    server.sign_in(page, "robin")
    page.goto(f"/runs/{run}")
    expect(page.locator("[data-live-sign]")).to_have_text("live")
    page.locator("#stop-cancel > summary").click()
    batch = page.locator("details", has_text="batch 2 of 4")
    batch.locator("summary").focus()
    page.keyboard.press("Enter")
    board = page.locator("#board").element_handle()
    _note(shelf, run)
    page.wait_for_function("(board) => !board.isConnected", arg=board)
    expect(batch.locator("summary")).to_be_focused()
    expect(page.get_by_role("button", name="Cancel it")).to_be_visible()
    expect(batch.locator("a.host").first).to_be_visible()
    expect(page.locator("details", has_text="batch 1 of 4").locator("a.host").first).not_to_be_visible()


def test_what_somebody_reads_stays_where_it_is_while_what_is_above_it_goes(
    shelf: Shelf, server: Server, open_page: OpenPage
) -> None:
    run = _ran(shelf, "in-batches")
    page = open_page(PHONE, base_url=server.url)
    server.sign_in(page, "sam")
    page.goto(f"/runs/{run}")
    expect(page.locator("[data-live-sign]")).to_have_text("live")
    top = "document.getElementById('step-3').getBoundingClientRect().top"
    page.evaluate(f"scrollBy(0, {top} - 100)")
    before = page.evaluate(top)
    with shelf.home() as home:
        request_stop(home, run, ROBIN, Level.CANCEL, "it is not needed any more")
    execute_run(shelf.settings, run, catalog=shelf.catalog)
    expect(page.locator("#run-head")).to_contain_text("cancelled")
    page.wait_for_function(f"Math.abs({top} - {before}) < 2")


def test_a_finger_on_any_moment(shelf: Shelf, server: Server, open_page: OpenPage) -> None:
    run = _ran(shelf, "leave-a-note", "word=again")
    page = open_page(LIGHT, base_url=server.url)
    server.sign_in(page, "robin")
    page.goto(f"/runs/{run}/replay")
    scrub = page.locator("[data-range]")
    expect(scrub).to_be_visible()
    last = int(scrub.get_attribute("max") or "0")
    expect(page.locator('[data-path="1"]')).to_contain_text("changed")
    scrub.focus()
    page.keyboard.press("Home")
    expect(page.locator("[data-number]")).to_have_text("0")
    expect(page.locator('[data-path="1"]')).to_contain_text("not begun")
    page.keyboard.press("End")
    expect(page.locator("[data-number]")).to_have_text(str(last))
    expect(page.locator('[data-path="1"]')).to_contain_text("changed")
    page.locator("[data-speed]").select_option("600")
    page.locator("[data-play]").click()
    expect(page.locator("[data-number]")).to_have_text(str(last), timeout=30_000)
    expect(page.locator("[data-play]")).to_have_text("Play")
    axe(page)


def test_what_takes_a_while_says_so_at_once(shelf: Shelf, server: Server, open_page: OpenPage) -> None:
    run = _ran(shelf, "leave-a-note", "word=slowly")
    page = open_page(PHONE, base_url=server.url)
    server.sign_in(page, "robin")
    page.goto(f"/runs/{run}/replay")
    said = page.locator("[data-slow-note]")
    expect(said).to_be_empty()
    page.route("**/replay/redecide", lambda route: route.fulfill(status=204))
    page.get_by_role("link", name="Decide it again").click()
    expect(said).to_contain_text("The answer comes by itself")
    axe(page)
    fits(page)


def _note(shelf: Shelf, run: str) -> None:
    """Have something recorded about a run, so that whoever looks hears of it."""
    with shelf.home() as home:
        place = Place(find_run(home, run).summary.incident, run)
        write_note(home, ROBIN, place, "meanwhile")


def _ran(shelf: Shelf, name: str, *inputs: str) -> str:
    """Give a run that was executed beside the server."""
    with shelf.home() as home:
        plan = prepare_plan(home, name, inputs, [])
        run = create_run(home, plan, ROBIN)
    execute_run(shelf.settings, run, catalog=shelf.catalog)
    return run
