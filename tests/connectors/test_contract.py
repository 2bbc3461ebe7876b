"""What every connector promises, whatever it speaks to. One suite over all that are installed.

A new connector has to be put into WAYS: how to meet nobody, how to lose an answer, and an example of
each of its actions. What is special to a connector is tested in its own file.
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from mimrun import canonical
from mimrun.catalog import installed_catalog
from mimrun.connector import (
    Action,
    AnyConnector,
    Call,
    Connector,
    Effect,
    Failed,
    Finding,
    Output,
    Probed,
    Refused,
    Secret,
    Target,
    Unknown,
    Unreachable,
    Window,
)
from mimrun.secret import Masker

CATALOG = installed_catalog()
ROOT = Path(__file__).resolve().parents[2]
SECRET = "s3cr3t-3f9a1c77e5"


def drop(conn: socket.socket) -> None:
    """Take a question, and hang up."""
    conn.recv(65536)


def greet_postgres(conn: socket.socket) -> None:
    """Let anybody in. Source: PostgreSQL, chapter 54."""
    if conn.recv(65536)[4:8] == struct.pack("!I", 80877103):  # SSLRequest
        conn.sendall(b"N")
        conn.recv(65536)
    conn.sendall(b"R" + struct.pack("!II", 8, 0) + b"S" + struct.pack("!I", 25) + b"client_encoding\0UTF8\0")
    conn.sendall(b"Z" + struct.pack("!I", 5) + b"I")


def begin_postgres(conn: socket.socket) -> None:
    """Let anybody in, and begin a transaction."""
    greet_postgres(conn)
    conn.recv(65536)
    conn.sendall(b"C" + struct.pack("!I", 10) + b"BEGIN\0" + b"Z" + struct.pack("!I", 5) + b"T")


def greet_haproxy(conn: socket.socket) -> None:
    """Say who one is when that is asked; the next question is another connection's."""
    if conn.recv(65536, socket.MSG_PEEK) == b"show info\n":
        conn.recv(65536)
        conn.sendall(b"Name: HAProxy\n\n")
        conn.shutdown(socket.SHUT_WR)


def greet_nobody(conn: socket.socket) -> None:
    """Let the client speak first."""


@dataclass(frozen=True)
class Way:
    """How one connector can be brought into the situations of this suite.

    Arguments:
        examples: arguments for each verb.
        variables: a target's variables, with the address where nobody or somebody listens.
        greet: what a server does until an action can be asked for.
        takes: the same, until the action is its.
        loses: the verb of an action that such a server takes, and never answers.
        lasts: the verb and the arguments of an action that does not end by itself.
    """

    examples: dict[str, dict[str, Any]]
    variables: Callable[[str, int], dict[str, Any]] | None = None
    greet: Callable[[socket.socket], None] | None = None
    takes: Callable[[socket.socket], None] | None = None
    loses: str | None = None
    lasts: tuple[str, dict[str, Any]] | None = None


