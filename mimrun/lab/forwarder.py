"""A forwarder: takes connections on this machine's loopback and goes on inside a network namespace.

A socket belongs to the namespace that it was made in. The listening socket is made before the process
enters the namespace, the connections to the hosts are made after it: the process needs no route between
the two, and there is none.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Final

CONNECT: Final = 2.0
"""Seconds a host gets to answer; a client is then refused."""

CHUNK: Final = 65536
RESET: Final = struct.pack("ii", 1, 0)


def listen(address: str) -> socket.socket:
    """Make the listening socket, on a free port of a loopback address."""
    return socket.create_server((address, 0), backlog=128)


def serve(listener: socket.socket, target: tuple[str, int]) -> None:
    """Take connections for ever, in threads of their own; return at once.

    Arguments:
        listener: what `listen` gave.
        target: the host's address and port, as seen from this thread's network namespace.
    """
    threading.Thread(target=_accept, args=(listener, target), daemon=True).start()


def _accept(listener: socket.socket, target: tuple[str, int]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_connect, args=(client, target), daemon=True).start()


def _connect(client: socket.socket, target: tuple[str, int]) -> None:
    try:
        host = socket.create_connection(target, timeout=CONNECT)
    except OSError:
        # A reset, not an end: the client must not take it for an answer.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        return
    for sock in (client, host):
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    back = threading.Thread(target=_copy, args=(host, client), daemon=True)
    back.start()
    _copy(client, host)
    back.join()
    client.close()
    host.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
        return
    # One side was reset: reset the other, also when it waits for us.
    for sock in (source, sink):
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
