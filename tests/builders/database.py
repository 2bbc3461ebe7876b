"""What the tests of the postgres connector share: a real pair, connectors to it, and a line that is cut."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from connectors.postgres import Postgres
from connectors.postgres.actions import PostgresSettings
from mimrun.connector import Call, Ok, Outcome, Target
from mimrun.lab import folder, leftover
from mimrun.lab.postgres import PostgresPair
from mimrun.lab.postgres_server import Instance


@contextmanager
def a_pair(net: str) -> Iterator[PostgresPair]:
    """A primary and its standby, of which nothing is left afterwards."""
    with folder.temporary() as place, PostgresPair(place / "pg", net=net) as pair:
        yield pair
        pair.stop()
        assert leftover.find_all(place) == []


def target_of(server: Instance, **vars: object) -> Target:
    """The server as an inventory would give it, with other variables where they are named."""
    given = {
        "ansible_host": server.host,
        "postgres_port": server.port,
        "postgres_user": server.user,
        "postgres_password_file": str(server.password_file),
    }
    return Target(server.name, given | vars)  # type: ignore[arg-type]  # what a test gives is JSON


@contextmanager
def connected(server: Instance, **vars: object) -> Iterator[Postgres]:
    """A connector of its own to a server."""
    postgres = Postgres(PostgresSettings.of(target_of(server, **vars)))
    try:
        yield postgres
    finally:
        postgres.close()


def a_call(seconds: float = 20, **more: Any) -> Call:
    """A call that is over after so many seconds."""
    return Call(**{"key": "run/1/db1/0", "deadline": time.monotonic() + seconds, **more})


def await_true(check: Callable[[], object], seconds: float = 10) -> None:
    """Ask until the answer is yes."""
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)


def rows(outcome: Outcome) -> Any:
    """The rows of an answer that is one."""
    assert isinstance(outcome, Ok), outcome
    return outcome.data["rows"]


class Cutter:
    """Stands before a server and cuts the line when the client says a word."""

    def __init__(self, server: Instance, word: bytes, *, forward: bool) -> None:
        self.server, self.word, self.forward = server, word, forward
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        """Carry one connection, up to the word."""
        client, _ = self.listener.accept()
        with client, socket.create_connection((self.server.host, self.server.port)) as server:
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    cut = ready is client and self.word in data
                    if not cut or self.forward:
                        (server if ready is client else client).sendall(data)
                    if cut:
                        if self.forward:
                            server.recv(65536)  # the server has answered; the client will not hear it
                        return

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@contextmanager
def through_cutter(server: Instance, word: bytes, *, forward: bool) -> Iterator[Postgres]:
    """A connector whose line is cut at a word, before the server gets it or after it has answered."""
    cutter = Cutter(server, word, forward=forward)
    try:
        with connected(
            server, postgres_host="127.0.0.1", postgres_port=cutter.port, postgres_sslmode="disable"
        ) as postgres:
            yield postgres
    finally:
        cutter.close()