WAYS = {
    "haproxy": Way(
        {
            "disable": {"server": "pg-a", "backend": "pgw", "kill_sessions": True},
            "drain": {"server": "pg-a", "backend": "pgw"},
            "enable": {"server": "pg-a", "backend": "pgw"},
            "state": {"backend": "pgw"},
        },
        lambda host, port: {"haproxy_address": f"{host}:{port}", "haproxy_timeout": 2},
        greet=greet_haproxy,
        loses="state",
        lasts=("disable", {"server": "pg-a", "backend": "pgw"}),
    ),
    "http": Way(
        {"request": {"url": "/x", "method": "POST", "json": {"a": 1}}},
        lambda host, port: {"http_base_url": f"http://{host}:{port}", "http_token_env": "CONTRACT_SECRET"},
        greet=greet_nobody,
        loses="request",
        lasts=("request", {"url": "/x", "method": "POST"}),
    ),
    "local": Way(
        {
            "command": {"argv": ["true"]},
            "shell": {"cmd": "true"},
            "script": {"content": "true"},
            "copy": {"dest": "/nonexistent/x", "content": "x"},
        },
        lasts=("shell", {"cmd": "sleep 60 & sleep 60"}),
    ),
    "postgres": Way(
        {
            "query": {"sql": "select %s::int as n", "params": [1]},
            "execute": {"sql": "select f(%(a)s)", "params": {"a": [1, {"b": None}]}},
            "promote": {"timeout": 5},
            "replication": {},
            "rewind": {"data_dir": "/nonexistent"},
        },
        lambda host, port: {
            "postgres_host": host,
            "postgres_port": port,
            "postgres_password_env": "CONTRACT_SECRET",
        },
        greet=greet_postgres,
        takes=begin_postgres,
        loses="execute",
        lasts=("execute", {"sql": "select f()"}),
    ),
    "ssh": Way(
        {
            "command": {"argv": ["true"]},
            "shell": {"cmd": "true"},
            "script": {"src": "/nonexistent"},
            "upload": {"dest": "/tmp/x", "content": "x"},
            "download": {"src": "/tmp/x", "dest": "/tmp/y"},
            "service": {"unit": "x", "state": "started"},
        },
        lambda host, port: {
            "ansible_host": host,
            "ansible_port": port,
            "ssh_known_hosts": "/dev/null",
            "ssh_key_passphrase": "env:CONTRACT_SECRET",
            "ssh_connect_timeout": 2,
        },
        # Losing an answer takes a session of real encryption: tests/connectors/test_ssh_endings.py does it.
    ),
    "wait": Way(
        {"duration": {"for": "1ms"}, "port": {"port": 1, "timeout": 0}}, lasts=("duration", {"seconds": 60})
    ),
}
UNPREDICTABLE = {
    "http.request": "what a request would change only the service knows",
    "local.command": "what a program would change is not known before it runs",
    "local.script": "what a program would change is not known before it runs",
    "local.shell": "what a program would change is not known before it runs",
    "postgres.execute": "which rows a statement would write is not known before it runs",
    "ssh.command": "what a program would change is not known before it runs",
    "ssh.script": "what a program would change is not known before it runs",
    "ssh.shell": "what a program would change is not known before it runs",
}
"""Actions that change something and cannot say what, and why; every other one says before and after."""
UNPROBEABLE = {
    "http.request": "HTTP has no question for whether a request was done",
}
"""Actions that change something and fall back on the probe that knows nothing, and why."""
NAMES = sorted(CATALOG.names)
REMOTE = sorted(name for name, way in WAYS.items() if way.variables is not None)
LOSING = sorted(name for name, way in WAYS.items() if way.loses is not None)
LASTING = sorted(name for name, way in WAYS.items() if way.lasts is not None)
ACTIONS = [(name, action) for name in NAMES for action in CATALOG.connector(name).actions]
every_connector = pytest.mark.parametrize("name", NAMES)
every_action = pytest.mark.parametrize(("name", "action"), ACTIONS, ids=[f"{n}.{a.verb}" for n, a in ACTIONS])


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTRACT_SECRET", SECRET)


def a_call(seconds: float = 5, stop: threading.Event | None = None) -> Call:
    output = Output(Masker([Secret(SECRET)]))
    return Call("run/1/x/0", time.monotonic() + seconds, output=output, stop=stop or threading.Event())


def connector_of(name: str, host: str = "127.0.0.1", port: int = 1) -> AnyConnector:
    cls = CATALOG.connector(name)
    way = WAYS[name].variables
    return cls(cls.settings_type.of(Target("x", way(host, port) if way else {})))


def example(name: str, verb: str) -> Action:
    return CATALOG.action(f"{name}.{verb}").model_validate(WAYS[name].examples[verb])


