"""A real HAProxy process on loopback, asked over a unix socket and over TCP."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from connectors.haproxy import Disable, Drain, Enable, HAProxy, HAProxySettings, State
from mimrun.connector import Call, Effect, Failed, Finding, Ok, Target, Unknown

pytestmark = pytest.mark.needs("haproxy")

CONFIG = """
global
  stats socket {folder}/admin.sock mode 600 level admin
  stats socket {folder}/user.sock mode 600 level user
  stats socket ipv4@127.0.0.1:{api} level admin
defaults
  mode tcp
  timeout connect 1s
  timeout client 30s
  timeout server 30s
frontend pg
  bind 127.0.0.1:{front}
  default_backend pgw
backend pgw
  server pg-a 127.0.0.1:{echo}
  server pg-b 127.0.0.1:{echo} check inter 100 disabled
  server pg-c 127.0.0.1:{echo} track pg-b
"""


@dataclass(frozen=True)
class Lab:
    folder: Path
    api: int
    front: int
    process: subprocess.Popen[bytes]

    def haproxy(self, address: str = "", **vars: object) -> HAProxy:
        given = {"haproxy_address": address or f"{self.folder}/admin.sock", "haproxy_backend": "pgw"}
        return HAProxy(HAProxySettings.of(Target("lb1", given | vars)))


def a_call(seconds: float = 20, stop: threading.Event | None = None) -> Call:
    return Call("run/1/lb1/0", time.monotonic() + seconds, stop=stop or threading.Event())


def ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return found


def hold(server: socket.socket) -> None:
    """Accept for ever and keep every connection open."""
    kept = []
    while True:
        try:
            kept.append(server.accept()[0])
        except OSError:
            for conn in kept:
                conn.close()
            return


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    program = shutil.which("haproxy", path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin")
    assert program is not None
    echo = socket.create_server(("127.0.0.1", 0))
    holder = threading.Thread(target=hold, args=(echo,))
    holder.start()
    api, front = ports(2)
    config = CONFIG.format(folder=tmp_path, api=api, front=front, echo=echo.getsockname()[1])
    (tmp_path / "haproxy.cfg").write_text(config)
    with (tmp_path / "haproxy.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-db", "-f", str(tmp_path / "haproxy.cfg")], stderr=log, stdout=log
        )
    try:
        await_true(
            lambda: _answers(tmp_path / "user.sock") or process.poll() is not None,
            (tmp_path / "haproxy.log").read_text,
        )
        assert process.poll() is None, (tmp_path / "haproxy.log").read_text()
        yield Lab(tmp_path, api, front, process)
    finally:
        process.kill()
        process.wait()
        echo.shutdown(socket.SHUT_RDWR)
        echo.close()
        holder.join()


def _answers(path: Path) -> bool:
    """A process that answers has bound all its sockets."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as conn:
        try:
            conn.connect(str(path))
            conn.sendall(b"show info\n")
            return bool(conn.recv(1))
        except OSError:
            return False


def await_true(check: Callable[[], object], why: Callable[[], str] = str) -> None:
    until = time.monotonic() + 10
    while not check():
        assert time.monotonic() < until, why()
        time.sleep(0.01)


def freeze(process: subprocess.Popen[bytes]) -> None:
    """Stop all its threads: the kernel still accepts connections, and nobody answers."""
    process.send_signal(signal.SIGSTOP)
    tasks = Path(f"/proc/{process.pid}/task")
    await_true(lambda: all("\nState:\tT" in (task / "status").read_text() for task in tasks.iterdir()))


def admin(haproxy: HAProxy, server: str = "pg-a") -> str:
    return str(haproxy.perform(State(server=server), a_call()).data["servers"][0]["admin"])


def test_state_gives_every_server(lab: Lab) -> None:
    outcome = lab.haproxy().perform(State(), a_call())
    assert isinstance(outcome, Ok)
    assert not outcome.changed
    seen = {s["server"]: (s["admin"], s["operational"], s["address"]) for s in outcome.data["servers"]}
    assert seen == {
        "pg-a": ("ready", "running", "127.0.0.1"),
        "pg-b": ("maint", "stopped", "127.0.0.1"),
        "pg-c": ("maint", "stopped", "127.0.0.1"),
    }


