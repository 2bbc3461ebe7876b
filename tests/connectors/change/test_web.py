"""What an answer of a change system's server means: limits, outages, half answers, and logins that stay hidden."""

from __future__ import annotations

import base64
import gzip
import logging
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from builders.answering import Answer, Answering, Asked, answering

from connectors.change.web import LARGEST, LONGEST_WAIT_S, Web
from mimrun.change_system import LostAnswer, Refused, SettingsError, Unreachable

TOKEN = "tok-9b2f64c1"
LOGIN = {"Authorization": f"token {TOKEN}"}


class Scene:
    """A server whose answers are queued, and a client to it."""

    def __init__(self, server: Answering, answers: list[Answer]) -> None:
        self.server, self.answers = server, answers
        self.waited: list[float] = []
        self.web = Web(f"{server.url}/api", LOGIN, timeout_s=1.0, sleep=self.waited.append)


@pytest.fixture
def scene() -> Iterator[Callable[..., Scene]]:
    queue: list[Answer] = []
    made: list[Scene] = []

    def answer(_asked: Asked) -> Answer:
        return queue.pop(0) if len(queue) > 1 else queue[0]

    with answering(answer) as server:

        def make(*answers: Answer) -> Scene:
            queue[:] = answers
            made.append(Scene(server, queue))
            return made[-1]

        yield make
        for one in made:
            one.web.close()


def test_json_is_asked_for_and_given_with_its_headers(scene: Callable[..., Scene]) -> None:
    one = scene(Answer(201, {"id": 7}, headers={"ETag": '"49"'}))
    reply = one.web.ask(
        "POST", "/ticket", params={"a": "b c&d"}, body={"ü": [1, None]}, headers={"If-Match": "x"}
    )
    assert (reply.status, reply.value, reply.headers["etag"]) == (201, {"id": 7}, '"49"')
    asked = one.server.seen[0]
    assert (asked.method, asked.path, asked.params, asked.json) == (
        "POST",
        "/api/ticket",
        {"a": "b c&d"},
        {"ü": [1, None]},
    )
    assert asked.headers["Authorization"] == f"token {TOKEN}"
    assert asked.headers["If-Match"] == "x"
    assert asked.headers["Accept-Encoding"] == "identity"


def test_an_empty_answer_is_null(scene: Callable[..., Scene]) -> None:
    assert scene(Answer(204, body=b"")).web.ask("DELETE", "x").value is None


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_too_many_requests_are_waited_for_and_sent_again(scene: Callable[..., Scene], method: str) -> None:
    one = scene(Answer(429, "slow down", headers={"Retry-After": "7"}), Answer(200, "ok"))
    assert one.web.ask(method, "x").value == "ok"
    assert one.waited == [7.0]


def test_a_moment_to_wait_for_is_held_against_the_servers_own_clock(scene: Callable[..., Scene]) -> None:
    answer = b"HTTP/1.1 429 No\r\nDate: Wed, 21 Oct 2015 07:28:00 GMT\r\n"
    answer += b"Retry-After: Wed, 21 Oct 2015 07:28:12 GMT\r\nContent-Length: 0\r\n\r\n"
    one = scene(Answer(raw=answer), Answer(200, "ok"))
    assert one.web.ask("POST", "x").value == "ok"
    assert one.waited == [12.0]


@pytest.mark.parametrize("after", [str(int(LONGEST_WAIT_S) + 1), "soon", "", "-5", "٣"])
def test_who_wants_to_be_left_alone_for_long_is_not_waited_for(
    scene: Callable[..., Scene], after: str
) -> None:
    one = scene(Answer(429, headers={"Retry-After": after.encode().decode("latin-1")}))
    with pytest.raises(Unreachable, match="too many requests"):
        one.web.ask("POST", "x")
    assert one.waited == []
    assert len(one.server.seen) == 1


def test_a_limit_that_does_not_end_is_asked_twice_and_no_more(scene: Callable[..., Scene]) -> None:
    one = scene(Answer(429, headers={"Retry-After": "1"}))
    with pytest.raises(Unreachable, match="it asks for 1 s"):
        one.web.ask("GET", "x")
    assert len(one.server.seen) == 2


def test_a_server_that_is_down_for_a_moment_is_read_again_and_not_written_again(
    scene: Callable[..., Scene],
) -> None:
    one = scene(Answer(503, headers={"Retry-After": "2"}), Answer(200, "ok"))
    assert one.web.ask("GET", "x").value == "ok"
    two = scene(Answer(503, headers={"Retry-After": "2"}), Answer(200, "ok"))
    with pytest.raises(LostAnswer):
        two.web.ask("POST", "x")
    assert two.waited == []


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_broken_server_leaves_a_reading_undone_and_a_writing_in_doubt(
    scene: Callable[..., Scene], status: int
) -> None:
    one = scene(
        Answer(status, body=b"<html>Bad\x1b[31m gateway</html>", headers={"Content-Type": "text/html"})
    )
    with pytest.raises(Unreachable, match=f"answered with {status}: <html>Bad \\[31m gateway"):
        one.web.ask("GET", "x")
    with pytest.raises(LostAnswer):
        one.web.ask("PUT", "x")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "answered with 400"),
        (401, "the login is not accepted"),
        (403, "the login is not accepted"),
        (404, "there is no such record"),
        (409, "changed meanwhile"),
        (412, "changed meanwhile"),
        (422, "answered with 422"),
    ],
)
def test_what_the_server_says_no_to_is_refused(scene: Callable[..., Scene], status: int, words: str) -> None:
    with pytest.raises(Refused, match=words):
        scene(Answer(status, {"message": "no"})).web.ask("POST", "x")


