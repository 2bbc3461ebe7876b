"""The server's process without engine and worker: how it waits for requests, and how it ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from builders.commands import until
from builders.runs import Bench

from mimrun.app.home import Home
from mimrun.app.server.keeping import EngineKeeper, Household, Pause
from mimrun.app.server.place import find_server, take_seat
from mimrun.app.server.readiness import Readiness
from mimrun.errors import InputError, RefusedError, RunError
from mimrun.web import server as server_module
from mimrun.web.server import Options, SiteServer, config_of
from mimrun.web.site import make_site

SOON_S = 10.0


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def home(bench: Bench) -> Iterator[Home]:
    with bench.home() as home:
        yield home


@contextmanager
def answering(home: Home) -> Iterator[int]:
    """Serve a home in a thread; gives the port."""
    site = make_site(home)
    line = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    line.bind(("127.0.0.1", 0))
    server = SiteServer(config_of(site, Options()), site.state.feed)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [line]})
    thread.start()
    try:
        until(lambda: server.started)
        yield line.getsockname()[1]
    finally:
        server.should_exit = True
        site.state.feed.close()
        thread.join(SOON_S)
        line.close()
        assert not thread.is_alive()


def gone(one: socket.socket) -> bool:
    """Say whether the other end has hung up by now; what it says before does not count."""
    one.settimeout(SOON_S)
    try:
        while one.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def ask(port: int, text: bytes) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), SOON_S)
    one.sendall(text)
    return one


def test_who_sends_a_request_drop_by_drop_holds_no_connection(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "HEAD_S", 0.3)
    with answering(home) as port:
        silent, slow = ask(port, b""), ask(port, b"GET /health HTTP/1.1\r\n")
        end = time.monotonic() + 5
        try:
            while time.monotonic() < end:
                slow.sendall(b"x: y\r\n")
                time.sleep(0.05)
            held = True
        except OSError:
            held = False
        assert not held
        assert gone(silent)
        with ask(port, b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n") as quick:
            assert quick.recv(15).startswith(b"HTTP/1.1 200")
            assert gone(quick), "and who says nothing more after an answer"
        silent.close()
        slow.close()


def test_headers_are_bounded(home: Home) -> None:
    with answering(home) as port:
        text = b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"
        with ask(port, b"") as one:
            try:
                one.sendall(text)
                said = one.recv(12)
            except OSError:
                said = b""
            assert said in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431")


def test_one_home_has_one_seat(bench: Bench) -> None:
    with (
        take_seat(bench.settings),
        pytest.raises(RefusedError, match="is up already"),
        take_seat(bench.settings),
    ):
        pass
    assert find_server(bench.settings) is None
    with take_seat(bench.settings):
        pass


def test_options_are_held_against_each_other(tmp_path: Path) -> None:
    Options().check()
    Options(host="0.0.0.0", behind="10.0.0.1").check()
    Options(host="0.0.0.0", insecure=True).check()
    for wrong in (
        Options(host="10.1.2.3"),
        Options(host="::"),
        Options(tls_cert=tmp_path),
        Options(public_url="ftp://x"),
        Options(public_url="https://"),
        Options(public_url="https://mim.example.org:x"),
        Options(behind="localhost"),
        Options(behind="10.0.0.0/8"),
    ):
        with pytest.raises(InputError):
            wrong.check()


def test_it_answers_to_its_own_names() -> None:
    names = Options(host="10.1.2.3", insecure=True, public_url="https://MIM.example.org:8443").names()
    assert names.knows("mim.example.org:8443")
    assert names.knows("10.1.2.3:8420")
    assert names.knows("localhost")
    assert not names.knows("example.org")
    assert not Options().names().knows("10.1.2.3")


def test_it_is_ready_when_everything_is_there_and_says_what_is_not(home: Home) -> None:
    seconds = 0.0
    parts = {"worker": "up", "engine": "starting"}
    readiness = Readiness(home, lambda: parts, lambda: seconds)
    before = home.store.head().size
    found = {part.name: part.ok for part in readiness.look()}
    assert found == {"log": True, "key": True, "people": True, "engine": False, "worker": True}
    assert home.store.head().size == before, "that the log can be written is seen without writing"
    parts["engine"] = "up"
    assert not all(part.ok for part in readiness.look()), "who asks more often is no burden"
    seconds = 2.0
    assert all(part.ok for part in readiness.look())
    home.settings.people.write_text("people: [")
    seconds = 4.0
    assert [part.name for part in readiness.look() if not part.ok] == ["people"]


def test_a_log_that_cannot_be_written_is_not_ready(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise server_module.SettingsError("no room")

    monkeypatch.setattr(type(home.store), "append", broken)
    (log,) = (part for part in Readiness(home).look() if part.name == "log")
    assert (log.ok, log.detail) == (False, "no room")


class Engine:
    """An engine that a test starts and ends."""

    def __init__(self) -> None:
        self.running = self.ready = False
        self.woken: list[int | None] = []
        self.left = self.downed = 0
        self.broken = False

    def status(self) -> Engine:
        if self.broken:
            raise RunError("its home is somebody else's")
        return self

    def wake(self, idle_exit_s: int | None) -> None:
        self.woken.append(idle_exit_s)

    def leave(self) -> bool:
        self.left += 1
        self.running = False
        return True

    def down(self, *, force: bool = False) -> bool:
        self.downed += force
        self.running = False
        return True


def keeper(home: Home, engine: Engine) -> EngineKeeper:
    return EngineKeeper(home.settings, engine)  # type: ignore[arg-type]


def test_an_engine_that_was_there_before_is_left_there(home: Home) -> None:
    engine = Engine()
    engine.running = engine.ready = True
    kept = keeper(home, engine)
    kept.look()
    assert kept.state == "up"
    kept.leave()
    kept.kill()
    assert (engine.left, engine.downed, engine.running) == (0, 0, True)
    assert kept.gone()


def test_an_own_engine_is_started_told_that_it_is_needed_and_left(home: Home) -> None:
    engine = Engine()
    kept = keeper(home, engine)
    kept.look()
    assert (kept.state, engine.woken) == ("starting", [60])
    kept.look()
    assert engine.woken == [60], "a second start waits a while"
    engine.running = True
    kept.look()
    assert (kept.state, len(engine.woken)) == ("starting", 2)
    engine.ready = True
    kept.look()
    assert kept.state == "up"
    assert not kept.gone()
    kept.leave()
    assert (engine.left, kept.gone()) == (1, True)


def test_an_engine_that_cannot_be_had_ends_no_server(home: Home) -> None:
    engine = Engine()
    engine.broken = True
    kept = keeper(home, engine)
    kept.look()
    assert kept.state == "down"
    assert "its home is somebody else" in home.settings.program_log.read_text()


def test_what_ends_at_once_is_started_again_after_longer_and_longer() -> None:
    seconds = 0.0
    pause = Pause(lambda: seconds)
    waited = []
    for _ in range(8):
        assert pause.due()
        pause.started()
        assert not pause.due()
        waited.append(pause.next - seconds)
        seconds = pause.next
    assert waited == [1, 2, 4, 8, 16, 32, 60, 60]
    pause.lives()
    assert pause.length == 60
    seconds += 400
    pause.lives()
    assert pause.length == 1


def test_whoever_hurries_waits_for_nothing(home: Home) -> None:
    engine = Engine()
    kept = keeper(home, engine)
    kept.look()
    engine.running = True
    engine.leave = lambda: True  # type: ignore[method-assign]
    household = Household(None, kept)
    household.begin()
    household.end(lambda: True)
    assert engine.downed == 1
