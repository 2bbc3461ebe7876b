"""Requests to a real HTTP server on loopback, one that can also break off in the middle."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from connectors.http import KEPT, Http, HttpSettings, Request
from mimrun.connector import Call, Effect, Failed, Ok, Output, Refused, Secret, Target, Unknown
from mimrun.secret import Masker

TOKEN = "tok-3f9a1c77e5"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        self.server.asked.set()
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path in ("/hang", "/drop", "/half", "/trickle", "/endless"):
            self.break_off(path)
        elif path == "/big":
            self.answer(200, b"x" * (KEPT + 100_000))
        elif path == "/deep":
            self.answer(200, b"[" * 100_000, **{"Content-Type": "application/json"})
        elif path == "/redirect":
            self.answer(302, b"", Location=query.get("to", ["/elsewhere"])[0])
        elif path == "/text":
            self.answer(
                200, query["text"][0].encode(), **{"Content-Type": query.get("type", ["text/plain"])[0]}
            )
        elif path == "/echo":
            told = {"headers": dict(self.headers), "body": body.decode(), "query": query}
            self.answer(200, json.dumps(told).encode(), **{"Content-Type": "application/json"})
        else:
            status = int(path[1:]) if path[1:].isdigit() else 200
            self.answer(status, b"said so", **{"X-Request-Id": "r-1", "Set-Cookie": "a=b"})

    def break_off(self, path: str) -> None:
        self.close_connection = True
        if path == "/hang":
            self.server.release.wait(10)
        elif path == "/half":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        elif path in ("/trickle", "/endless"):
            length = b"Content-Length: 100000\r\n" if path == "/trickle" else b"Connection: close\r\n"
            self.wfile.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
            with suppress(OSError):
                while not self.server.release.wait(0.02):
                    self.wfile.write(b".")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            if self.command != "HEAD":
                self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.release, self.asked = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what some tests want."""


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.release.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[Http]:
    http = Http(HttpSettings.of(Target("api", {"http_base_url": server.url})))
    # What is imported for the first request takes as long as the machine likes, and no deadline of a test is to pay for it.
    http.open()
    yield http
    http.close()


def a_call(seconds: float = 20, **more: Any) -> Call:
    return Call("run-1/2/api/0", time.monotonic() + seconds, **more)


def test_answer_becomes_data(http: Http) -> None:
    call = a_call()
    outcome = http.perform(Request(url="/200"), call)
    assert isinstance(outcome, Ok)
    assert not outcome.changed
    date = outcome.data["headers"].pop("date")
    assert date
    assert outcome.data == {
        "status": 200, "headers": {"x-request-id": "r-1"}, "json": None, "text": "said so", "truncated": False,
    }  # fmt: skip
    assert call.output.stdout.text() == "said so"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            '{"load": 0.50, "n": 9007199254740993, "ok": true}',
            {"load": "0.50", "n": "9007199254740993", "ok": True},
        ),
        ('{"größe": [1, null]}', {"gr\\xf6\\xdfe": [1, None]}),
        ("[NaN]", ["NaN"]),
        ('"\\ud800"', "?"),
    ],
)
def test_json_is_given_so_that_the_log_can_keep_it(http: Http, text: str, value: object) -> None:
    outcome = http.perform(Request(url="/text", params={"text": text, "type": "application/json"}), a_call())
    assert outcome.data["json"] == value
    assert outcome.data["text"] == ""


@pytest.mark.parametrize("text", ["{not json", "[" * 100 + "]" * 100])
def test_what_only_says_that_it_is_json_is_text(http: Http, text: str) -> None:
    outcome = http.perform(Request(url="/text", params={"text": text, "type": "application/json"}), a_call())
    assert (outcome.data["json"], outcome.data["text"]) == (None, text)


def test_json_without_a_bottom_is_text(http: Http) -> None:
    outcome = http.perform(Request(url="/deep", method="PUT"), a_call())
    assert isinstance(outcome, Ok)
    assert outcome.data["text"] == "[" * 100_000