def test_a_status_that_the_caller_can_use_is_given(scene: Callable[..., Scene]) -> None:
    assert scene(Answer(412, {"message": "no"})).web.ask("PUT", "x", usable=(412,)).status == 412


def test_a_login_is_not_carried_to_another_address(scene: Callable[..., Scene]) -> None:
    one = scene(Answer(302, headers={"Location": "https://elsewhere.example/login"}))
    with pytest.raises(Refused, match=r"is pointed to https://elsewhere\.example/login"):
        one.web.ask("GET", "x")
    assert len(one.server.seen) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a"\r\n',
        b"not http at all\r\n\r\n",
    ],
)
def test_a_cut_answer_leaves_a_reading_undone_and_a_writing_in_doubt(
    scene: Callable[..., Scene], raw: bytes
) -> None:
    one = scene(Answer(raw=raw))
    with pytest.raises(Unreachable, match="no whole answer"):
        one.web.ask("GET", "x")
    with pytest.raises(LostAnswer, match="no whole answer"):
        one.web.ask("POST", "x")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(raw=b"", hang=True),
        Answer(raw=b"HTTP/1.1 200 OK\r\nX-Slow: ", drip=b"."),
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", drip=b" "),
    ],
    ids=["silent", "slow headers", "slow body"],
)
def test_a_slow_answer_ends_with_its_time_also_on_a_kept_connection(
    scene: Callable[..., Scene], answer: Answer
) -> None:
    one = scene(Answer(200, "ok"), answer)
    assert one.web.ask("GET", "x").value == "ok"
    began = time.monotonic()
    with pytest.raises(Unreachable, match="1 s are over"):
        one.web.ask("GET", "x")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(body=b"[" + b" " * LARGEST + b"]"), "larger than 4 MiB"),
        (Answer(body=gzip.compress(b"[]"), headers={"Content-Encoding": "gzip"}), "packed"),
        (Answer(body=b"<html>", headers={"Content-Type": "text/html"}), "text/html, which is not JSON"),
        (Answer(body=b"[" * 100_000), "not JSON"),
        (Answer(body=b'{"a": NaN}'), "not JSON"),
        (Answer(body=b'"\xff"'), "not JSON"),
        (Answer(body=b'{"state": "draft", "state": "approved"}'), "one name twice"),
        (Answer(body=b"9" * 5000), "not JSON"),
    ],
    ids=["huge", "packed", "html", "deep", "constant", "not utf-8", "twice", "number"],
)
def test_what_is_no_record_is_not_read(scene: Callable[..., Scene], answer: Answer, words: str) -> None:
    one = scene(answer)
    with pytest.raises(Unreachable, match=words):
        one.web.ask("GET", "x")
    with pytest.raises(LostAnswer, match=words):
        one.web.ask("POST", "x")


def test_nobody_there_changes_nothing() -> None:
    with answering(lambda _: Answer()) as server:
        url = server.url
    with closing(Web(url, LOGIN, timeout_s=1)) as web, pytest.raises(Unreachable, match="cannot be reached"):
        web.ask("POST", "x")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://rt.example.org", "over https"),
        ("ftp://127.0.0.1", "over https"),
        ("https://", "over https"),
        ("http://127.0.0.1.example.org", "over https"),
        ("https://user:secret@rt.example.org", "does not stand in the address"),
        ("https://@rt.example.org", "does not stand in the address"),
        ("https://rt.example.org/?a=b", "ends with its path"),
        ("https://rt.example.org:port", "no address"),
    ],
)
def test_logins_are_sent_only_where_nobody_listens_in(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        Web(url, LOGIN, timeout_s=1)
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "[::1]"])
def test_a_tunnel_on_this_machine_needs_no_https(host: str) -> None:
    Web(f"http://{host}:8080/x", {}, timeout_s=1).close()


def test_a_login_that_no_header_can_hold_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        Web("https://rt.example.org", {"Authorization": "token tök-9b2f64c1\u2603"}, timeout_s=1)
    assert "9b2f" not in str(caught.value)


def test_a_server_that_repeats_a_login_gets_it_into_no_error_and_no_log(
    scene: Callable[..., Scene], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    basic = base64.b64encode(f"mimrun:{TOKEN}".encode()).decode()
    with answering(
        lambda a: Answer(400, body=f"you sent {a.headers['Authorization']} {TOKEN}".encode())
    ) as server:
        for login in (f"token {TOKEN}", f"Basic {basic}"):
            with (
                closing(Web(server.url, {"Authorization": login}, timeout_s=1)) as web,
                pytest.raises(Refused, match=r"you sent \*\*\*") as caught,
            ):
                web.ask("GET", "x")
            assert TOKEN not in str(caught.value)
            assert basic not in str(caught.value)
    assert TOKEN not in caplog.text
    assert basic not in caplog.text


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate of its own for 127.0.0.1, and a server's context with it."""
    folder = tmp_path_factory.mktemp("tls")
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=here"
    command += " -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run(
        ["openssl", *command.split()],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "cert.pem", context


@pytest.mark.needs("openssl")
def test_a_private_authority_is_trusted_only_where_it_is_named(
    authority: tuple[Path, ssl.SSLContext],
) -> None:
    certificate, context = authority
    with answering(lambda _: Answer(200, "ok"), context=context) as server:
        with closing(Web(server.url, LOGIN, timeout_s=5, ca_file=str(certificate))) as web:
            assert web.ask("GET", "x").value == "ok"
        with (
            closing(Web(server.url, LOGIN, timeout_s=5)) as web,
            pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            web.ask("POST", "x")
    assert [asked.method for asked in server.seen] == ["GET"]


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "none.pem"):
        with pytest.raises(SettingsError, match=name):
            Web("https://rt.example.org", {}, timeout_s=1, ca_file=str(tmp_path / name))
