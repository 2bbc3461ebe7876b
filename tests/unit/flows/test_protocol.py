from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from flows import protocol
from flows.environment import Rooms
from flows.protocol import LONGEST, ask, listen, peer, read, write
from mimrun.errors import RunError


@pytest.fixture
def rooms(tmp_path: Path) -> Rooms:
    """A home whose path is far longer than a socket's address can be."""
    rooms = Rooms(tmp_path / ("long" * 40) / "home")
    rooms.make()
    return rooms


def answer_once(line: socket.socket, raw: bytes | None) -> threading.Thread:
    def serve() -> None:
        caller, _ = line.accept()
        with caller:
            if raw is None:
                write(caller, {"heard": read(caller)})
            else:
                read(caller)
                caller.sendall(raw)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_question_is_answered_however_long_the_homes_path_is(rooms: Rooms) -> None:
    with listen(rooms) as line:
        thread = answer_once(line, None)
        assert ask(rooms.home, {"do": "ping"}) == {"heard": {"do": "ping"}}
        thread.join()
        assert stat.S_IMODE(rooms.socket.stat().st_mode) == 0o600


def test_nobody_there_is_none(rooms: Rooms) -> None:
    assert ask(rooms.home, {"do": "ping"}) is None
    assert ask(rooms.home / "missing", {"do": "ping"}) is None


def test_a_socket_left_by_a_killed_engine_is_none_and_taken_over(rooms: Rooms) -> None:
    listen(rooms).close()
    assert rooms.socket.exists()
    assert ask(rooms.home, {"do": "ping"}) is None
    listen(rooms).close()


@pytest.mark.parametrize("raw", [b"", b"half", b"[]\n", b"not json\n", b"x" * (LONGEST + 5000) + b"\n"])
def test_a_broken_answer_is_none(rooms: Rooms, raw: bytes) -> None:
    with listen(rooms) as line:
        thread = answer_once(line, raw)
        assert ask(rooms.home, {"do": "ping"}) is None
        thread.join()


def test_silence_ends(rooms: Rooms) -> None:
    with listen(rooms):
        assert ask(rooms.home, {"do": "ping"}, 0.05) is None


def test_another_users_engine_is_not_spoken_with(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "peer", lambda line: os.geteuid() + 1)
    with listen(rooms), pytest.raises(RunError, match="another user"):
        ask(rooms.home, {"do": "ping"})


def test_the_peer_is_who_it_is() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer(one) == os.geteuid()
