"""Alerts over HTTP, at a real server: what is taken, what is not, and what is left of a storm in which it is killed."""

from __future__ import annotations

import gzip
import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders.alerts import BEARER, JSON_TYPE, SECRET, TOKEN, case, hexadecimal, storm
from builders.commands import Desk
from builders.serving import Server, serving

from mimrun.app.alert.view import list_alerts, read_alert
from mimrun.app.home import open_home
from mimrun.settings import Settings

SOURCES = """\
sources:
  prometheus: {{kind: alertmanager, token: 'file:{home}/alerts.token'}}
  pager: {{kind: pagerduty, secrets: ['file:{home}/old.secret', 'file:{home}/alerts.secret']}}
  grafana: {{kind: grafana, secrets: 'file:{home}/alerts.secret', timestamp_header: X-Grafana-Alerting-Timestamp}}
  events: {{kind: cloudevents, token: 'file:{home}/alerts.token'}}
"""


def prepare(home: Path) -> None:
    for name, text in (
        ("alerts.token", TOKEN),
        ("alerts.secret", SECRET),
        ("old.secret", "the-one-before-0123456789"),
    ):
        (home / name).write_text(text)
    (home / "alerts.yaml").write_text(SOURCES.format(home=home))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    prepare(desk.home)
    with serving(desk.home) as up:
        yield up


def connect(server: Server) -> http.client.HTTPConnection:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return http.client.HTTPConnection(host, int(port), timeout=20)


def ask(
    server: Server, path: str, body: Any = b"", headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, Any, dict[str, str]]:
    line = connect(server)
    try:
        line.request(method, path, body, headers or {})
        answer = line.getresponse()
        text = answer.read()
        return answer.status, json.loads(text or b"null"), {k.lower(): v for k, v in answer.getheaders()}
    finally:
        line.close()


def size(server: Server) -> int:
    with open_home(Settings(home=server.home), watched=False) as home:
        return home.store.head().size


def test_what_alertmanager_sends_is_in_the_log_when_it_is_answered(server: Server) -> None:
    status, body, _ = ask(server, "/alerts/alertmanager", case("alertmanager.json"), BEARER)
    assert (status, body) == (200, {"accepted": 1, "duplicates": 0})
    status, body, _ = ask(server, "/alerts/alertmanager?source=prometheus", case("alertmanager.json"), BEARER)
    assert (status, body) == (200, {"accepted": 0, "duplicates": 1})
    with open_home(Settings(home=server.home), watched=False) as home:
        found = [one for one in list_alerts(home) if one.said.fingerprint == "1f36d4528c63a578"]
        assert [one.said.auth for one in found] == ["token"]
        assert read_alert(home, home.store.entry(found[0].seq)).labels["job"] == "app"


def test_pagerduty_and_grafana_sign_and_a_cloud_event_comes_with_a_token(server: Server) -> None:
    raw = case("pagerduty.json")
    signed = {**JSON_TYPE, "X-PagerDuty-Signature": f"v1={hexadecimal(SECRET, raw)}", "X-Webhook-Id": "x"}
    assert ask(server, "/alerts/pagerduty", raw, signed)[:2] == (200, {"accepted": 1, "duplicates": 0})
    raw, now = case("grafana.json"), str(int(time.time()))
    signed = {
        **JSON_TYPE,
        "X-Grafana-Alerting-Timestamp": now,
        "X-Grafana-Alerting-Signature": hexadecimal(SECRET, f"{now}:".encode() + raw),
    }
    assert ask(server, "/alerts/grafana", raw, signed)[:2] == (200, {"accepted": 2, "duplicates": 0})
    headers = {"Content-Type": "application/cloudevents+json", "Authorization": f"Bearer {TOKEN}"}
    assert ask(server, "/alerts/cloudevents", case("cloudevent.json"), headers)[:2] == (
        200,
        {"accepted": 1, "duplicates": 0},
    )


