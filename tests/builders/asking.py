"""Requests to a site without a network, from whoever a test wants to be."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from builders.console import InProcess

from mimrun.app.home import Home
from mimrun.app.server.sessions import open_session
from mimrun.gate.people import SignedIn
from mimrun.gate.session import form_key_of
from mimrun.web.form_key import COOKIE, HEADER, HOST_COOKIE
from mimrun.web.route import VerbRoute
from mimrun.web.security import App, Message
from mimrun.web.site import Site


def client(site: Site, *, url: str = "http://localhost", **headers: str) -> httpx.Client:
    """Give a client that has not signed in and follows nowhere."""
    return httpx.Client(transport=InProcess(site), base_url=url, headers=headers)


def with_session(
    site: Site, home: Home, person: str, *, auth: str = "password", https: bool = False
) -> httpx.Client:
    """Give a client with a session, which sends its form key as a script of a page does."""
    cookie = open_session(home, SignedIn(person, auth))
    made = client(site, url="https://localhost" if https else "http://localhost")
    made.cookies.set(HOST_COOKIE if https else COOKIE, cookie.reveal())
    made.headers[HEADER] = form_key_of(cookie)
    return made


def routes(site: Site) -> Iterator[tuple[str, str, str]]:
    """Give every route: method, path with something in each place, and verb; "" where it is open."""
    for route in site.routes:
        if isinstance(route, VerbRoute):
            for method in sorted(route.methods or ()):
                yield method, filled(route.path), route.verb


def filled(path: str) -> str:
    """Put something that is not there into each place of a path."""
    numbers = re.sub(r"\{(seq|[a-z_]+:int)\}", "999999", path)
    return re.sub(r"\{[a-z_:]+\}", "missing", numbers)


def ask_raw(app: App, scope: Mapping[str, Any], *messages: Message) -> list[Message]:
    """Speak ASGI with an application, and give what it sends."""
    left, sent = list(messages) or [{"type": "http.request", "body": b"", "more_body": False}], []
    whole = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "scheme": "http",
        "server": ("localhost", 80),
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
        "root_path": "",
        **scope,
    }

    async def receive() -> Message:
        if left:
            return left.pop(0)
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(_all(app, whole, receive, send))
    return sent


async def _all(app: App, scope: Any, receive: Any, send: Any) -> None:
    await app(scope, receive, send)
