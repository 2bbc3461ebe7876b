"""`mimrun serve` in processes of its own: what it says, what it keeps up, how it ends, and what it refuses."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from builders.commands import GATE, Desk, mark, until
from builders.program import token_of
from builders.serving import Server, serving

from flows.template import lay_template
from mimrun.app.home import Home, open_home
from mimrun.app.identity import Identity
from mimrun.app.manual_work import Place, write_note
from mimrun.app.server.place import find_server
from mimrun.gate.people import Person
from mimrun.settings import Settings
from mimrun.web.form_key import COOKIE, HOST_COOKIE

SOON_S = 20.0
WAKES_S = 80.0


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def settings_of(desk: Desk) -> Settings:
    return Settings(home=desk.home)


def get(server: Server, path: str, **headers: str) -> tuple[int, Any]:
    """Ask a server for something; gives the status, and what the JSON says."""
    request = urllib.request.Request(server.url + path, headers={**headers})
    try:
        with urllib.request.urlopen(request, timeout=SOON_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.loads(exc.read() or b"{}")


def post(server: Server, path: str, token: str, **given: Any) -> Any:
    """Send something with a token."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    request = urllib.request.Request(server.url + path, json.dumps(given).encode(), headers)
    with urllib.request.urlopen(request, timeout=SOON_S) as answer:
        return json.load(answer)


class Stream:
    """A live stream, read in a thread of its own."""

    def __init__(self, server: Server, cookie: str, query: str = "", **headers: str) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self._line = http.client.HTTPConnection(host, int(port), timeout=60)
        self._line.request("GET", f"/events{query}", headers={"cookie": f"{COOKIE}={cookie}", **headers})
        self._socket = self._line.sock  # http.client forgets it where the answer ends with the line
        self._answer = self._line.getresponse()
        self.status, self.kind = self._answer.status, self._answer.getheader("content-type", "")
        self.lines: list[str] = []
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while line := self._answer.readline():
                self.lines.append(line.decode().rstrip("\n"))
        except OSError:
            pass
        self.ended.set()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was told so far."""
        return [json.loads(line.removeprefix("data: ")) for line in self.lines if line.startswith("data: ")]

    @property
    def last(self) -> int:
        """The number to go on from."""
        return int([line.removeprefix("id: ") for line in self.lines if line.startswith("id: ")][-1])

    def close(self) -> None:
        """Hang up."""
        if not self.ended.is_set():
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(SOON_S)
        self._answer.close()
        self._line.close()


@contextmanager
def streaming(server: Server, cookie: str, query: str = "", **headers: str) -> Iterator[Stream]:
    stream = Stream(server, cookie, query, **headers)
    try:
        yield stream
    finally:
        stream.close()


def note(desk: Desk, home: Home, text: str = "looked") -> int:
    """Write something down beside the server, in the first incident; gives the entry."""
    incident = desk("incident", "list", "--json").json[0]["incident"]
    identity = Identity(Person("responder", "responder"), "os-user")
    return write_note(home, identity, Place(incident), text)[0].seq


def pid_lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def worker_of(server: Server) -> int:
    """Give the worker that a server keeps up; 0 where there is none now."""
    for pid in descendants(server.process.pid):
        if b"mimrun.app.server.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return 0


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def test_it_says_where_it_is_and_others_find_it(desk: Desk) -> None:
    with serving(desk.home) as server:
        assert server.said["engine"] == server.said["worker"] == "left out"
        assert get(server, "/health") == (200, {"status": "alive"})
        status, ready = get(server, "/ready")
        assert (status, ready["ready"]) == (200, True)
        place = find_server(settings_of(desk))
        assert place is not None
        assert (place.url, place.pid) == (server.url, server.process.pid)
        assert (desk.home / "server.json").stat().st_mode & 0o777 == 0o600
        checks = {check["name"]: check for check in desk("doctor", "--json").json}
        assert server.url in checks["server"]["found"]
        desk.run(desk.runbook(mark("one")))
        assert f"{server.url}/runs/run-" in desk("status").out
    assert server.process.returncode == 0
    assert find_server(settings_of(desk)) is None
    assert not (desk.home / "server.json").exists()
    assert "/runs/run-" not in desk("status").out


def test_a_second_server_of_one_home_is_refused(desk: Desk) -> None:
    with serving(desk.home) as server:
        said = desk("serve", "--port", "0", "--no-engine", "--no-worker")
        assert said.code == 5
        assert f"is up already at {server.url} (process {server.process.pid})" in said.err
        assert get(server, "/health")[0] == 200


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--host", "0.0.0.0"), "--tls-cert"),
        (("--host", "::"), "--insecure does without"),
        (("--tls-cert", "{file}"), "go together"),
        (("--tls-key", "{file}"), "go together"),
        (("--tls-cert", "{file}", "--tls-key", "{file}"), "cannot be used"),
        (("--public-url", "mim.example.org"), "https://HOST"),
        (("--host", "192.0.2.1", "--insecure"), "cannot listen"),
    ],
)
def test_options_that_would_not_be_safe_or_cannot_work_are_refused(
    desk: Desk, words: tuple[str, ...], said: str
) -> None:
    file = desk.write("file.pem", "no certificate")
    given = [word.format(file=file) for word in words]
    answer = desk("serve", "--port", "0", "--no-engine", "--no-worker", *given)
    assert answer.code == 2
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_a_port_that_is_taken_is_said(desk: Desk, tmp_path: Path) -> None:
    with serving(desk.home) as server:
        other = Desk(tmp_path / "other") if (tmp_path / "other").mkdir() is None else desk
        port = server.url.rpartition(":")[2]
        said = other("serve", "--port", port, "--no-engine", "--no-worker")
        assert (said.code, "choose others with --host and --port" in said.err) == (2, True)


def test_it_speaks_https_with_a_certificate(desk: Desk, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    with serving(desk.home, "--tls-cert", str(cert), "--tls-key", str(key)) as server:
        assert server.url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(cert))
        with urllib.request.urlopen(f"{server.url}/health", context=trusting, timeout=SOON_S) as answer:
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
        with open_home(settings_of(desk)) as home:
            form = f"token={token_of(home, 'alex', 'read')}".encode()
        request = urllib.request.Request(f"{server.url}/sign-in", form)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trusting), _Stay())
        with pytest.raises(urllib.error.HTTPError) as caught:
            opener.open(request, timeout=SOON_S)
        with caught.value as told:
            assert told.code == 303
            assert told.headers["set-cookie"].startswith(f"{HOST_COOKIE}=ses-")
            assert "Secure" in told.headers["set-cookie"]


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Go nowhere."""