def test_a_sender_of_cloud_events_may_ask_whether_it_may(server: Server) -> None:
    status, _, headers = ask(
        server, "/alerts/cloudevents", headers={"WebHook-Request-Origin": "bus.example.org"}, method="OPTIONS"
    )
    assert (status, headers["webhook-allowed-origin"]) == (204, "*")


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {**JSON_TYPE, "X-PagerDuty-Signature": f"v1={hexadecimal(secret, body)}"}


PING = b'{"event": {"id": "x", "event_type": "pagey.ping", "data": {}}}'
OLD_TIME = str(int(time.time()) - 301)
STRANGERS: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "signature missing": ("/alerts/pagerduty", case("pagerduty.json"), JSON_TYPE),
    "signature wrong": ("/alerts/pagerduty", case("pagerduty.json"), signed(b"")),
    "other key": (
        "/alerts/pagerduty",
        case("pagerduty.json"),
        signed(case("pagerduty.json"), "not-one-of-ours-0123456789"),
    ),
    "signature cut": (
        "/alerts/pagerduty",
        case("pagerduty.json"),
        {**JSON_TYPE, "X-PagerDuty-Signature": signed(case("pagerduty.json"))["X-PagerDuty-Signature"][:-2]},
    ),
    "body changed by one byte": (
        "/alerts/pagerduty",
        case("pagerduty.json") + b" ",
        signed(case("pagerduty.json")),
    ),
    "time too old": (
        "/alerts/grafana",
        case("grafana.json"),
        {
            **JSON_TYPE,
            "X-Grafana-Alerting-Timestamp": OLD_TIME,
            "X-Grafana-Alerting-Signature": hexadecimal(
                SECRET, f"{OLD_TIME}:".encode() + case("grafana.json")
            ),
        },
    ),
    "time left out": (
        "/alerts/grafana",
        case("grafana.json"),
        {**JSON_TYPE, "X-Grafana-Alerting-Signature": hexadecimal(SECRET, case("grafana.json"))},
    ),
    "token missing": ("/alerts/alertmanager", storm(1), JSON_TYPE),
    "token wrong": ("/alerts/alertmanager", storm(1), {**JSON_TYPE, "Authorization": "Bearer wrong"}),
    "another kind's secret": (
        "/alerts/alertmanager",
        storm(1),
        {**JSON_TYPE, "Authorization": f"Bearer {SECRET}"},
    ),
    "a signature where a token is due": ("/alerts/alertmanager", storm(1), signed(storm(1))),
    "unknown source": ("/alerts/alertmanager?source=nobody", storm(1), BEARER),
    "source of another kind": ("/alerts/alertmanager?source=pager", storm(1), BEARER),
    "kind without a source": ("/alerts/json", storm(1), BEARER),
    "unknown kind": ("/alerts/nonsense", storm(1), BEARER),
    "no name at all": ("/alerts/%00", storm(1), BEARER),
    "ping without a signature": ("/alerts/pagerduty", PING, JSON_TYPE),
    "no body": ("/alerts/alertmanager", b"", {}),
    "wrong content type": ("/alerts/alertmanager", storm(1), {"Content-Type": "text/html"}),
    "no JSON": ("/alerts/pagerduty", b"{", JSON_TYPE),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers_all_get_the_same_answer_and_nothing_is_stored(server: Server, name: str) -> None:
    before = size(server)
    answers = [ask(server, *STRANGERS[one]) for one in ("token missing", name)]
    assert answers[1][0] == 401
    assert answers[0] == answers[1], "status, body and every header"
    assert size(server) == before


