"""The socket and the packets on it: no stalls on small packets, one read for many, dead peers noticed."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Final

from connectors.ssh.lean import NeedRekeyException, Packetizer

DEAD_AFTER: Final = 15
"""Seconds after which a connection whose other end has gone silent is given up by the kernel."""
READ_SIZE: Final = 128 * 1024


def dial(host: str, port: int, timeout: float) -> socket.socket:
    """Open a TCP connection that does not stall on small packets and notices a dead peer.

    Arguments:
        host: a name or an address.
        port: the TCP port.
        timeout: seconds for each address that the name has.

    Raises:
        OSError: the name is not known, or no address answers.
    """
    sock = socket.create_connection((host, port), timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, DEAD_AFTER // 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, DEAD_AFTER // 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, (DEAD_AFTER - 1) * 1000)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    return sock


class BufferedPacketizer(Packetizer):
    """Reads whatever the socket has in one go, and acknowledges it at once."""

    _Packetizer__remainder: bytes

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._sock = sock
        self._buffer = bytearray()
        self._handshake_until: float | None = None

    def start_handshake(self, timeout: float) -> None:
        """Begin to count; the transport's owner ends a handshake that takes too long."""
        self._handshake_until = time.monotonic() + timeout

    def handshake_timed_out(self) -> bool:
        """Say whether the handshake has taken too long."""
        return self._handshake_until is not None and time.monotonic() > self._handshake_until

    def complete_handshake(self) -> None:
        """Stop counting."""
        self._handshake_until = None

    def close(self) -> None:
        """Wake the reading thread at once, then close."""
        with suppress(OSError):  # not connected any more is what is wanted
            self._sock.shutdown(socket.SHUT_RDWR)
        super().close()

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:  # noqa: FBT001, FBT002 - its signature
        """Give exactly `n` bytes.

        Raises:
            EOFError: the connection has ended.
            NeedRekeyException: nothing was there to read and new keys are due.
        """
        buffer = self._buffer
        if self._Packetizer__remainder:
            buffer += self._Packetizer__remainder
            self._Packetizer__remainder = b""
        while len(buffer) < n:
            self._read_more(check_rekey=check_rekey)
        data = bytes(buffer[:n])
        del buffer[:n]
        return data

    def _read_more(self, *, check_rekey: bool) -> None:
        if self.handshake_timed_out():
            raise EOFError
        try:
            piece = self._sock.recv(READ_SIZE)
        except (TimeoutError, BlockingIOError):
            if self.closed:
                raise EOFError from None
            if check_rekey and not self._buffer and self.need_rekey():
                raise NeedRekeyException from None
            return
        except OSError:
            if self.closed:
                raise EOFError from None
            raise
        if not piece:
            raise EOFError
        self._buffer += piece
        with suppress(OSError):  # closed in between; the next read says so
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
