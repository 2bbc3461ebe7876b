"""A chat that takes messages over HTTP, and a mail server: both real, on ports of their own."""

from __future__ import annotations

import email
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from mimrun.lab.loopback import free_ports


@dataclass
class Chat:
    """What a chat was told.

    Arguments:
        status: what it answers with.
    """

    port: int = 0
    status: int = 200
    messages: list[dict[str, str]] = field(default_factory=list)
    tries: int = 0

    @property
    def address(self) -> str:
        """As Apprise writes it, with a password in it."""
        return f"json://teller:{PASSWORD}@127.0.0.1:{self.port}/room"


PASSWORD = "correct-horse-battery"


@contextmanager
def chatting() -> Iterator[Chat]:
    """Run a chat."""
    chat = Chat()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            chat.tries += 1
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if chat.status == 200:
                chat.messages.append(body)
            self.send_response(chat.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Mailbox:
    """What a mail server took: recipients, subject and text of each message."""

    port: int = 0
    mails: list[tuple[str, str, str]] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        message = email.message_from_bytes(envelope.content or b"", policy=default)
        text = message.get_body(("plain",))
        words = text.get_content() if text is not None else ""
        self.mails.append((",".join(envelope.rcpt_tos), str(message["Subject"]), words))
        return "250 taken"


@contextmanager
def mailing() -> Iterator[Mailbox]:
    """Run a mail server."""
    box = Mailbox()
    (box.port,) = free_ports(["127.0.0.1"])
    server = Controller(box, hostname="127.0.0.1", port=box.port)
    server.start()
    try:
        yield box
    finally:
        server.stop()
