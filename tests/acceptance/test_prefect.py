"""Runs of real runbooks through the engine as it is installed, with everything in its place."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import flows
from flows.environment import Rooms, password
from flows.launcher import PrefectLauncher
from flows.protocol import ask
from flows.template import lay_template
from mimrun.app.decisions import decide, pending_gate
from mimrun.app.home import lay_home, open_home, operating_system_user
from mimrun.app.identity import identify
from mimrun.app.plans import prepare_plan
from mimrun.app.records import verify_log
from mimrun.app.runs import create_run, find_run
from mimrun.settings import Settings

pytestmark = pytest.mark.needs("prefect")

PEOPLE = """\
shared: ['ACCOUNT']
people:
  responder: {name: Responder, roles: [responder], accounts: ['ACCOUNT']}
  alex: {name: Alex, roles: [change_manager]}
"""

HEAD = """\
schema: mimrun/1
name: small-failover
version: 1.0.0
title: Three steps and what lies between
stage: containment
owner: tests
risk: low
review_by: 2099-01-01
steps:
"""

GUARD = '''\
"""Refuses and writes down every connection that leaves the machine."""
import os, socket

class Guarded(socket.socket):
    def connect(self, address):
        self._look(address)
        return super().connect(address)

    def connect_ex(self, address):
        self._look(address)
        return super().connect_ex(address)

    def _look(self, address):
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(("127.", "::1", "localhost")):
            note(address)

def note(address):
    with open(os.environ["GUARD_FILE"], "a") as file:
        file.write(f"{address}\\n")
    raise OSError(101, f"refused by the guard: {address}")

real = socket.getaddrinfo

def getaddrinfo(host, *rest, **named):
    if host not in (None, "", "localhost", "127.0.0.1", "::1"):
        note((host,))
    return real(host, *rest, **named)

socket.socket = Guarded
socket.getaddrinfo = getaddrinfo
'''

ENTER = """\
import sys
from prefect.client.orchestration import get_client
from flows.resuming import enter, open_flow_run
from flows.runbook import execute_runbook
from prefect.exceptions import Abort
run, home = sys.argv[1:]
with get_client(sync_client=True) as client:
    flow_run = open_flow_run(client, execute_runbook, run, "unused", home)
    try:
        print(enter(client, execute_runbook, flow_run).name)
    except Abort as exc:
        print("left alone:", exc)
"""


def until(true: Callable[[], Any], seconds: float = 45.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


@dataclass
class Place:
    """A home with an engine, and a file that every step writes a word into."""

    settings: Settings
    environ: dict[str, str]
    guard: Path
    out: Path

    @property
    def launcher(self) -> PrefectLauncher:
        return PrefectLauncher(self.settings.home)

    def start(self) -> None:
        """As `mimrun up` does, with an environment of its own."""
        code = "import sys, pathlib, flows.launcher as l; l.PrefectLauncher(pathlib.Path(sys.argv[1])).up(60)"
        subprocess.run([sys.executable, "-c", code, self.settings.home], env=self.environ, check=True)

    def launch(self, *steps: str) -> str:
        """Freeze a plan of steps; give the run's name."""
        file = self.out.with_suffix(".yaml")
        head = HEAD.replace("small-failover", f"small-failover-{self.out.stem.replace('_', '-')}")
        file.write_text(head + "".join(steps))
        with open_home(self.settings) as home:
            plan = prepare_plan(home, str(file), [], [])
            return create_run(home, plan, identify(home.people(), "responder"))

    def approve(self, run: str) -> None:
        with open_home(self.settings) as home:
            pending = pending_gate(home, run)
            digest = pending.request.digest
            decide(home, pending, identify(home.people(), "alex"), "approved", digest=digest)

    def worker(self, folder: Path) -> dict[str, str]:
        """Give the environment of a process elsewhere that uses this engine's API."""
        return self.environ | {
            "PREFECT_API_URL": self.launcher.status().api_url,
            "PREFECT_API_AUTH_STRING": password(Rooms(self.settings.home)),
            "PREFECT_HOME": str(folder / "worker"),
            "DO_NOT_TRACK": "1",
        }

    def word(self, word: str, wait_for: Path | None = None) -> str:
        """A step that writes a word, and then waits for a file."""
        wait = f"; while ! [ -e {wait_for} ]; do sleep 0.02; done" if wait_for else ""
        script = f"echo {word} >> {self.out}{wait}"
        return f"  - name: Write {word}\n    local.command: {{argv: [sh, -c, '{script}']}}\n"

    def words(self) -> list[str]:
        return self.out.read_text().split() if self.out.exists() else []

    def status(self, run: str) -> str:
        with open_home(self.settings) as home:
            return find_run(home, run).status

    def kinds(self, run: str) -> list[tuple[str, str, Any]]:
        with open_home(self.settings) as home:
            return [(str(e.kind), e.step, e.body) for e in home.store.entries(run=run)]

    def rest(self, run: str) -> None:
        until(lambda: run not in self.launcher.status().runs)

    def api(self, path: str, query: dict[str, Any]) -> Any:
        url = urlsplit(self.launcher.status().api_url)
        connection = HTTPConnection(url.hostname or "", url.port, timeout=10)
        secret = self.environ.get("PREFECT_API_AUTH_STRING") or password(Rooms(self.settings.home))
        headers = {"Authorization": f"Basic {b64encode(secret.encode()).decode()}"}
        try:
            connection.request("POST", url.path + path, json.dumps(query), headers)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def flow_run(self, run: str) -> dict[str, Any]:
        found = self.api("/flow_runs/filter", {"flow_runs": {"name": {"like_": run}}})
        assert len(found) <= 1
        return found[0] if found else {"state": None}

    def shows(self, run: str, state: str) -> dict[str, Any]:
        return until(lambda: (f := self.flow_run(run))["state"] and f["state"]["name"] == state and f)

    def tasks(self, run: str) -> list[tuple[str, str]]:
        query = {"flow_runs": {"name": {"like_": run}}, "sort": "EXPECTED_START_TIME_ASC"}
        found = self.api("/task_runs/filter", query)
        final = [task for task in found if task["state"] and task["end_time"]]
        return [(task["name"], task["state"]["name"]) for task in final]

    def server_pid(self) -> int:
        return int((ask(self.settings.home, {"do": "ping"}) or {})["server_pid"])


