"""A button that is pressed twice: what was sent again just as it was is not done again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders.console import HTML, Browser, Element, values_of
from builders.runs import Bench

from mimrun.app.home import Home
from mimrun.app.incident.view import list_incidents
from mimrun.log.kinds import Kind
from mimrun.web.pressed import LASTS_S, Pressed

TITLE = "nobody can pay"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with Bench(tmp_path).home() as home:
        yield home


@pytest.fixture
def alex(home: Home) -> Browser:
    return Browser(home, "alex")


def form_of(page: Element, action: str) -> dict[str, Any]:
    """Give what a form holds, as it stands on a page."""
    return values_of(page.one("form", action=action))


def test_an_incident_is_declared_once_however_often_the_button_is_pressed(home: Home, alex: Browser) -> None:
    sent = {**form_of(alex.get("/incidents"), "/incidents"), "title": TITLE}
    first, again = (alex.client.post("/incidents", data=sent) for _ in range(2))
    assert [one.title for one in list_incidents(home)] == [TITLE]
    assert first.url == again.url
    assert "is declared" in again.text


def test_twice_at_the_same_moment_is_once(home: Home, alex: Browser) -> None:
    sent = {**form_of(alex.get("/incidents"), "/incidents"), "title": TITLE}

    async def press() -> list[httpx.Response]:
        at_once = httpx.AsyncClient(
            transport=httpx.ASGITransport(alex.site),
            base_url="http://localhost",
            headers=HTML,
            cookies=alex.client.cookies,
        )
        async with at_once as browser:
            return await asyncio.gather(*(browser.post("/incidents", data=sent) for _ in range(5)))

    answers = asyncio.run(press())
    assert {one.status_code for one in answers} == {303}
    assert len({one.headers["location"] for one in answers}) == 1
    assert len(list_incidents(home)) == 1


def test_a_note_is_written_once_and_another_one_from_the_same_page_is_another(
    home: Home, alex: Browser
) -> None:
    page = alex.post("/incidents", title=TITLE)
    action = f"/incidents/{list_incidents(home)[0].name}/note"
    sent = form_of(page, action)
    for text in ("the queue grows", "the queue grows", "it is empty again"):
        alex.client.post(action, data={**sent, "text": text})
    assert len(list(home.store.entries(kinds={Kind.INCIDENT_NOTE}))) == 2


def test_what_was_refused_may_be_sent_again(home: Home, alex: Browser) -> None:
    sent = form_of(alex.get("/incidents"), "/incidents")
    for _ in range(2):
        assert alex.client.post("/incidents", data={**sent, "title": ""}).status_code == 400
    assert list_incidents(home) == []


def test_what_somebody_sent_is_nobody_elses(home: Home, alex: Browser) -> None:
    billie = Browser(home, "billie")
    billie.site.state.pressed = alex.site.state.pressed
    sent = {**form_of(alex.get("/incidents"), "/incidents"), "title": TITLE}
    alex.client.post("/incidents", data=sent)
    billie.client.post("/incidents", data={**sent, "form_key": billie.form_key})
    assert len(list_incidents(home)) == 2


def test_where_a_form_led_is_forgotten_after_an_hour() -> None:
    now, done = [0.0], []

    async def do() -> Any:
        done.append(now[0])
        return httpx.Response(303)

    pressed = Pressed(lambda: now[0])
    for moment in (0.0, LASTS_S - 1, LASTS_S + 1):
        now[0] = moment
        asyncio.run(pressed.once("key", do))
    assert done == [0.0, LASTS_S + 1]


def test_whoever_waits_for_a_form_that_broke_does_it() -> None:
    async def both() -> list[Any]:
        pressed, tries = Pressed(), 0

        async def do() -> Any:
            nonlocal tries
            tries += 1
            await asyncio.sleep(0)
            if tries == 1:
                raise ZeroDivisionError
            return httpx.Response(303)

        return await asyncio.gather(pressed.once("key", do), pressed.once("key", do), return_exceptions=True)

    broke, went = asyncio.run(both())
    assert isinstance(broke, ZeroDivisionError)
    assert went.status_code == 303
