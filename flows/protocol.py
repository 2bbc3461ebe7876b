"""How the command line speaks with the engine: one JSON line each way over a unix socket in mimrun's home.

Both sides see that the other one is the same user.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final

from flows.environment import Rooms
from mimrun.canonical import Json
from mimrun.errors import RunError

LONGEST: Final = 65536
"""Bytes in a line."""


def ask(home: Path, question: Mapping[str, Json], seconds: float = 2.0) -> dict[str, Json] | None:
    """Ask the engine of a home.

    Arguments:
        home: mimrun's home.
        question: `{"do": "ping"}` and the like.
        seconds: how long to wait for the answer.

    Returns:
        the answer, or None when no engine is there or it does not answer in time.

    Raises:
        RunError: whoever listens there is another user's process.
    """
    try:
        with _place(Rooms(home).socket) as address, socket.socket(socket.AF_UNIX) as line:
            line.settimeout(seconds)
            line.connect(address)
            if peer(line) != os.geteuid():
                raise RunError(f"{Rooms(home).socket} is served by another user; not speaking with it")
            write(line, question)
            return read(line)
    except (OSError, ValueError):
        return None


def listen(rooms: Rooms) -> socket.socket:
    """Take the engine's place in the home; who was there before is known to be gone."""
    rooms.socket.unlink(missing_ok=True)
    line = socket.socket(socket.AF_UNIX)
    try:
        with _place(rooms.socket) as address:
            line.bind(address)
        rooms.socket.chmod(0o600)
        line.listen(16)
    except BaseException:
        line.close()
        raise
    return line


def peer(line: socket.socket) -> int:
    """Give the user id of the process at the other end (SO_PEERCRED, unix(7))."""
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def write(line: socket.socket, message: Mapping[str, Json]) -> None:
    """Send one message."""
    line.sendall(json.dumps(message).encode() + b"\n")


def read(line: socket.socket) -> dict[str, Json]:
    """Receive one message.

    Raises:
        ValueError: it is too long, cut off, or not an object.
        OSError: the line broke or was silent for too long.
    """
    got = bytearray()
    while not got.endswith(b"\n"):
        piece = line.recv(4096)
        if not piece or len(got) > LONGEST:
            raise ValueError("a message was cut off or too long")
        got += piece
    message = json.loads(got)
    if not isinstance(message, dict):
        raise ValueError("a message has to be an object")
    return message


@contextlib.contextmanager
def _place(path: Path) -> Generator[str, None, None]:
    """Give an address for a socket whose path may be longer than the 107 bytes an address can have."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