@pytest.fixture(scope="module")
def make_place(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Place]]:
    cache = (
        pytestconfig.cache.mkdir("mimrun-flows") if pytestconfig.cache else tmp_path_factory.mktemp("cache")
    )
    places: list[Place] = []

    def make(extra: dict[str, str]) -> Place:
        folder = tmp_path_factory.mktemp("prefect")
        settings = Settings(home=folder / "home")
        lay_home(settings)
        settings.people.write_text(PEOPLE.replace("ACCOUNT", operating_system_user()))
        (folder / "guard").mkdir()
        (folder / "guard" / "sitecustomize.py").write_text(GUARD)
        mine = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_") and k != "DO_NOT_TRACK"}
        guard = folder / "left.txt"
        mine |= {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(folder / "guard"), "GUARD_FILE": str(guard)}
        if "PREFECT_API_URL" not in extra:
            lay_template(settings.home, cache / "mimrun")
        place = Place(settings, mine | extra, guard, folder / "out")
        places.append(place)
        place.start()
        return place

    yield make
    for place in places:
        place.launcher.down(force=True)


@pytest.fixture(scope="module")
def warm(make_place: Callable[..., Place]) -> Place:
    return make_place({})


@pytest.fixture
def place(warm: Place, tmp_path: Path) -> Place:
    """The engine of the module, with a file of words for this test alone."""
    until(warm.launcher.ready)
    return Place(warm.settings, warm.environ, warm.guard, tmp_path / f"w{time.monotonic_ns()}")


GATE = "  - name: People agree\n    gate: {approvals: [{role: change_manager}], expires: 30m}\n"


def test_a_gated_run_is_seen_step_by_step_waits_without_a_process_and_goes_on_in_its_flow_run(
    place: Place,
) -> None:
    run = place.launch(place.word("one"), GATE, place.word("two"))
    assert place.launcher.submit(run)
    place.rest(run)
    assert place.status(run) == "waiting"
    waiting = place.shows(run, "AwaitingApproval")
    assert waiting["state"]["type"] == "PAUSED"
    assert waiting["name"] == f"small-failover-{place.out.stem} {run}"
    assert place.launcher.status().runs == ()
    place.approve(run)
    assert place.launcher.submit(run)
    ended = place.shows(run, "Completed")
    assert ended["id"] == waiting["id"]
    assert place.status(run) == "succeeded"
    assert place.words() == ["one", "two"]
    names = ["1 Write one", "2 People agree", "3 Write two"]
    assert until(lambda: len(t := place.tasks(run)) == 3 and t) == [(name, "Completed") for name in names]
    assert verify_log(place.settings).ok


