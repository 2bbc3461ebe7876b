"""Waiting: real time in milliseconds, real ports on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from connectors.wait import Duration, Port, Wait, WaitSettings
from mimrun.connector import Call, Effect, Failed, Ok, Target


def a_call(seconds: float = 20, stop: threading.Event | None = None) -> Call:
    return Call("run/1/x/0", time.monotonic() + seconds, stop=stop or threading.Event())


def wait(**vars: object) -> Wait:
    return Wait(WaitSettings.of(Target("127.0.0.1", vars)))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("fields", "milliseconds"),
    [({"seconds": 2}, 2000), ({"for": "250ms"}, 250), ({"for": "1h1m1s1ms"}, 3_661_001), ({"seconds": 0}, 0)],
)
def test_length_is_read(fields: dict[str, object], milliseconds: int) -> None:
    action = Duration.model_validate(fields)
    assert action.milliseconds() == milliseconds
    assert Duration.model_validate(action.model_dump(exclude_none=True)) == action


@pytest.mark.parametrize("fields", [{}, {"seconds": 1, "for": "1s"}, {"for": "soon"}, {"seconds": -1}])
def test_no_length_or_two_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Duration.model_validate(fields)


def test_duration_waits_that_long_and_changes_nothing() -> None:
    outcome = wait().perform(Duration.model_validate({"for": "120ms"}), a_call())
    assert isinstance(outcome, Ok)
    assert not outcome.changed
    assert 120 <= outcome.data["waited_ms"] < 2000


def test_stop_ends_a_wait_at_once() -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    outcome = wait().perform(Duration(seconds=60), a_call(stop=stop))
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert outcome.reason.startswith("stopped by a person: ")
    assert outcome.data["waited_ms"] < 2000


def test_stop_ends_a_look_at_a_silent_port_at_once() -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        queued = [socket.socket() for _ in range(3)]
        for client in queued:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        threading.Timer(0.1, stop.set).start()
        outcome = wait().perform(Port(port=server.getsockname()[1]), a_call(stop=stop))
        for client in queued:
            client.close()
    assert isinstance(outcome, Failed)
    assert (outcome.clean, outcome.reason.startswith("stopped by a person: ")) == (True, True)
    assert outcome.data["waited_ms"] < 1000


def test_stop_before_the_first_look_is_no_success(listener: socket.socket) -> None:
    stop = threading.Event()
    stop.set()
    for action in (Port(port=listener.getsockname()[1]), Duration(seconds=0)):
        assert isinstance(wait().perform(action, a_call(stop=stop)), Failed)


def test_deadline_ends_a_wait_at_once() -> None:
    for action in (Duration(seconds=60), Port(port=1, host="127.0.0.1")):
        outcome = wait().perform(action, a_call(0.1))
        assert isinstance(outcome, Failed)
        assert outcome.reason.startswith("the step's deadline came: ")
        assert outcome.data["waited_ms"] < 2000


def test_port_that_is_as_wanted_is_seen_at_once(listener: socket.socket, closed_port: int) -> None:
    assert isinstance(wait().perform(Port(port=listener.getsockname()[1]), a_call()), Ok)
    assert isinstance(
        wait(ansible_host="127.0.0.1").perform(Port(port=closed_port, state="closed"), a_call()), Ok
    )


def test_port_that_opens_later_is_waited_for(closed_port: int) -> None:
    servers: list[socket.socket] = []
    timer = threading.Timer(0.3, lambda: servers.append(socket.create_server(("127.0.0.1", closed_port))))
    timer.start()
    outcome = wait().perform(Port(port=closed_port, timeout=10), a_call())
    timer.join()
    servers[0].close()
    assert isinstance(outcome, Ok)


def test_port_that_stays_says_how_it_is(listener: socket.socket, closed_port: int) -> None:
    outcome = wait().perform(Port(port=closed_port, timeout=0), a_call())
    assert outcome.reason == f"after 0 s 127.0.0.1:{closed_port} refuses connections"
    port = listener.getsockname()[1]
    outcome = wait().perform(Port(port=port, state="closed", timeout=0), a_call())
    assert outcome.reason == f"after 0 s 127.0.0.1:{port} is open"


def test_silence_is_no_proof_of_a_closed_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.wait.PATIENCE", 0.1)
    # A full accept queue is the one silence that loopback has: the kernel drops further SYNs.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        queued = [socket.socket() for _ in range(3)]
        for client in queued:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        silent = {"port": server.getsockname()[1], "state": "closed", "timeout": 0}
        assert "does not answer" in wait().perform(Port(**silent), a_call()).reason
        assert isinstance(wait().perform(Port(**silent, accept_silence=True), a_call()), Ok)
        for client in queued:
            client.close()


def test_name_without_an_address_is_neither_open_nor_closed() -> None:
    for state in ("open", "closed"):
        action = Port(port=1, host="no-such-host.invalid", state=state, timeout=0, accept_silence=True)
        assert "has no address" in wait().perform(action, a_call()).reason


def test_all_is_reading() -> None:
    assert {action.effect for action in Wait.actions} == {Effect.READ}
    assert wait().check(Duration(seconds=1), a_call()).changes is False
