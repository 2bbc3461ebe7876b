"""The web service of a systemd host: a small real server that can be made ill.

It runs inside the host by the machine's own Python and stands alone. Its settings are in the file it
is given; settings that cannot be read keep it from starting. SIGUSR1 makes it ill: it goes on running
and answers 503 until it is started anew, as a server does whose pool of workers is stuck.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Page(BaseHTTPRequestHandler):
    """Answers GET /healthz with the service's state."""

    ill = False
    text = ""

    def do_GET(self) -> None:
        """Answer 200 with the text of the settings, or 503 when ill."""
        status = 503 if Page.ill else 200
        body = json.dumps(
            {"host": socket.gethostname(), "ok": not Page.ill, "pid": os.getpid(), "text": Page.text}
        )
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) + 1))
        self.end_headers()
        self.wfile.write(body.encode() + b"\n")

    def log_message(self, format: str, *arguments: object) -> None:
        """Write to the journal only what was not answered with 200."""
        if Page.ill:
            super().log_message(format, *arguments)


def fall_ill(_number: int, _frame: object) -> None:
    """Go on running without being of use."""
    Page.ill = True


def tell_systemd(word: str) -> None:
    """Say that the service is ready (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(word.encode(), "\0" + address[1:] if address[0] == "@" else address)


if __name__ == "__main__":
    settings = json.loads(Path(sys.argv[1]).read_text())
    Page.text = str(settings["text"])
    server = ThreadingHTTPServer(("0.0.0.0", int(settings["port"])), Page)  # noqa: S104 - a host without a way out
    signal.signal(signal.SIGUSR1, fall_ill)
    tell_systemd("READY=1")
    server.serve_forever()