@pytest.mark.parametrize(
    ("fields", "body", "kind"),
    [
        ({"json": {"a": [1]}}, b'{"a":[1]}', "application/json"),
        ({"body": "plain", "headers": {"Content-Type": "text/x"}}, b"plain", "text/x"),
        ({"form": {"a": "1 2"}}, b"a=1+2", "application/x-www-form-urlencoded"),
    ],
)
def test_body_is_sent(http: Http, server: Server, fields: dict[str, Any], body: bytes, kind: str) -> None:
    action = Request.model_validate({"url": "/201", "method": "POST", "params": {"x": "&"}, **fields})
    assert Request.model_validate(action.model_dump()) == action
    outcome = http.perform(action, a_call())
    assert isinstance(outcome, Ok)
    assert outcome.changed
    method, path, headers, sent = server.seen[0]
    assert (method, path, sent, headers["Content-Type"]) == ("POST", "/201?x=%26", body, kind)


@pytest.mark.parametrize(
    ("method", "key", "effect"),
    [
        ("GET", False, Effect.READ),
        ("HEAD", False, Effect.READ),
        ("OPTIONS", True, Effect.READ),
        ("PUT", False, Effect.IDEMPOTENT),
        ("DELETE", False, Effect.IDEMPOTENT),
        ("POST", False, Effect.ONCE),
        ("PATCH", False, Effect.ONCE),
        ("POST", True, Effect.IDEMPOTENT),
    ],
)
def test_effect_is_that_of_the_method(method: Any, key: bool, effect: Effect, http: Http) -> None:
    action = Request(url="/200", method=method, idempotency_key=key)
    assert action.effect_class() is effect
    assert http.check(action, a_call()).changes is (False if effect is Effect.READ else None)


def test_key_is_the_same_for_every_attempt(http: Http, server: Server) -> None:
    action = Request(url="/200", method="POST", idempotency_key=True)
    for _ in range(2):
        http.perform(action, a_call())
    assert [headers["Idempotency-Key"] for _, _, headers, _ in server.seen] == ["run-1/2/api/0"] * 2


@pytest.mark.parametrize(
    ("method", "status", "kind", "clean"),
    [
        ("GET", 404, Failed, True),
        ("GET", 500, Failed, True),
        ("GET", 503, Failed, True),
        ("POST", 401, Failed, True),
        ("POST", 403, Failed, True),
        ("POST", 429, Failed, True),
        ("POST", 400, Failed, False),
        ("POST", 409, Failed, False),
        ("POST", 422, Failed, False),
        ("POST", 500, Failed, False),
        ("POST", 302, Failed, False),
        ("POST", 502, Unknown, None),
        ("PUT", 504, Unknown, None),
    ],
)
def test_status_says_what_is_proven(
    http: Http, method: Any, status: int, kind: type, clean: bool | None
) -> None:
    outcome = http.perform(Request(url=f"/{status}", method=method), a_call())
    assert isinstance(outcome, kind)
    assert f"answered {status}, not 200 to 299" in outcome.reason
    assert outcome.data["status"] == status
    if isinstance(outcome, Failed):
        assert outcome.clean is clean


def test_expected_status_is_a_success(http: Http) -> None:
    assert isinstance(http.perform(Request(url="/404", method="DELETE", expect=(200, 404)), a_call()), Ok)
    assert isinstance(http.perform(Request(url="/200", expect=(204,)), a_call()), Failed)


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/", "http://no-such-host.invalid/"):
        http = Http(HttpSettings())
        outcome = http.perform(Request(url=url, method="POST"), a_call())
        http.close()
        assert isinstance(outcome, Failed)
        assert (outcome.clean, outcome.unreachable) == (True, True)