def test_a_header_that_comes_twice_proves_nothing(server: Server) -> None:
    body, before = storm(1), size(server)
    right = f"Authorization: Bearer {TOKEN}\r\n"
    for doubled in (
        right * 2,
        right + "Authorization: Bearer wrong\r\n",
        "Authorization: Bearer wrong\r\n" + right,
    ):
        assert (
            raw(server, f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n{doubled}", body)
            == 401
        )
    doubled = "Content-Type: application/json\r\n" * 2
    assert raw(server, f"Content-Length: {len(body)}\r\n{doubled}{right}", body) == 415
    assert size(server) == before


def raw(server: Server, headers: str, body: bytes) -> int:
    """Send bytes as they are; gives the status of the answer."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as line:
        head = f"POST /alerts/alertmanager HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{headers}\r\n"
        line.sendall(head.encode() + body)
        return int(line.makefile("rb").readline().split()[1])


def test_a_body_in_pieces_is_read_as_one(server: Server) -> None:
    body = storm(77)
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"
    headers = (
        f"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\nAuthorization: Bearer {TOKEN}\r\n"
    )
    assert raw(server, headers, pieces) == 200


def test_a_body_that_is_too_long_is_refused_however_it_comes(server: Server) -> None:
    before, much = size(server), b" " * (2 * 1024 * 1024)
    headers = f"Content-Type: application/json\r\nAuthorization: Bearer {TOKEN}\r\n"
    assert raw(server, f"{headers}Content-Length: {len(much)}\r\n", b"") == 413
    pieces = b"%x\r\n%s\r\n0\r\n\r\n" % (len(much), much)
    assert raw(server, f"{headers}Transfer-Encoding: chunked\r\n", pieces) == 413
    assert size(server) == before


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"{", BEARER, 400, "is not JSON"),
        (b"[]", BEARER, 400, "must be a mapping"),
        (b"{}", BEARER, 400, "version must be '4'"),
        (storm(5), {**BEARER, "content-type": "text/plain"}, 415, "is not read here"),
        (gzip.compress(storm(5)), {**BEARER, "content-encoding": "gzip"}, 415, "content encoding"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(
    server: Server, body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    before = size(server)
    answered, problem, _ = ask(server, "/alerts/alertmanager", body, headers)
    assert answered == status == problem["status"]
    assert said in problem["detail"]
    assert size(server) == before


def test_nothing_but_post_takes_alerts(server: Server) -> None:
    assert ask(server, "/alerts/alertmanager", b"", BEARER, "GET")[0] == 405
    for method in ("PUT", "DELETE", "PATCH"):
        assert ask(server, "/alerts/alertmanager", storm(1), BEARER, method)[0] == 405


def test_a_signed_delivery_that_is_sent_again_is_recognised(server: Server) -> None:
    body = PING.replace(b"pagey.ping", b"incident.triggered").replace(b'"data": {}', b'"data": {"id": "R"}')
    answers = [ask(server, "/alerts/pagerduty", body, signed(body))[1] for _ in range(3)]
    assert [one["accepted"] for one in answers] == [1, 0, 0]


def test_nothing_that_was_acknowledged_is_lost_when_the_server_is_killed_in_a_storm(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    prepare(desk.home)
    acknowledged: set[int] = set()
    numbers = iter(range(100_000))
    for kill_after in (60, 90, 120):
        with serving(desk.home) as server:
            before = len(acknowledged)
            senders = [
                threading.Thread(target=send_until_gone, args=(server, numbers, acknowledged))
                for _ in range(6)
            ]
            for sender in senders:
                sender.start()
            end = time.monotonic() + 30
            while len(acknowledged) < before + kill_after:
                assert time.monotonic() < end
                time.sleep(0.002)
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            for sender in senders:
                sender.join()
    with open_home(Settings(home=desk.home)) as home:
        found = [int(one.said.fingerprint[:8], 16) for one in list_alerts(home, limit=None)]
    assert len(found) == len(set(found)), "an alert is there twice"
    assert acknowledged <= set(found), "an alert was acknowledged and is gone"
    with serving(desk.home) as server:
        for number in sorted(acknowledged)[::20]:
            assert ask(server, "/alerts/alertmanager", storm(number), BEARER)[1] == {
                "accepted": 0,
                "duplicates": 1,
            }
    assert desk("log", "verify").code == 0


def send_until_gone(server: Server, numbers: Iterator[int], acknowledged: set[int]) -> None:
    """Send one alert after the other, and note those that were acknowledged, until nobody answers."""
    line = connect(server)
    try:
        while True:
            number = next(numbers)
            line.request("POST", "/alerts/alertmanager", storm(number), BEARER)
            answer = line.getresponse()
            answer.read()
            if answer.status == 200:
                acknowledged.add(number)
    except (OSError, http.client.HTTPException):
        pass
    finally:
        line.close()
