"""The exporter's own process: a web server with one page, the metrics.

    python -m mimrun.lab.exporting NOTES HOST PORT

NOTES is the client's file, see `mimrun.lab.writing`. It ends at SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mimrun.lab.exporter import Metrics


class Page(BaseHTTPRequestHandler):
    """Answers GET /metrics."""

    protocol_version = "HTTP/1.1"
    metrics: Metrics
    lock = threading.Lock()

    def do_GET(self) -> None:
        """Answer with the metrics of this moment."""
        found = self.path.partition("?")[0] == "/metrics"
        with Page.lock:
            body = Page.metrics.text(time.monotonic()).encode() if found else b"the metrics are at /metrics\n"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing of requests: there are four a second."""


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    Page.metrics = Metrics(Path(sys.argv[1]))
    server = ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), Page)
    server.daemon_threads = True
    server.serve_forever()
