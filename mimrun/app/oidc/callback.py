"""The loopback address on which a browser brings the answer of an OpenID provider (RFC 8252 §7.3)."""

from __future__ import annotations

import threading
import urllib.parse
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final, Self

from mimrun.errors import SignInError

_PATH: Final = "/callback"
_PAGE: Final = (
    b"<!doctype html><meta charset=utf-8><title>mimrun</title><p>You can close this page; "
    b"mimrun goes on in the terminal.</p>"
)


class Callback:
    """A small server on 127.0.0.1, at a port of the system's choice, that takes one answer."""

    def __init__(self) -> None:
        self._answer: dict[str, str] = {}
        self._come = threading.Event()
        self._server = HTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where the browser is sent to."""
        return f"http://127.0.0.1:{self._server.server_port}{_PATH}"

    def wait(self, seconds: float) -> Mapping[str, str]:
        """Give the answer's parameters.

        Raises:
            SignInError: none has come in time.
        """
        if not self._come.wait(seconds):
            raise SignInError("nobody has signed in in time; begin again with `mimrun login`")
        return self._answer

    def take(self, target: str) -> bool:
        """Take the first answer that comes to our path; gives whether this was one."""
        parts = urllib.parse.urlsplit(target)
        if parts.path != _PATH:
            return False
        if not self._come.is_set():
            self._answer = dict(urllib.parse.parse_qsl(parts.query, max_num_fields=20))
            self._come.set()
        return True


def _handler(callback: Callback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            taken = callback.take(self.path)
            self.send_response(200 if taken else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Security-Policy", "default-src 'none'")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(_PAGE if taken else b"")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the address holds the code."""

    return Handler
