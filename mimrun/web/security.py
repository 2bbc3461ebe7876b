"""What holds for every request and every answer, before and after any page: whose server it is, how much, how long.

1. The host that is asked for is one of this server's names: no other site's name points a browser here.
2. Behind a proxy, only the proxy and this machine speak with us, and the proxy says from where and how it was asked.
3. A body is bounded, comes in time, and comes with nothing that only looks; who takes our answer takes it in time.
4. Every answer says what a browser may do with it: nothing but what the pages need.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from fastapi import HTTPException
from fastapi.responses import JSONResponse

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_HEAD: Final = 16 * 1024
"""Bytes of a request's address and headers."""
LONGEST_BODY: Final = 1024 * 1024
LONGEST_FILES: Final = 20 * 1024 * 1024
"""A form with files: evidence of manual steps, and what is attached to a note."""
PIECE_S: Final = 15.0
"""So long we wait for the next piece of a body."""
WHOLE_S: Final = 60.0
"""So long for all of it."""
TAKE_S: Final = 30.0
"""So long we wait for somebody to take a piece of an answer."""

_WITH_FILES: Final = ("/runs/", "/incidents/")
"""Where such forms are sent to; whoever has not signed in sends none."""
_LOOKS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = (
    ("content-security-policy", CSP),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    # Not `no-referrer`: with that a browser says of our own forms, too, that they come from nowhere (`Origin: null`).
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
"""What every answer carries."""
_HSTS: Final = ("strict-transport-security", "max-age=31536000")
_NO_STORE: Final = ("cache-control", "no-store")
_LOOK_FIRST: Final = ("cache-control", "no-cache")
_FOR_EVER: Final = ("cache-control", "public, max-age=31536000, immutable")
"""What is asked for by its digest never becomes something else."""


@dataclass(frozen=True, slots=True)
class Names:
    """Under which names a server is asked, and through whom.

    Arguments:
        hosts: besides those of loopback, without a port.
        behind: the address of the proxy in front; "" where there is none.
    """

    hosts: frozenset[str] = field(default_factory=frozenset)
    behind: str = ""

    def knows(self, host: str) -> bool:
        """Say whether the value of a Host header is this server's."""
        if not _HOST.fullmatch(host.lower()):
            return False  # what reads like a path or an account is no name, whatever stands in front of it
        name = host_name(host)
        return name in LOOPBACK or name in self.hosts


def host_name(host: str) -> str:
    """Give a host without its port, in lower case."""
    text = host.strip().lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0].removesuffix(".")


def is_loopback(address: str) -> bool:
    """Say whether an address is this machine's own."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class NotTakenError(OSError):
    """Nobody takes the answer: as if they had gone, whatever writes to them ends. That is no bug of ours."""


def guarded(app: App, names: Names) -> App:
    """Give an application as it is to be served: see above."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        refused = _refused(scope, names)
        if refused is not None:
            await refused(scope, receive, answer.send)
            return
        with suppress(NotTakenError):
            await app(scope, _Body(scope, receive).receive, answer.send)

    return guard


def _refused(scope: Scope, names: Names) -> App | None:
    """Give what refuses a request at once; None where it may be looked at."""
    headers = scope["headers"]
    if (
        len(scope.get("query_string", b"")) + sum(len(name) + len(value) for name, value in headers)
        > LONGEST_HEAD
    ):
        return _problem(431, f"headers and address may have {LONGEST_HEAD} bytes at most")
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 or not names.knows(hosts[0].decode("latin-1")):
        return _problem(
            421, "this server is not the host that was asked for; see `mimrun serve --public-url`"
        )
    if names.behind:
        client = _plain((scope.get("client") or ("", 0))[0])
        if client == names.behind:
            _take_from_proxy(scope, headers)
        elif not is_loopback(client):
            return _problem(403, "this server is spoken with through its proxy")
    length, most = _first(headers, b"content-length"), _longest(scope)
    if length is not None and (not length.isdigit() or int(length) > most):
        return _problem(413, f"the body may have {most} bytes at most")
    in_pieces = _first(headers, b"transfer-encoding") is not None
    if scope["method"] in _LOOKS and (in_pieces or length not in (None, b"0")):
        return _problem(400, f"a {scope['method']} has no body")
    if _first(headers, b"content-encoding") not in (None, b"identity"):
        return _problem(415, "send the body as it is, without a content encoding")
    return None


def _plain(address: str) -> str:
    """Give an address of IPv4 as such, also where it comes to a socket of IPv6."""
    return address.removeprefix("::ffff:")


def _take_from_proxy(scope: Scope, headers: Collection[tuple[bytes, bytes]]) -> None:
    """Take the proxy's word for how it was asked, and by whom.

    What it adds stands at the end, of the line or of the lines: what is in front of it anybody can have sent.
    """
    own = list(headers)[::-1]
    proto, client = _first(own, b"x-forwarded-proto"), _first(own, b"x-forwarded-for")
    if proto in (b"http", b"https"):
        scope["scheme"] = proto.decode()
    if client:
        scope["client"] = (client.decode("latin-1").rpartition(",")[2].strip()[:64], 0)


def _first(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    return next((value for name, value in headers if name == wanted), None)


def _longest(scope: Scope) -> int:
    """Give how long a body may be. Alerts and signings-in come from anybody, and never are files."""
    kind = _first(scope["headers"], b"content-type") or b""
    files = kind.startswith(b"multipart/form-data") and scope["path"].startswith(_WITH_FILES)
    return LONGEST_FILES if files else LONGEST_BODY


def _problem(status: int, detail: str) -> App:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


class _Body:
    """A body as it comes: no more than so much, and in time."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive, self._left = receive, _longest(scope)
        self._end: float | None = None
        self._whole = False

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()  # what comes after is the end of the line, which nobody waits for
        now = time.monotonic()
        self._end = self._end or now + WHOLE_S
        try:
            async with asyncio.timeout(max(min(PIECE_S, self._end - now), 0.01)):
                message = await self._receive()
        except TimeoutError as exc:
            raise HTTPException(408, "the body did not come in time") from exc
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._left < 0:
                raise HTTPException(413, "the body is too long")
        return message


class _Answer:
    """An answer as it goes: with what every answer carries, and to somebody who takes it."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *self._added(message.get("headers", ()))]
        try:
            async with asyncio.timeout(TAKE_S):
                await self._send(message)
        except TimeoutError as exc:
            raise NotTakenError("nobody takes the answer") from exc

    def _added(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        there = {name.lower() for name, _ in headers}
        wanted = [*HEADERS, self._kept()]
        if self._scope.get("scheme") == "https":
            wanted.append(_HSTS)
        return [(n.encode(), v.encode()) for n, v in wanted if n.encode() not in there]

    def _kept(self) -> tuple[str, str]:
        """Say how long a browser may keep it."""
        if not self._scope["path"].startswith("/static/"):
            return _NO_STORE
        return _FOR_EVER if self._scope.get("query_string", b"").startswith(b"v=") else _LOOK_FIRST