@pytest.mark.parametrize("over_tcp", [False, True])
def test_disable_drain_and_enable_change_once(lab: Lab, over_tcp: bool) -> None:
    haproxy = lab.haproxy(f"127.0.0.1:{lab.api}" if over_tcp else "")
    # Through a network a command may come late; into a socket of this machine it does not.
    not_there = Finding.UNKNOWN if over_tcp else Finding.NOT_APPLIED
    for action, wanted in (
        (Disable(server="pg-a"), "maint"),
        (Drain(server="pg-a"), "drain"),
        (Enable(server="pg-a"), "ready"),
    ):
        assert haproxy.probe(action, a_call()).finding is not_there
        assert haproxy.check(action, a_call()).changes is True
        first, second = haproxy.perform(action, a_call()), haproxy.perform(action, a_call())
        assert isinstance(first, Ok)
        assert isinstance(second, Ok)
        assert (first.changed, second.changed, first.data["admin"]) == (True, False, wanted)
        assert haproxy.probe(action, a_call()).finding is Finding.APPLIED
        assert haproxy.check(action, a_call()).changes is False


def test_server_that_the_file_disables_can_be_enabled(lab: Lab) -> None:
    outcome = lab.haproxy().perform(Enable(server="pg-b"), a_call())
    assert isinstance(outcome, Ok)
    assert outcome.data["admin"] == "ready"
    assert admin(lab.haproxy(), "pg-c") == "ready"  # it tracks pg-b


def test_server_that_stays_as_it_was_is_a_failure(lab: Lab) -> None:
    outcome = lab.haproxy().perform(Enable(server="pg-c"), a_call())
    assert isinstance(outcome, Failed)
    assert not outcome.clean
    assert outcome.reason == "haproxy: pgw/pg-c is maint, not ready"


