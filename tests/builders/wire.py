"""A wire between a client and a host that can be cut, and that can keep back what it was given to carry."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

RESET = struct.pack("ii", 1, 0)


class Link:
    """One connection over the wire: the client's end and the host's end."""

    def __init__(self, client: socket.socket, host: socket.socket) -> None:
        self.client, self.host = client, host
        self.lock = threading.Lock()
        self.kept_back: list[bytes] | None = None
        self.is_mute = False
        self.to_client = 0
        self.moved = time.monotonic()
        self.threads = [threading.Thread(target=run) for run in (self._up, self._down)]
        for sock in (client, host):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for thread in self.threads:
            thread.start()

    def _up(self) -> None:
        with suppress(OSError):
            while data := self.client.recv(65536):
                with self.lock:
                    self.moved = time.monotonic()
                    if self.kept_back is not None:
                        self.kept_back.append(data)
                    else:
                        self.host.sendall(data)

    def _down(self) -> None:
        with suppress(OSError):
            while data := self.host.recv(65536):
                self.moved = time.monotonic()
                self.to_client += len(data)
                if not self.is_mute:
                    with suppress(OSError):
                        self.client.sendall(data)


class Wire:
    """Carries connections from an address of its own to a host.

    Arguments:
        target: the host's address and port.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.links: list[Link] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where clients connect to, on 127.0.0.1."""
        return int(self._server.getsockname()[1])

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self.links.append(Link(client, socket.create_connection(self.target)))

    def quiet_for(self) -> float:
        """Seconds since anything was carried."""
        return time.monotonic() - max(link.moved for link in self.links)

    def keep_back(self) -> None:
        """Take everything from the clients of now, and bring the host nothing of it."""
        for link in self.links:
            with link.lock:
                link.kept_back = []

    def keeps_back(self) -> int:
        """Bytes that were taken and not brought."""
        return sum(len(data) for link in self.links for data in link.kept_back or ())

    def mute(self) -> None:
        """Bring the clients of now nothing more of what the host says."""
        for link in self.links:
            link.is_mute = True

    def cut(self) -> None:
        """Break the connections of now for their clients; the host does not notice."""
        for link in self.links:
            with suppress(OSError):
                link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                link.client.shutdown(socket.SHUT_RDWR)
            link.client.close()

    def bring(self) -> None:
        """Bring the host, late, what was kept back."""
        for link in self.links:
            with link.lock:
                late, link.kept_back = link.kept_back or [], None
                for data in late:
                    link.host.sendall(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        for link in self.links:
            for sock in (link.client, link.host):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
            for thread in link.threads:
                thread.join()
