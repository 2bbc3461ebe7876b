"""The console as people see it, without a network: a browser of theirs that has no JavaScript.

with bench.home() as home:
    alex = Browser(home, "alex")
    page = alex.get("/incidents")
    alex.post("/incidents", title="nobody can pay", ...)
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx
from fastapi import FastAPI
from httpx import Response

from mimrun.app.home import Home
from mimrun.app.server.sessions import open_session
from mimrun.gate.people import SignedIn
from mimrun.gate.session import form_key_of
from mimrun.web.form_key import COOKIE
from mimrun.web.site import make_site

HTML = {"accept": "text/html"}
VOID = {"area", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr", "path", "rect"}


@dataclass
class Element:
    """A piece of a page."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What a person reads in it, with single spaces."""
        parts = [one if isinstance(one, str) else one.text for one in self.children]
        return re.sub(r"\s+", " ", " ".join(parts)).strip()

    def walk(self) -> Iterator[Element]:
        """Give it and everything in it."""
        yield self
        for one in self.children:
            if isinstance(one, Element):
                yield from one.walk()

    def all(self, tag: str = "", **attributes: str) -> list[Element]:
        """Give what is in it with a tag and with attributes; `class_` must be one of several."""
        return [one for one in self.walk() if (not tag or one.tag == tag) and one.has(attributes)]

    def has(self, attributes: Mapping[str, str]) -> bool:
        """Say whether it has these attributes."""
        for name, value in attributes.items():
            own = self.attributes.get(name.rstrip("_").replace("_", "-"))
            if own is None or (value not in own.split() if name == "class_" else value != own):
                return False
        return True

    def one(self, tag: str = "", **attributes: str) -> Element:
        """Give the only one."""
        found = self.all(tag, **attributes)
        assert len(found) == 1, f"{len(found)} of <{tag}> with {attributes} in: {self.text[:2000]}"
        return found[0]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Element("", {})]
        self.unbalanced: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if self.open[-1].tag != tag:
            self.unbalanced.append(f"</{tag}> in <{self.open[-1].tag}>")
            return
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read_html(text: str) -> Element:
    """Read a page; one whose tags do not close each other is refused."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert not reader.unbalanced, reader.unbalanced
    assert len(reader.open) == 1, [one.tag for one in reader.open]
    return reader.open[0]


class InProcess(httpx.BaseTransport):
    """Asks an application without a network, a loop for each question."""

    def __init__(self, app: FastAPI) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=True)

    def handle_request(self, request: httpx.Request) -> Response:
        """Ask, and read the whole answer."""

        async def ask() -> Response:
            answer = await self._transport.handle_async_request(request)
            content = await answer.aread()
            return Response(answer.status_code, headers=answer.headers, content=content)

        return asyncio.run(ask())


class Browser:
    """What somebody has open: it keeps cookies, follows to where it is sent, and knows the key of its forms.

    Arguments:
        home: opened, for as long as it is used.
        person: who has signed in; "" for nobody.
        start: has runs executed; without it they are left alone.
    """

    def __init__(
        self,
        home: Home,
        person: str = "alex",
        *,
        start: Callable[[Home, str], object] = lambda home, run: None,
    ) -> None:
        self.site = make_site(home, start=start)
        self.client = httpx.Client(
            transport=InProcess(self.site),
            base_url="http://localhost",
            headers=HTML,
            follow_redirects=True,
        )
        self.form_key = ""
        if person:
            cookie = open_session(home, SignedIn(person, "password"))
            self.client.cookies.set(COOKIE, cookie.reveal())
            self.form_key = form_key_of(cookie)

    def ask(self, path: str, **more: Any) -> Response:
        """Ask for a path, wherever that leads."""
        return self.client.get(path, **more)

    def get(self, path: str, status: int = 200) -> Element:
        """Give a page."""
        answer = self.ask(path)
        assert answer.status_code == status, (answer.status_code, answer.text[:3000])
        return read_html(answer.text)

    def send(self, path: str, **fields: Any) -> Response:
        """Send a form as a page of this session would, wherever that leads."""
        return self.client.post(path, data={"form_key": self.form_key, **fields})

    def post(self, path: str, status: int = 200, **fields: Any) -> Element:
        """Send a form, and give the page that it leads to."""
        answer = self.send(path, **fields)
        assert answer.status_code == status, (answer.status_code, answer.text[:3000])
        return read_html(answer.text)

    def press(self, page: Element, label: str, status: int = 200, **fields: Any) -> Element:
        """Press the button with a label, with what its form holds already and what is filled in.

        Without a script: the form is read from the page, and a field that is not on it cannot be filled in.
        """
        forms = [
            (form, button)
            for form in page.all("form")
            for button in form.all("button")
            if button.text == label and form.attributes.get("method") == "post"
        ]
        assert len(forms) == 1, (
            f"{len(forms)} buttons {label!r}; there are {[b.text for b in page.all('button')]}"
        )
        form, button = forms[0]
        held = values_of(form)
        unknown = fields.keys() - names_of(form)
        assert not unknown, f"no field {unknown} in the form of {label!r}, which has {names_of(form)}"
        if "name" in button.attributes:
            held[button.attributes["name"]] = button.attributes.get("value", "")
        to = button.attributes.get("formaction", form.attributes["action"])
        answer = self.client.post(to, data={**held, **fields})
        assert answer.status_code == status, (answer.status_code, answer.text[:3000])
        return read_html(answer.text)


def names_of(form: Element) -> set[str]:
    """Give the names of what can be filled in."""
    return {one.attributes["name"] for one in form.walk() if "name" in one.attributes}


def values_of(form: Element) -> dict[str, Any]:
    """Give what a form holds as it stands, as a browser would send it."""
    held: dict[str, Any] = {}
    for one in form.walk():
        name = one.attributes.get("name")
        if name is None or "disabled" in one.attributes:
            continue
        kind = one.attributes.get("type", "text")
        if one.tag == "input" and kind in ("checkbox", "radio"):
            if "checked" in one.attributes:
                held[name] = one.attributes.get("value", "on")
        elif one.tag == "input":
            held[name] = one.attributes.get("value", "")
        elif one.tag == "textarea":
            held[name] = "".join(str(piece) for piece in one.children).removeprefix("\n")
        elif one.tag == "select":
            options = one.all("option")
            chosen = [option for option in options if "selected" in option.attributes] or options[:1]
            held[name] = chosen[0].attributes.get("value", chosen[0].text) if chosen else ""
    return held