@contextmanager
def serving(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that treats each connection so, and then closes it."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                conn, _ = server.accept()
                with conn, suppress(OSError):
                    behave(conn)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_every_connector_is_in_this_suite() -> None:
    assert set(WAYS) == set(NAMES)
    assert {name: set(way.examples) for name, way in WAYS.items()} == {
        name: {action.verb for action in CATALOG.connector(name).actions} for name in NAMES
    }


@every_connector
def test_the_module_is_cheap_to_import(name: str) -> None:
    module = CATALOG.connector(name).__module__.split(".")[1]
    heavy = "{'httpx', 'httpcore', 'psycopg', 'paramiko', 'cryptography'}"
    code = f"import sys, connectors.{module}; print(sorted({heavy} & set(sys.modules)))"
    asked = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout == "[]\n"


@every_action
def test_action_says_what_it_is_for_and_what_its_fields_mean(name: str, action: type[Action]) -> None:
    assert re.match(r"[A-Z].*[.!?:]", action.__doc__ or ""), "the docstring begins with a sentence"
    assert re.fullmatch(r"[a-z][a-z0-9_]*", action.verb)
    assert isinstance(action.effect, Effect)
    for field, info in action.model_fields.items():
        assert (info.description or "").endswith("."), f"{field}: the description is a sentence"


@every_action
def test_action_and_its_fields_are_on_the_reference_page(name: str, action: type[Action]) -> None:
    page = (ROOT / "docs" / "reference" / "connectors" / f"{name}.md").read_text("utf-8")
    assert f"{name}.{action.verb}" in page
    missing = [
        info.alias or field
        for field, info in action.model_fields.items()
        if f"`{info.alias or field}`" not in page
    ]
    assert not missing


def some_values(action: type[Action], field: str) -> list[object]:
    """Values of an argument that its type allows, among them every one that tells two classes apart."""
    annotation = action.model_fields[field].annotation
    known: dict[object, list[object]] = {bool: [False, True], str: ["", "x"], type(None): [None]}
    found: list[object] = []
    for kind in (annotation, *get_args(annotation)):
        found += get_args(kind) if get_origin(kind) is Literal else known.get(kind, [])
    return found


@every_action
def test_the_effect_class_hangs_on_the_declared_arguments_and_on_no_other(
    name: str, action: type[Action]
) -> None:
    read: set[str] = set()

    class Watched(action):  # type: ignore[valid-type,misc]
        def __getattribute__(self, attribute: str) -> Any:
            read.update({attribute} & action.model_fields.keys())
            return super().__getattribute__(attribute)

    fields = {
        field for field, info in action.model_fields.items() if (info.alias or field) in action.effect_fields
    }
    choices = [[(field, value) for value in some_values(action, field)] for field in sorted(fields)]
    assert all(choices), "say in some_values what such an argument may be"
    classes = {Watched.model_construct(**dict(chosen)).effect_class() for chosen in product(*choices)}
    assert len(fields) == len(action.effect_fields)
    assert read == fields
    assert action.effect in classes, "the weakest class is one that some arguments have"


@every_connector
def test_variables_are_on_the_reference_page(name: str) -> None:
    page = (ROOT / "docs" / "reference" / "connectors" / f"{name}.md").read_text("utf-8")
    fields = set(CATALOG.connector(name).settings_type.model_fields) - {"inventory_hostname"}
    assert not [field for field in fields if f"`{field}`" not in page]


@every_action
def test_action_can_be_frozen_into_a_plan_and_read_back(name: str, action: type[Action]) -> None:
    given = example(name, action.verb)
    frozen = given.model_dump(mode="json", exclude_defaults=True)
    assert canonical.encode(frozen)
    assert action.model_validate(frozen) == given
    assert action.model_json_schema()["additionalProperties"] is False
    assert given.summary() or not frozen
    with pytest.raises(ValueError, match="frozen"):
        given.verb_of_nobody = 1  # type: ignore[attr-defined]  # the point


@every_action
def test_unknown_field_is_refused(name: str, action: type[Action]) -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        action.model_validate({**WAYS[name].examples[action.verb], "fnord": 1})


@every_connector
def test_close_may_be_called_twice_and_before_anything(name: str) -> None:
    connector = connector_of(name)
    connector.close()
    connector.close()
    with suppress(Exception):
        connector.open()
    connector.close()
    connector.close()


@pytest.mark.parametrize("name", REMOTE)
def test_nobody_there_is_unreachable_and_clean(name: str, closed_port: int) -> None:
    for verb in WAYS[name].examples:
        connector = connector_of(name, port=closed_port)
        outcome = connector.perform(example(name, verb), a_call())
        connector.close()
        assert isinstance(outcome, Failed), outcome
        assert (outcome.clean, outcome.unreachable) == (True, True)
        assert str(closed_port) in outcome.reason


@pytest.mark.parametrize("name", REMOTE)
def test_probe_and_check_that_cannot_ask_do_not_know(name: str, closed_port: int) -> None:
    for verb in WAYS[name].examples:
        action = example(name, verb)
        connector = connector_of(name, port=closed_port)
        if action.effect_class() is not Effect.READ:
            assert connector.probe(action, a_call()).finding is Finding.UNKNOWN
            assert connector.check(action, a_call()).changes is None
        connector.close()


def way_until(name: str, then: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """A server that takes an action, and then does so."""
    way = WAYS[name]
    take = way.takes or way.greet
    assert take is not None

    def behave(conn: socket.socket) -> None:
        take(conn)
        then(conn)

    return behave


@pytest.mark.parametrize("name", LOSING)
def test_lost_answer_is_in_doubt(name: str) -> None:
    verb = WAYS[name].loses
    assert verb is not None
    with serving(way_until(name, drop)) as port:
        connector = connector_of(name, port=port)
        outcome = connector.perform(example(name, verb), a_call())
        connector.close()
    assert isinstance(outcome, Unknown), outcome


@every_action
@pytest.mark.parametrize("late", [False, True], ids=["stopped", "over"])
def test_what_is_called_off_before_it_began_is_not_begun(
    name: str, action: type[Action], late: bool, closed_port: int
) -> None:
    heard: list[bytes] = []
    greet = WAYS[name].greet

    def listen(conn: socket.socket) -> None:
        assert greet is not None
        greet(conn)
        while piece := conn.recv(65536):
            heard.append(piece)

    stop = threading.Event()
    if not late:
        stop.set()
    with serving(listen) if greet else nullcontext(closed_port) as port:
        connector = connector_of(name, port=port)
        outcome = connector.perform(example(name, action.verb), a_call(0 if late else 5, stop))
        connector.close()
    assert isinstance(outcome, Failed), outcome
    assert outcome.clean
    assert outcome.reason
    goodbye = b"X" + struct.pack("!I", 4)  # with which a client of PostgreSQL hangs up
    assert not set(heard) - {goodbye}


@pytest.mark.parametrize("name", LASTING)
@pytest.mark.parametrize("late", [False, True], ids=["stopped", "over"])
def test_what_is_ended_in_the_middle_ends_soon_and_is_no_success(name: str, late: bool) -> None:
    way = WAYS[name]
    assert way.lasts is not None
    verb, arguments = way.lasts
    stop, begun = threading.Event(), threading.Event()

    def last(conn: socket.socket) -> None:
        while conn.recv(65536):
            begun.set()

    with serving(way_until(name, last)) if way.greet else nullcontext(0) as port:
        connector = connector_of(name, port=port)
        connector.open()
        if not late:
            # In the middle: the server has heard of it, or, where there is none, a moment has passed.
            threading.Thread(target=lambda: (begun.wait(5 if way.greet else 0.3), stop.set())).start()
        at = time.monotonic()
        call = a_call(0.4 if late else 20, stop)
        outcome = connector.perform(CATALOG.action(f"{name}.{verb}").model_validate(arguments), call)
        took = time.monotonic() - at
        connector.close()
    assert isinstance(outcome, Unknown | Failed), outcome
    assert took < (0.4 if late else 0.3) + 2
    if not late:
        assert "stopped by a person" in outcome.reason


@every_connector
def test_a_terminal_is_given_by_what_leads_to_a_host_alone(name: str, closed_port: int) -> None:
    connector = connector_of(name, port=closed_port)
    error, said = (Unreachable, str(closed_port)) if name == "ssh" else (Refused, "gives no terminal")
    with pytest.raises(error, match=said):
        connector.open_terminal(Window(80, 24))
    connector.close()


@every_connector
def test_foreign_exception_never_escapes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> None:
        raise ZeroDivisionError("surprise")

    connector = connector_of(name)
    monkeypatch.setattr(connector, "open", lambda: None)
    for inner in ("_perform", "_probe", "_check"):
        monkeypatch.setattr(connector, inner, break_down)
    action = example(name, next(iter(WAYS[name].examples)))
    outcome = connector.perform(action, a_call())
    assert isinstance(outcome, Unknown)
    assert "surprise" in outcome.reason
    assert connector.probe(action, a_call()).finding is Finding.UNKNOWN
    assert connector.check(action, a_call()).changes is None
    connector.close()


@pytest.mark.parametrize("name", REMOTE)
def test_no_secret_is_shown(name: str, closed_port: int) -> None:
    loses = WAYS[name].loses
    for behave in (drop, way_until(name, drop)) if loses else (drop,):
        with serving(behave) as port:
            connector = connector_of(name, port=port)
            # Each attempt to log in over ssh is waited for; one verb tells as much as all.
            for verb in list(WAYS[name].examples)[: None if loses else 1]:
                call = a_call()
                outcome = connector.perform(example(name, verb), call)
                shown = repr(
                    (connector, connector.settings, outcome, connector.check(example(name, verb), call))
                )
                assert SECRET not in shown
                assert SECRET not in call.output.stdout.text() + call.output.stderr.text()
            connector.close()


@pytest.mark.parametrize("name", REMOTE)
def test_variables_that_do_not_fit_are_refused(name: str) -> None:
    cls = CATALOG.connector(name)
    field = next(
        field
        for field, info in cls.settings_type.model_fields.items()
        if info.annotation is int or "timeout" in field
    )
    with pytest.raises(Refused, match="x: its inventory variables do not fit"):
        cls.settings_type.of(Target("x", {field: "many"}))


@every_connector
def test_reading_is_said_to_change_nothing(name: str) -> None:
    connector = connector_of(name)
    connector.open = lambda: None  # type: ignore[method-assign]  # a check of a read needs no target
    for verb in WAYS[name].examples:
        action = example(name, verb)
        if action.effect_class() is Effect.READ:
            assert connector.check(action, a_call()).changes is False
    connector.close()


@every_action
def test_check_is_a_decision_of_the_connector(
    name: str, action: type[Action], monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    """What a connector says nothing about falls through to the base; no action may do that."""
    fell_through: list[str] = []
    monkeypatch.setattr(Connector, "_check", lambda self, action, call: fell_through.append(action.verb))
    connector = connector_of(name, port=closed_port)
    found = None
    with suppress(Unreachable, Refused, AssertionError):  # without its target it cannot do more than ask
        found = connector._check(example(name, action.verb), a_call())
    connector.close()
    assert not fell_through
    assert found is None or found.changes is not None or f"{name}.{action.verb}" in UNPREDICTABLE


def test_what_cannot_be_predicted_is_named_with_a_reason() -> None:
    changing = {f"{name}.{a.verb}" for name, a in ACTIONS if a.effect is not Effect.READ}
    assert set(UNPREDICTABLE) <= changing
    assert all(UNPREDICTABLE.values())


@every_action
def test_probe_is_a_decision_of_the_connector(
    name: str, action: type[Action], monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    fell_through: list[str] = []
    nothing = Probed(Finding.UNKNOWN, "")
    monkeypatch.setattr(
        Connector, "_probe", lambda self, action, call: fell_through.append(action.verb) or nothing
    )
    given, connector = example(name, action.verb), connector_of(name, port=closed_port)
    with suppress(Unreachable, Refused, AssertionError):  # without its target it cannot do more than ask
        connector._probe(given, a_call())
    connector.close()
    assert bool(fell_through) is (f"{name}.{action.verb}" in UNPROBEABLE)
    if fell_through:
        assert given.effect_class() is not Effect.PROBE
