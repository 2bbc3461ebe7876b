"""The ground that browser tests stand on finds what it is there to find."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from builders.answering import Answer, Answering, Asked, answering
from builders.browser import DARK, LIGHT, PHONE, SCREENSHOTS, OpenPage, axe, fits, forgive, problems, shoot
from playwright.sync_api import Page

GOOD = """\
<!doctype html><html lang="en"><head><title>Good</title><meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="/s.css"></head>
<body><main><h1>Good</h1><p>All is well.</p></main></body></html>"""
PAGES = {
    "/": GOOD,
    "/s.css": "body{background:#fff;color:#111}@media(prefers-color-scheme:dark){body{background:#111;color:#eee}}",
    "/faint": GOOD.replace("<p>", '<p style="color:#ccc;background:#fff">'),
    "/nameless": GOOD.replace("<p>", "<button></button><p>"),
    "/inline": GOOD.replace("<p>", "<script>document.title = 'no'</script><p>"),
    "/loud": GOOD.replace("<p>", "<script src='/loud.js'></script><p>"),
    "/loud.js": "console.error('it went wrong'); undefinedThing();",
    "/away": GOOD.replace("<p>", "<img alt='' src='http://example.org/x.png'><p>"),
    "/wide": GOOD.replace("<p>", "<p class=wide>") + "<link rel=stylesheet href=/wide.css>",
    "/wide.css": ".wide{width:2000px}",
}
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src *"


def answer(asked: Asked) -> Answer:
    if asked.path == "/broken":
        return Answer(500, body=b"no")
    if asked.path == "/favicon.ico":
        return Answer(204, body=b"")
    kind = {"css": "text/css", "js": "text/javascript"}.get(asked.path.rpartition(".")[2], "text/html")
    head = {"Content-Type": f"{kind}; charset=utf-8", "Content-Security-Policy": POLICY}
    page = PAGES.get(asked.path)
    return Answer(200 if page else 404, body=(page or "not here").encode(), headers=head)


@pytest.fixture
def site() -> Iterator[Answering]:
    with answering(answer) as server:
        yield server


def test_a_good_page_passes_on_every_look(site: Answering, light: Page, dark: Page, phone: Page) -> None:
    for page in (light, dark, phone):
        page.goto(site.url)
        axe(page)
        fits(page)
        assert page.locator("h1").inner_text() == "Good"
    shown = [page.evaluate("getComputedStyle(document.body).backgroundColor") for page in (light, dark)]
    assert shown == ["rgb(255, 255, 255)", "rgb(17, 17, 17)"]
    assert phone.evaluate("[innerWidth, 'ontouchstart' in window]") == [PHONE.width, True]


@pytest.mark.parametrize(("path", "rule"), [("/faint", "color-contrast"), ("/nameless", "button-name")])
def test_what_some_people_could_not_use_is_found(site: Answering, light: Page, path: str, rule: str) -> None:
    light.goto(site.url + path)
    with pytest.raises(AssertionError, match=rf"(?s){path}, light:\n{rule} "):
        axe(light)
    axe(light, without={rule: "this test is about it"})


def test_a_page_wider_than_the_phone_is_found(site: Answering, phone: Page) -> None:
    phone.goto(f"{site.url}/wide")
    with pytest.raises(AssertionError, match=r"is 20.. wide on a window of"):
        fits(phone)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/inline", "policy broken: "),
        ("/loud", "console error: it went wrong"),
        ("/loud", "thrown: undefinedThing is not defined"),
        ("/away", "asked another machine: http://example.org/x.png"),
        ("/broken", "answered 500: "),
        ("/missing", "console error: Failed to load resource"),
    ],
)
def test_what_a_page_must_not_do_is_found(site: Answering, light: Page, path: str, problem: str) -> None:
    light.goto(site.url + path)
    light.wait_for_load_state("networkidle")
    found = problems(light.context)
    assert any(one.startswith(problem) for one in found), found
    forgive(light, "policy", "console", "thrown", "another machine", "500")
    assert problems(light.context) == []


def test_each_person_has_cookies_of_their_own_and_may_have_no_scripts(
    site: Answering, open_page: OpenPage
) -> None:
    one, other = open_page(LIGHT, base_url=site.url), open_page(DARK, base_url=site.url, javascript=False)
    one.context.add_cookies([{"name": "who", "value": "one", "url": site.url}])
    one.goto("/")
    other.goto("/inline")
    assert other.title() == "Good"
    assert [cookie["value"] for cookie in one.context.cookies()] == ["one"]
    assert other.context.cookies() == []


def test_a_picture_is_called_after_the_page_and_the_look(site: Answering, phone: Page, dark: Page) -> None:
    for page in (phone, dark):
        page.goto(site.url)
    paths = [shoot(phone, "ground/good"), shoot(dark, "ground/good")]
    try:
        assert [str(path.relative_to(SCREENSHOTS)) for path in paths] == [
            "ground/good-phone.png",
            "ground/good-dark.png",
        ]
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    finally:
        for path in paths:
            path.unlink()
        paths[0].parent.rmdir()
