"""An API in the form of Prometheus', that answers what a test says."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs


class PrometheusApi:
    """Answers queries with series and values; or with anything else that it is given.

    Arguments:
        series: by the text of `key=value,...`, the value.
    """

    def __init__(self, **series: str) -> None:
        self.series: dict[str, str] = dict(series)
        self.raw: tuple[int, bytes] | None = None
        self.asked: list[tuple[str, str]] = []
        self.hangs = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self) -> tuple[int, bytes]:
        """Give status and body."""
        if self.raw is not None:
            return self.raw
        result = [
            {
                "metric": {"__name__": "up", **dict(pair.split("=", 1) for pair in name.split(",") if pair)},
                "value": [1795312220.1, value],
            }
            for name, value in self.series.items()
        ]
        return 200, json.dumps(
            {"status": "success", "data": {"resultType": "vector", "result": result}}
        ).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                api.asked.append((parse_qs(body)["query"][0], self.headers.get("Authorization", "")))
                if api.hangs.is_set():
                    api.hangs.wait(0.001)
                    self.connection.settimeout(30)
                    self.rfile.read(1)  # until whoever asked has gone
                    return
                status, answer = api.answer()
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