def test_disable_leaves_sessions_or_ends_them_all(lab: Lab) -> None:
    haproxy = lab.haproxy()
    with socket.create_connection(("127.0.0.1", lab.front), timeout=5) as client:
        await_true(
            lambda: haproxy.perform(State(server="pg-a"), a_call()).data["servers"][0]["sessions"] == 1
        )
        assert haproxy.perform(Disable(server="pg-a"), a_call()).data["sessions"] == 1
        killing = Disable(server="pg-a", kill_sessions=True)
        assert haproxy.probe(killing, a_call()).finding is Finding.NOT_APPLIED
        assert "1 sessions would be ended" in haproxy.check(killing, a_call()).detail
        outcome = haproxy.perform(killing, a_call())
        assert isinstance(outcome, Ok)
        assert (outcome.changed, outcome.data["sessions"]) == (True, 0)
        assert client.recv(10) == b""
    assert not haproxy.perform(killing, a_call()).changed


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (Disable(server="pg-z"), "no server 'pg-z'; it has: pg-a, pg-b, pg-c"),
        (Disable(server="pg-a", backend="none"), "Can't find backend."),
        (State(backend="none"), "Can't find backend."),
    ],
)
def test_unknown_names_are_refused_and_nothing_is_done(lab: Lab, action: Disable, says: str) -> None:
    outcome = lab.haproxy().perform(action, a_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert says in outcome.reason


def test_socket_without_admin_level_is_refused(lab: Lab) -> None:
    outcome = lab.haproxy(f"{lab.folder}/user.sock").perform(Disable(server="pg-a"), a_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert "level admin" in outcome.reason
    assert admin(lab.haproxy()) == "ready"


def test_second_command_cannot_be_hidden_in_a_name() -> None:
    for name in ("a; shutdown sessions server pgw/pg-a", "a\nb", "a b", ""):
        with pytest.raises(ValueError, match="server"):
            Disable(server=name)


def test_nothing_there_is_unreachable(lab: Lab, tmp_path: Path) -> None:
    for address in (f"{tmp_path}/none.sock", f"127.0.0.1:{ports(1)[0]}"):
        outcome = lab.haproxy(address).perform(State(), a_call())
        assert isinstance(outcome, Failed)
        assert (outcome.clean, outcome.unreachable) == (True, True)


@pytest.mark.parametrize(
    "vars", [{"haproxy_address": ""}, {"haproxy_address": "nowhere"}, {"haproxy_backend": ""}]
)
def test_missing_variables_are_refused(lab: Lab, vars: dict[str, object]) -> None:
    given = {"haproxy_address": f"{lab.folder}/admin.sock", "haproxy_backend": "pgw"} | vars
    outcome = HAProxy(HAProxySettings.of(Target("lb1", given))).perform(State(), a_call())
    assert isinstance(outcome, Failed)
    assert outcome.clean
    assert "haproxy" in outcome.reason


def test_other_service_on_the_port_is_refused(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = threading.Thread(target=_say, args=(server, b"HTTP/1.0 400 Bad Request\r\n\r\n"))
        other.start()
        outcome = lab.haproxy(f"127.0.0.1:{server.getsockname()[1]}").perform(State(), a_call())
        other.join()
    assert isinstance(outcome, Failed)
    assert "no runtime API" in outcome.reason


def _say(server: socket.socket, text: bytes) -> None:
    conn, _ = server.accept()
    with conn:
        conn.recv(1000)
        conn.sendall(text)


def test_process_that_hangs_after_the_command_is_in_doubt(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    haproxy = lab.haproxy(haproxy_timeout=1)
    order = haproxy._order

    def freeze_and_order(command: str, call: Call) -> None:
        freeze(lab.process)
        order(command, call)

    monkeypatch.setattr(haproxy, "_order", freeze_and_order)
    outcome = haproxy.perform(Disable(server="pg-a"), a_call())
    lab.process.send_signal(signal.SIGCONT)
    assert isinstance(outcome, Unknown)
    assert "timed out" in outcome.reason


def test_process_that_hangs_before_the_command_has_done_nothing(lab: Lab) -> None:
    haproxy = lab.haproxy(haproxy_timeout=1)
    haproxy.open()
    freeze(lab.process)
    outcome = haproxy.perform(Disable(server="pg-a"), a_call())
    lab.process.send_signal(signal.SIGCONT)
    assert isinstance(outcome, Failed)
    assert (outcome.clean, outcome.unreachable) == (True, True)


def test_connection_lost_between_two_commands_is_in_doubt(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    haproxy = lab.haproxy()
    order = haproxy._order

    def order_and_die(command: str, call: Call) -> None:
        order(command, call)
        lab.process.kill()
        lab.process.wait()

    monkeypatch.setattr(haproxy, "_order", order_and_die)
    outcome = haproxy.perform(Disable(server="pg-a"), a_call())
    assert isinstance(outcome, Unknown)
    assert outcome.reason.startswith("haproxy: pgw/pg-a was set to maint; then: haproxy: cannot connect")


def test_check_changes_nothing(lab: Lab) -> None:
    haproxy = lab.haproxy()
    actions = [
        Disable(server="pg-a", kill_sessions=True),
        Drain(server="pg-a"),
        Enable(server="pg-b"),
        State(),
    ]
    with socket.create_connection(("127.0.0.1", lab.front), timeout=5):
        await_true(
            lambda: haproxy.perform(State(server="pg-a"), a_call()).data["servers"][0]["sessions"] == 1
        )
        before = haproxy._ask("show servers state pgw", a_call())
        found = [haproxy.check(action, a_call()) for action in actions]
        assert haproxy._ask("show servers state pgw", a_call()) == before
        assert haproxy.perform(State(server="pg-a"), a_call()).data["servers"][0]["sessions"] == 1
    assert [one.changes for one in found] == [True, True, True, False]
    assert found[1].detail == "pgw/pg-a is ready and running, with 1 sessions; would become drain"


def stopping(haproxy: HAProxy, monkeypatch: pytest.MonkeyPatch, stop: threading.Event) -> None:
    """Have a person stop right after the first command that changes something."""
    order = haproxy._order

    def order_and_stop(command: str, call: Call) -> None:
        order(command, call)
        stop.set()

    monkeypatch.setattr(haproxy, "_order", order_and_stop)


def test_stop_after_the_command_is_answered_by_what_became_of_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, haproxy = threading.Event(), lab.haproxy()
    stopping(haproxy, monkeypatch, stop)
    outcome = haproxy.perform(Disable(server="pg-a"), a_call(stop=stop))
    assert isinstance(outcome, Ok)
    assert (outcome.changed, outcome.data["admin"], admin(haproxy)) == (True, "maint", "maint")


def test_stop_between_two_commands_gives_no_second_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, haproxy = threading.Event(), lab.haproxy()
    with socket.create_connection(("127.0.0.1", lab.front), timeout=5) as client:
        await_true(
            lambda: haproxy.perform(State(server="pg-a"), a_call()).data["servers"][0]["sessions"] == 1
        )
        stopping(haproxy, monkeypatch, stop)
        outcome = haproxy.perform(Disable(server="pg-a", kill_sessions=True), a_call(stop=stop))
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
    assert isinstance(outcome, Failed)
    assert not outcome.clean
    assert outcome.reason == "haproxy: stopped by a person: pgw/pg-a is maint, but 1 sessions did not end"


def test_process_that_hangs_is_not_waited_for_after_a_stop(lab: Lab) -> None:
    stop, haproxy = threading.Event(), lab.haproxy()
    haproxy.open()
    freeze(lab.process)
    threading.Timer(0.2, stop.set).start()
    begun = time.monotonic()
    outcome = haproxy.perform(Disable(server="pg-a"), a_call(stop=stop))
    lab.process.send_signal(signal.SIGCONT)
    assert isinstance(outcome, Failed)
    assert (outcome.clean, outcome.unreachable) == (True, False)
    assert time.monotonic() - begun < 2


def test_effects() -> None:
    assert {a.verb: a.effect for a in HAProxy.actions} == {
        "disable": Effect.IDEMPOTENT,
        "drain": Effect.IDEMPOTENT,
        "enable": Effect.IDEMPOTENT,
        "state": Effect.READ,
    }