def test_the_api_killed_in_the_middle_repeats_no_step_and_the_log_says_from_when_it_ran_directly(
    place: Place, tmp_path: Path
) -> None:
    free = tmp_path / "free"
    run = place.launch(place.word("one"), place.word("two", free), place.word("three"), place.word("four"))
    assert place.launcher.submit(run)
    until(lambda: place.words() == ["one", "two"])
    os.kill(place.server_pid(), signal.SIGKILL)
    until(lambda: not place.launcher.ready())
    free.touch()
    until(lambda: place.status(run) == "succeeded")
    assert place.words() == ["one", "two", "three", "four"]
    entries = place.kinds(run)
    modes = [(at, body.mode, body.reason) for at, (kind, _, body) in enumerate(entries) if kind == "run.mode"]
    assert [mode for _, mode, _ in modes] == ["prefect", "direct"]
    assert "server ended" in modes[1][2]
    before = {step for kind, step, _ in entries[: modes[1][0]] if kind == "step.started"}
    after = {step for kind, step, _ in entries[modes[1][0] :] if kind == "step.started"}
    assert (before, after) == ({"1", "2"}, {"3", "4"})
    assert verify_log(place.settings).ok
    until(place.launcher.ready)
    assert "finished directly" in place.shows(run, "Completed")["state"]["message"]


def test_two_processes_given_the_same_flow_run_are_one_that_acts(place: Place, tmp_path: Path) -> None:
    free = tmp_path / "free"
    run = place.launch(place.word("one", free), place.word("two"))
    assert place.launcher.submit(run)
    until(lambda: place.words() == ["one"])
    second = subprocess.run(
        [sys.executable, "-c", ENTER, run, str(place.settings.home)],
        env=place.worker(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "left alone" in second.stdout, second.stdout + second.stderr
    assert place.status(run) == "running"
    free.touch()
    place.shows(run, "Completed")
    assert place.words() == ["one", "two"]


def test_a_worker_runs_it_too_lets_go_at_a_gate_and_enters_again_when_resumed(
    place: Place, tmp_path: Path
) -> None:
    run = place.launch(place.word("one"), GATE, place.word("two"))
    parameters = {"run": run, "home": str(place.settings.home)}
    flow = place.api("/flows/", {"name": "execute-runbook"})["id"]
    deployment = place.api("/deployments/", {"name": f"worker-{run}", "flow_id": flow})["id"]
    flow_run = place.api(f"/deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"]

    def work() -> None:
        """Execute a flow run as the process does that a worker starts."""
        environ = place.worker(tmp_path) | {"PREFECT__FLOW_RUN_ID": flow_run}
        command = [
            sys.executable,
            "-m",
            "prefect.flow_engine",
            f"{flows.__path__[0]}/runbook.py:execute_runbook",
        ]
        subprocess.run(command, env=environ, cwd="/", check=True, capture_output=True, timeout=60)

    work()
    shown = place.shows(run, "Suspended")
    assert (shown["id"], place.status(run), place.words()) == (flow_run, "waiting", ["one"])
    place.approve(run)
    place.api(f"/flow_runs/{flow_run}/resume", {})
    work()
    assert place.shows(run, "Completed")["id"] == flow_run
    assert place.words() == ["one", "two"]


def test_a_failed_run_is_shown_as_failed_with_the_reason_of_the_log(place: Place) -> None:
    bad = "  - name: Fail\n    local.command: {argv: [sh, -c, 'exit 7']}\n"
    run = place.launch(place.word("one"), bad, place.word("never"))
    assert place.launcher.submit(run)
    failed = place.shows(run, "Failed")
    assert place.status(run) == "failed"
    assert place.words() == ["one"]
    assert failed["state"]["message"]
    tasks = until(lambda: len(t := place.tasks(run)) == 2 and t)
    assert tasks == [("1 Write one", "Completed"), ("2 Fail", "Failed")]


def test_a_named_api_is_used_and_no_server_is_brought(make_place: Callable[..., Place], place: Place) -> None:
    address = place.launcher.status().api_url
    secret = password(Rooms(place.settings.home))
    guest = make_place({"PREFECT_API_URL": address, "PREFECT_API_AUTH_STRING": secret})
    status = guest.launcher.status()
    assert status.api_url == address
    assert (ask(guest.settings.home, {"do": "ping"}) or {})["server_pid"] is None
    assert not Rooms(guest.settings.home).database.exists()
    run = guest.launch(guest.word("one"))
    assert guest.launcher.submit(run)
    place.shows(run, "Completed")
    assert guest.words() == ["one"]


def test_nothing_of_it_all_asks_for_an_address_outside_the_machine(place: Place) -> None:
    run = place.launch(place.word("one"))
    assert place.launcher.submit(run)
    place.shows(run, "Completed")
    assert not place.guard.exists(), place.guard.read_text()
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    caught = subprocess.run([sys.executable, "-c", code], env=place.environ, capture_output=True, check=False)
    assert caught.returncode != 0
    assert "192.0.2.1" in place.guard.read_text(), "the guard itself is awake"
    place.guard.unlink()
    shutil.rmtree(place.out, ignore_errors=True)