@pytest.mark.parametrize("path", ["/drop", "/half"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_answer_that_breaks_off_is_in_doubt(http: Http, path: str, method: Any) -> None:
    outcome = http.perform(Request(url=path, method=method), a_call())
    assert isinstance(outcome, Unknown)
    assert "it was sent, and the answer did not come" in outcome.reason


@pytest.mark.parametrize("path", ["/hang", "/trickle", "/endless"])
def test_deadline_is_kept_and_in_doubt(http: Http, path: str) -> None:
    for action, call in (
        (Request(url=path, method="POST"), a_call(0.3)),
        (Request(url=path, timeout=1), a_call()),
    ):
        begun = time.monotonic()
        outcome = http.perform(action, call)
        assert isinstance(outcome, Unknown)
        assert "no answer in time" in outcome.reason
        assert time.monotonic() - begun < 3


def test_stop_by_a_person_ends_the_request(http: Http, server: Server) -> None:
    stop, stopped = threading.Event(), list[float]()

    def stop_when_asked() -> None:
        assert server.asked.wait(30)
        stopped.append(time.monotonic())
        stop.set()

    person = threading.Thread(target=stop_when_asked)
    person.start()
    outcome = http.perform(Request(url="/hang", method="POST"), a_call(30, stop=stop))
    ended = time.monotonic()
    person.join()
    assert isinstance(outcome, Unknown)
    assert "stopped by a person" in outcome.reason
    assert outcome.reason.endswith("the connection was closed, which does not prove that the service stops")
    assert ended - stopped[0] < 2


def test_request_that_is_called_off_is_not_sent(http: Http, server: Server) -> None:
    stop = threading.Event()
    stop.set()
    for call in (a_call(stop=stop), a_call(-1)):
        outcome = http.perform(Request(url="/200", method="POST"), call)
        assert isinstance(outcome, Failed)
        assert (outcome.clean, outcome.unreachable) == (True, False)
    http.check(Request(url="/200", method="POST"), a_call())
    assert server.seen == []


def test_connection_that_was_cut_is_made_anew(http: Http) -> None:
    assert isinstance(http.perform(Request(url="/hang"), a_call(0.2)), Unknown)
    assert isinstance(http.perform(Request(url="/200"), a_call()), Ok)


def test_big_answer_is_cut(http: Http) -> None:
    outcome = http.perform(Request(url="/big"), a_call())
    assert isinstance(outcome, Ok)
    assert outcome.data["truncated"] is True
    assert len(str(outcome.data["text"])) == KEPT


def test_redirect_is_followed_only_when_asked_for(http: Http, server: Server) -> None:
    outcome = http.perform(Request(url="/redirect"), a_call())
    assert isinstance(outcome, Failed)
    assert outcome.data["headers"]["location"] == "/elsewhere"
    assert [path for _, path, _, _ in server.seen] == ["/redirect"]
    followed = Request(url="/redirect", follow_redirects=True, expect=(200,))
    http.perform(followed, a_call())
    assert server.seen[-1][1] == "/elsewhere"


def test_refusal_behind_a_redirect_does_not_prove_that_the_request_was_not_done(
    http: Http, server: Server
) -> None:
    action = Request(url="/redirect", method="POST", params={"to": "/404"}, follow_redirects=True)
    outcome = http.perform(action, a_call())
    assert [(method, path) for method, path, _, _ in server.seen][1:] == [("GET", "/404")]
    assert isinstance(outcome, Failed)
    assert not outcome.clean


def test_cookies_are_not_kept(http: Http, server: Server) -> None:
    for _ in range(2):
        http.perform(Request(url="/200"), a_call())
    assert "Cookie" not in server.seen[1][2]


def test_token_goes_to_its_own_service_only_and_is_never_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("API_TOKEN", TOKEN)
    (tmp_path / "token").write_text(TOKEN + "\n")
    for given in ({"http_token_env": "API_TOKEN"}, {"http_token_file": str(tmp_path / "token")}):
        http = Http(HttpSettings.of(Target("api", {"http_base_url": server.url, **given})))
        call = a_call()
        outcome = http.perform(Request(url="/echo", headers={"X-Said": TOKEN}), call)
        with serving() as other:
            http.perform(Request(url=f"{other.url}/200"), a_call())
            http.close()
        assert "Authorization" not in other.seen[0][2]
        assert server.seen[-1][2]["Authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in repr((http, http.settings, outcome, call.output.stdout.text()))
        assert "Bearer" not in repr(outcome)
        assert "*****" in repr(outcome)


def test_secret_header_is_a_reference(http: Http, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", TOKEN)
    outcome = http.perform(Request(url="/echo", secret_headers={"X-Api-Key": "env:API_KEY"}), a_call())
    assert server.seen[0][2]["X-Api-Key"] == TOKEN
    assert TOKEN not in repr(outcome)
    missing = http.perform(Request(url="/echo", secret_headers={"X-Api-Key": "env:NO_KEY"}), a_call())
    assert isinstance(missing, Failed)
    assert missing.clean
    monkeypatch.setenv("API_KEY", "a\r\nX-More: b")
    smuggled = http.perform(Request(url="/echo", secret_headers={"X-Api-Key": "env:API_KEY"}), a_call())
    assert isinstance(smuggled, Failed)
    assert smuggled.clean
    assert len(server.seen) == 1


def test_secret_of_the_run_is_masked_in_the_answer(http: Http) -> None:
    output = Output(Masker([Secret("correct-horse")]))
    params = {"text": '{"p": "correct-horse"}', "type": "application/json"}
    outcome = http.perform(Request(url="/text", params=params), a_call(output=output))
    assert outcome.data["json"] == {"p": "*****"}
    assert "correct-horse" not in output.stdout.text()


def test_environment_has_no_say(http: Http, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("NETRC", "/nonexistent")
    assert isinstance(http.perform(Request(url="/200"), a_call()), Ok)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"url": "ftp://x/"}, "write http://"),
        ({"url": "//evil.invalid/x"}, "write http://"),
        ({"url": "http://user:pass@x/"}, "no user and password"),
        ({"url": "/", "json": 1, "body": "x"}, "one of json, body and form"),
        ({"url": "/", "headers": {"authorization": "x"}}, "secret_headers"),
        ({"url": "/", "headers": {"X": "a\r\nY: b"}}, "string_pattern_mismatch"),
        ({"url": "/", "headers": {"X Y": "a"}}, "not a header's name"),
        ({"url": "/", "secret_headers": {"X": "hunter2"}}, "string_pattern_mismatch"),
        (
            {"url": "/", "secret_headers": {"X": "env:X"}, "follow_redirects": True},
            "redirect to another host",
        ),
        ({"url": "/", "method": "TRACE"}, "method"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_sent(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as error:
        Request.model_validate(fields)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "vars", [{}, {"http_base_url": "http://127.0.0.1:1", "http_token_env": "NO_SUCH"}, {"http_ca_file": "/none"},
             {"http_proxy": "nonsense://"}]
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(vars: dict[str, Any]) -> None:
    http = Http(HttpSettings.of(Target("api", vars)))
    outcome = http.perform(Request(url="/200"), a_call())
    http.close()
    assert isinstance(outcome, Failed)
    assert (outcome.clean, outcome.unreachable) == (True, False)


def test_base_url_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(Refused) as error:
        HttpSettings.of(Target("api", {"http_base_url": "http://me:hunter2@x/"}))
    assert "hunter2" not in str(error.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate")
def test_certificate_is_checked(server: Server, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:")
    trusting = Http(HttpSettings.of(Target("api", {"http_base_url": url, "http_ca_file": str(cert)})))
    assert isinstance(trusting.perform(Request(url="/200"), a_call()), Ok)
    assert isinstance(trusting.perform(Request(url="/hang", method="POST"), a_call(0.3)), Unknown)
    trusting.close()
    doubting = Http(HttpSettings.of(Target("api", {"http_base_url": url})))
    outcome = doubting.perform(Request(url="/200", method="POST"), a_call())
    doubting.close()
    assert isinstance(outcome, Failed)
    assert (outcome.clean, outcome.unreachable) == (True, False)
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.reason


def test_what_a_header_held_is_masked_in_the_rest_of_the_run(
    http: Http, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "Bearer hunter2-Zq8")
    call = a_call()
    http.perform(Request(url="/echo", secret_headers={"Authorization": "env:API_KEY"}), call)
    assert call.output.masker.mask_text("hunter2-Zq8") == "*****"
