"""A real HTTP server on loopback that answers as a test says, byte for byte where it has to."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True)
class Answer:
    """What is said back: `value` as JSON, or `body` as it is; `raw` replaces all of it and ends the connection."""

    status: int = 200
    value: object = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    hang: bool = False
    """Afterwards nothing more comes, and the connection stays."""
    drip: bytes = b""
    """Afterwards this comes, byte by byte and without end."""


class Answering(ThreadingHTTPServer):
    """The server; `seen` has all that it was asked."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.release = answer, threading.Event()
        self.seen: list[Asked] = []
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *arguments: object) -> None:
        """A client that goes away is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Answering

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), dict(self.headers), body)
        self.server.seen.append(asked)
        answer = self.server.answer(asked)
        if answer.raw is not None:
            self.close_connection = True
            self.wfile.write(answer.raw)
            self._go_on(answer)
            return
        content = answer.body if answer.body is not None else json.dumps(answer.value).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(content)

    def _go_on(self, answer: Answer) -> None:
        if answer.hang:
            self.server.release.wait(20)
        with suppress(OSError):
            while answer.drip and not self.server.release.wait(0.01):
                self.wfile.write(answer.drip)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

    def log_message(self, *arguments: object) -> None:
        """Nothing is said of requests."""


@contextmanager
def answering(
    answer: Callable[[Asked], Answer], *, context: ssl.SSLContext | None = None
) -> Iterator[Answering]:
    """Run a server for the length of a test."""
    server = Answering(answer)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