def test_what_is_recorded_is_told_and_gone_on_with_where_it_broke_off(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    with serving(desk.home) as server, open_home(settings_of(desk)) as home:
        cookie = server.cookie("alex")
        incident = desk("incident", "list", "--json").json[0]["incident"]
        with streaming(server, cookie) as stream:
            assert (stream.status, stream.kind.partition(";")[0]) == (200, "text/event-stream")
            until(lambda: stream.lines)
            first = note(desk, home)
            until(lambda: stream.events)
            told = stream.events[-1]
            assert told == {"seq": first, "kinds": ["incident.note"], "runs": [], "incidents": [incident]}
            last = stream.last
        missed = [note(desk, home) for _ in range(3)]
        with streaming(server, cookie, **{"Last-Event-ID": str(last)}) as again:
            until(lambda: again.events)
            until(lambda: again.last == missed[-1])
            assert all(event["seq"] in missed for event in again.events)
        with streaming(server, cookie, f"?after={first}") as after:
            until(lambda: after.events)
            assert after.events[0]["seq"] == missed[-1]
            assert after.events[0]["kinds"] == ["incident.note"]
        with streaming(server, cookie, "?after=0&incident=INC-20200101-NONE") as other:
            note(desk, home)
            with streaming(server, cookie, f"?after=0&incident={incident}") as mine:
                until(lambda: mine.events)
            assert other.events == []


def test_a_stream_ends_with_its_session_and_a_stranger_gets_none(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    with serving(desk.home) as server:
        assert get(server, "/events")[0] == 401
        cookie = server.cookie("alex")
        with streaming(server, cookie) as stream:
            until(lambda: stream.lines)
            headers = {"cookie": f"{COOKIE}={cookie}"}
            (session,) = (one["name"] for one in desk("session", "list", "--json").json)
            people = desk.home / "people.yaml"
            people.write_text(people.read_text().replace("[responder]", "[responder, administrator]"))
            assert desk("session", "revoke", session).code == 0
            assert stream.ended.wait(SOON_S)
        assert get(server, "/events", **headers)[0] == 401


def test_a_sigterm_ends_it_in_order(desk: Desk) -> None:
    desk.run(desk.runbook(mark("one")))
    with serving(desk.home, "--worker") as server:
        until(lambda: get(server, "/ready")[1]["parts"].get("worker") == "ok")
        until(lambda: "worker_started" in (desk.home / "program.log").read_text())
        worker = worker_of(server)
        assert worker
        with streaming(server, server.cookie("alex")) as stream:
            until(lambda: stream.lines)
            began = time.monotonic()
            assert server.end() == 0
            assert time.monotonic() - began < SOON_S
            assert stream.ended.wait(SOON_S)
    assert not pid_lives(worker)
    events = [json.loads(line) for line in (desk.home / "program.log").read_text().splitlines()]
    assert [one["event"] for one in events if one["pid"] == server.process.pid][-1] == "server_stopped"
    assert {"server_started", "worker_started", "worker_stopped"} <= {one["event"] for one in events}


def test_after_a_kill_another_server_begins_at_once_and_sessions_go_on(desk: Desk) -> None:
    with serving(desk.home, "--worker") as server:
        until(lambda: worker_of(server))
        worker, cookie = worker_of(server), server.cookie("alex")
        until(lambda: "worker_started" in (desk.home / "program.log").read_text())
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(SOON_S)
        assert find_server(settings_of(desk)) is None
        with serving(desk.home) as again:
            assert get(again, "/api/v1/whoami", cookie=f"{COOKIE}={cookie}")[1]["person"] == "alex"
            assert find_server(settings_of(desk)).pid == again.process.pid  # type: ignore[union-attr]
        until(lambda: not pid_lives(worker), "the worker ends with its server, however that ends")


def test_a_worker_that_dies_is_started_again(desk: Desk) -> None:
    with serving(desk.home, "--worker") as server:
        until(lambda: worker_of(server))
        first = worker_of(server)
        os.kill(first, signal.SIGKILL)
        until(lambda: worker_of(server) not in (0, first))
        told = [json.loads(line) for line in (desk.home / "program.log").read_text().splitlines()]
        ended = [one for one in told if one["event"] == "server_child_ended"]
        assert [(one["child"], one["status"]) for one in ended] == [("worker", -signal.SIGKILL)]


def test_a_run_that_is_launched_without_an_engine_is_executed_and_left_in_order(desk: Desk) -> None:
    marks = desk.folder / "marks"
    slow = (
        f"  - {{name: Wait, local.shell: {{cmd: 'echo begun >> {marks}; sleep 2; echo over >> {marks}'}}}}\n"
    )
    desk.runbook(slow + mark("next"), name="slow")
    with serving(desk.home, MIMRUN_RUNBOOKS=str(desk.folder)) as server:
        with open_home(settings_of(desk)) as home:
            token = token_of(home, "alex")
        plan = post(server, "/api/v1/plans", token, runbook="slow", inputs={})["digest"]
        made = post(server, "/api/v1/runs", token, runbook="slow", inputs={}, plan=plan)
        until(marks.exists)
        server.end()
        until(lambda: desk.status(made["run"])["status"] == "interrupted")
        assert desk.marks() == ["begun", "over"], "the step that was under way was finished"
        assert desk("resume", made["run"], "--direct").code == 0
        assert desk.marks() == ["begun", "over", "next"]


@contextmanager
def warm(desk: Desk, *words: str) -> Iterator[Server]:
    """Serve with an engine that is ready."""
    lay_template(desk.home)
    with serving(desk.home, "--engine", *words, MIMRUN_RUNBOOKS=str(desk.folder)) as server:
        end = time.monotonic() + WAKES_S
        while get(server, "/ready")[0] != 200:
            assert time.monotonic() < end, "the engine is not ready in time"
            time.sleep(0.1)
        yield server


@pytest.mark.needs("prefect")
def test_a_server_that_ends_leaves_a_run_of_its_engine_between_two_steps(desk: Desk) -> None:
    marks = desk.folder / "marks"
    slow = (
        f"  - {{name: Wait, local.shell: {{cmd: 'echo begun >> {marks}; sleep 2; echo over >> {marks}'}}}}\n"
    )
    desk.runbook(slow + f"  - {{name: Next, local.shell: {{cmd: 'echo next >> {marks}'}}}}\n", name="slow")
    with warm(desk) as server:
        with open_home(settings_of(desk)) as home:
            token = token_of(home, "alex")
        plan = post(server, "/api/v1/plans", token, runbook="slow", inputs={})["digest"]
        run = post(server, "/api/v1/runs", token, runbook="slow", inputs={}, plan=plan)["run"]
        until(marks.exists)
    assert desk.marks() == ["begun", "over"], "the step that was under way was finished"
    assert (desk.status(run)["status"], desk.status(run)["mode"]) == ("interrupted", "prefect")
    assert desk.status(run)["recap"]["in_doubt"] == 0
    assert desk("worker", "--once").code == 0
    assert desk.status(run)["status"] == "succeeded"
    assert desk.marks() == ["begun", "over", "next"]


@pytest.mark.needs("prefect")
def test_with_it_up_runs_go_through_its_warm_engine(desk: Desk) -> None:
    book = desk.runbook(mark("one") + GATE + mark("two"), name="gated")
    with warm(desk) as server:
        said = desk("run", "--yes", "--json", "--detach", book)
        assert said.code == 3, said.err
        assert desk.status()["mode"] == "prefect"
        with open_home(settings_of(desk)) as home:
            token = token_of(home, "alex")
        gate = get(server, f"/api/v1/runs/{desk.status()['run']}/gate", authorization=f"Bearer {token}")[1]
        run = desk.status()["run"]
        told = post(server, f"/api/v1/runs/{run}/approve", token, digest=gate["digest"])
        assert (told["stands"], told["goes_on"]) == ("open", "")
        until(lambda: desk.status(run)["status"] == "succeeded")
        assert desk.status(run)["mode"] == "prefect"
        engine = json.loads(desk("up", "--json").out)["pid"]
    until(lambda: not pid_lives(engine), "the engine that the server has started ends with it")
