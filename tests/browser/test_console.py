"""The console in a browser: live without loading again, by keyboard alone, and whole without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.browser import DARK, LIGHT, PHONE, OpenPage, axe, fits, forgive
from builders.hostile import STRINGS, fill
from builders.plans import a_plan, action, gate
from builders.runs import RESPONDER, Bench
from builders.serving import Server, serving
from playwright.sync_api import Page, expect

from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.incident.working import move_stage
from mimrun.app.manual_work import Place, write_note
from mimrun.app.runs import create_run
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import IncidentNote

NARROW_MS = 5_000


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("console"))


@pytest.fixture(scope="module")
def server(bench: Bench) -> Iterator[Server]:
    with serving(bench.settings.home) as server:
        yield server


@pytest.fixture
def incident(bench: Bench) -> str:
    """An incident that nobody else works on."""
    with bench.home() as home:
        return declare(home, RESPONDER, Declaration("Nobody can pay", "high", "high"))


@pytest.fixture
def desk(open_page: OpenPage, server: Server) -> Page:
    """Alex at a desk."""
    page = open_page(LIGHT, base_url=server.url)
    server.sign_in(page, "alex")
    return page


def note(bench: Bench, incident: str, text: str) -> None:
    with bench.home() as home:
        write_note(home, RESPONDER, Place(incident), text)


def live(page: Page) -> None:
    """Wait until the page hears of what is recorded."""
    expect(page.locator("[data-live-sign]")).to_have_text("live")


def test_a_timeline_goes_on_by_itself(desk: Page, bench: Bench, incident: str) -> None:
    desk.goto(f"/incidents/{incident}")
    live(desk)
    for number in range(3):
        note(bench, incident, f"note {number}")
        expect(desk.locator(".timeline > li.fresh").first).to_contain_text(f"note {number}")
    said = desk.locator(".timeline .said").all_inner_texts()
    assert [text for number in range(3) for text in said if f"note {number}" in text] == [
        text for text in reversed(said) if "noted" in text
    ]
    assert len([text for text in said if "noted" in text]) == 3


def test_where_an_incident_stands_follows_by_itself(desk: Page, bench: Bench, incident: str) -> None:
    desk.goto(f"/incidents/{incident}")
    live(desk)
    expect(desk.locator(".rail [aria-current=step]")).to_contain_text("identification")
    with bench.home() as home:
        move_stage(home, RESPONDER, incident, "containment")
        create_run(home, a_plan(bench.world, gate("1")), RESPONDER, incident=incident)
    expect(desk.locator(".rail [aria-current=step]")).to_contain_text("containment")
    expect(desk.locator("#beside")).to_contain_text("A test")


def test_what_somebody_is_writing_stays_while_the_page_goes_on(
    desk: Page, bench: Bench, incident: str
) -> None:
    desk.goto(f"/incidents/{incident}")
    live(desk)
    desk.locator("summary", has_text="Note").click()
    desk.get_by_label("What you saw, heard or think").fill("half a sentence")
    note(bench, incident, "meanwhile")
    expect(desk.locator(".timeline")).to_contain_text("meanwhile")
    expect(desk.get_by_label("What you saw, heard or think")).to_have_value("half a sentence")
    expect(desk.get_by_label("What you saw, heard or think")).to_be_focused()


def test_the_cursor_stays_on_its_link_while_a_list_loads_again(
    desk: Page, bench: Bench, incident: str
) -> None:
    desk.goto("/")
    live(desk)
    link = desk.get_by_role("link", name="Nobody can pay").first
    link.focus()
    href = link.get_attribute("href")
    with bench.home() as home:
        declare(home, RESPONDER, Declaration("Another one", "high", "high"))
    expect(desk.get_by_role("link", name="Another one").first).to_be_visible()
    assert desk.evaluate("document.activeElement.getAttribute('href')") == href


def test_what_was_before_is_loaded_below(desk: Page, bench: Bench, incident: str) -> None:
    with bench.home() as home:
        home.store.append(
            [
                Draft(
                    RESPONDER.actor(),
                    IncidentNote(),
                    inc=incident,
                    blobs=(Blob("text", f"old {number}".encode(), "text"),),
                )
                for number in range(300)
            ]
        )
    desk.goto(f"/incidents/{incident}")
    assert desk.locator(".timeline > li[id]").count() == 200
    desk.get_by_role("link", name="Load what was before").click()
    expect(desk.locator(".timeline > li[id]")).to_have_count(302)
    expect(desk.locator(".timeline > li[id]").last).to_contain_text("opened the incident")


def test_clocks_tick(desk: Page, incident: str) -> None:
    desk.goto(f"/incidents/{incident}")
    clock = desk.locator(".clock time[data-clock=up]").first
    before = clock.inner_text()
    expect(clock).not_to_have_text(before, timeout=NARROW_MS)


def test_a_page_says_when_it_hears_nothing_any_more(
    bench: Bench, open_page: OpenPage, tmp_path: Path
) -> None:
    alone = Bench(tmp_path)
    with alone.home() as home:
        incident = declare(home, RESPONDER, Declaration("Nobody can pay"))
    page = open_page(LIGHT)
    forgive(page, "Failed to load resource", "net::ERR")
    with serving(alone.settings.home) as server:
        server.sign_in(page, "alex")
        page.goto(f"{server.url}/incidents/{incident}")
        live(page)
        server.end()
    expect(page.locator("[data-live-sign]")).to_have_text("reconnecting")


def test_everything_is_reached_by_keyboard(desk: Page, incident: str) -> None:
    desk.goto("/")
    desk.keyboard.press("g")
    desk.keyboard.press("i")
    desk.wait_for_url("**/incidents")
    desk.keyboard.press("j")
    assert desk.evaluate("document.activeElement.tagName") == "A"
    first = desk.evaluate("document.activeElement.href")
    desk.keyboard.press("j")
    desk.keyboard.press("k")
    assert desk.evaluate("document.activeElement.href") == first
    desk.keyboard.press("Enter")
    desk.wait_for_url("**/incidents/INC-*")
    desk.keyboard.press("n")
    expect(desk.locator("details.fold[open] > summary")).to_have_text("Note")
    desk.keyboard.press("/")
    expect(desk.locator("[data-search]").first).to_be_focused()
    desk.keyboard.type("g l ? j")
    expect(desk.locator("[data-search]").first).to_have_value("g l ? j")
    desk.keyboard.press("Escape")
    desk.keyboard.press("?")
    expect(desk.get_by_role("dialog")).to_be_visible()
    axe(desk)
    desk.keyboard.press("Escape")
    expect(desk.get_by_role("dialog")).not_to_be_visible()
    desk.keyboard.press("g")
    desk.keyboard.press("l")
    desk.wait_for_url("**/log")


def test_the_menu_opens_and_closes_by_keyboard(desk: Page) -> None:
    desk.goto("/")
    desk.get_by_text("alex", exact=True).first.click()
    expect(desk.get_by_role("button", name="Sign out")).to_be_visible()
    axe(desk)
    desk.keyboard.press("Escape")
    expect(desk.get_by_role("button", name="Sign out")).not_to_be_visible()


def test_what_is_wider_than_its_card_is_reached_by_keyboard(desk: Page, incident: str) -> None:
    desk.goto(f"/incidents/{incident}/review")
    card = desk.locator(".card").first
    assert card.get_attribute("tabindex") is None
    wide = "Object.assign(document.createElement('pre'), {textContent: 'x'.repeat(900)})"
    card.evaluate(f"(card) => card.append({wide})")
    desk.set_viewport_size({"width": 1000, "height": 800})
    expect(card).to_have_attribute("tabindex", "0")
    axe(desk)
    fits(desk)


def test_the_preview_follows_what_is_chosen(desk: Page) -> None:
    desk.goto("/incidents")
    desk.get_by_label("Impact: how much is affected").select_option("high")
    desk.get_by_label("Urgency: how soon it must be mended").select_option("high")
    expect(desk.locator("#preview")).to_contain_text("P1")
    expect(desk.locator("#preview")).to_contain_text("SEV2")
    desk.get_by_text("Flags", exact=True).first.click()
    desk.get_by_label("safety: people may come to harm").check()
    expect(desk.locator("#preview")).to_contain_text("SEV1")


def test_an_incident_is_worked_on_without_javascript(server: Server, open_page: OpenPage) -> None:
    page = open_page(PHONE, base_url=server.url, javascript=False)
    server.sign_in(page, "alex")
    page.goto("/incidents")
    page.get_by_label("What is broken, in a line").fill("The till is dark")
    page.get_by_label("Impact: how much is affected").select_option("low")
    page.get_by_label("Urgency: how soon it must be mended").select_option("low")
    page.get_by_role("button", name="Declare").click()
    assert page.locator("h1").inner_text() == "The till is dark"
    page.get_by_text("Resolve", exact=True).first.click()
    page.get_by_label("How it was resolved").select_option("no_fault")
    page.get_by_role("button", name="Resolve").click()
    page.get_by_text("Close", exact=True).first.click()
    page.get_by_role("button", name="Close the incident").click()
    assert "It is closed." in page.locator("main").inner_text()
    fits(page)


def test_chosen_colours_are_those_of_the_page(server: Server, open_page: OpenPage) -> None:
    page = open_page(DARK, base_url=server.url)
    server.sign_in(page, "alex")
    page.goto("/")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_text("alex", exact=True).first.click()
    page.get_by_role("button", name="Light", exact=True).click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    axe(page)


def test_the_log_is_verified_while_somebody_looks(desk: Page) -> None:
    desk.goto("/log/verify")
    desk.get_by_role("button", name="Verify now").click()
    expect(desk.locator("#verification")).to_contain_text("Intact", timeout=30_000)
    axe(desk)


def test_a_bundle_is_downloaded(desk: Page, incident: str) -> None:
    desk.goto(f"/log?incident={incident}")
    with desk.expect_download() as download:
        desk.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == f"{incident}.mimlog"


def test_no_string_is_obeyed_in_a_real_browser(open_page: OpenPage, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    planted = fill(bench, dict(list(enumerate(STRINGS))[::8]))
    page = open_page(LIGHT)
    page.on("dialog", lambda dialog: pytest.fail(f"obeyed: {dialog.message}"))
    with serving(bench.settings.home) as server:
        server.sign_in(page, "billie")
        paths = {"/", "/incidents", "/alerts", "/log"} | {
            path for one in planted for path in one.shown.values()
        }
        for path in sorted(paths):
            answer = page.goto(server.url + path)
            assert answer is not None
            assert answer.status == 200, path


def test_a_long_list_of_steps_stays_within_a_phone(
    bench: Bench, server: Server, open_page: OpenPage, incident: str
) -> None:
    with bench.home() as home:
        run = create_run(home, a_plan(bench.world, action("1", word="w" * 200)), RESPONDER, incident=incident)
    bench.execute(run)
    page = open_page(PHONE, base_url=server.url)
    server.sign_in(page, "alex")
    for path in (f"/incidents/{incident}?shown=all", f"/log?run={run}", "/incidents?shown=all"):
        page.goto(path)
        fits(page)
        axe(page)
