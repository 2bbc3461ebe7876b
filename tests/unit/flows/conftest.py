"""One real engine with a real Prefect for all tests of the flows, and homes for more."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flows.environment import Rooms, password
from flows.launcher import PrefectLauncher
from flows.protocol import ask
from flows.template import lay_template

SCRIPT = Path(__file__).with_name("engine_process.py")


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Poll until something is true and give it; fail when it does not become so in time."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


class Lab:
    """A home whose engine does the steps that small files describe."""

    def __init__(self, home: Path, environ: dict[str, str] | None = None) -> None:
        self.home = home
        self.runs = home / "runs"
        self.runs.mkdir()
        own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environ = own | (environ or {})
        self.launcher = PrefectLauncher(home)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        command = [sys.executable, str(SCRIPT), str(self.home), *arguments]
        self.process = subprocess.Popen(command, cwd="/", env=self.environ, start_new_session=True)

    def ready(self) -> None:
        until(self.launcher.ready, 60)

    def write(self, run: str, *steps: dict[str, Any]) -> None:
        (self.runs / f"{run}.json").write_text(json.dumps(steps))

    def done(self, run: str) -> list[str]:
        file = self.runs / f"{run}.done"
        return file.read_text().splitlines() if file.exists() else []

    def rest(self, run: str) -> None:
        """Wait until the engine has let go of a run."""
        until(lambda: run not in self.launcher.status().runs)

    def execute(self, run: str, *steps: dict[str, Any]) -> list[str]:
        if steps:
            self.write(run, *steps)
        assert self.launcher.submit(run)
        self.rest(run)
        return self.done(run)

    def ask(self, path: str, body: dict[str, Any] | None = None, auth: str | None = None) -> tuple[int, Any]:
        """Ask Prefect's API; with a body by POST."""
        url = urlsplit(self.launcher.status().api_url)
        connection = HTTPConnection(url.hostname or "", url.port, timeout=10)
        secret = b64encode((password(Rooms(self.home)) if auth is None else auth).encode()).decode()
        headers = {"Authorization": f"Basic {secret}", "Content-Type": "application/json"}
        try:
            connection.request(
                "POST" if body is not None else "GET", url.path + path, json.dumps(body), headers
            )
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def flow_run(self, run: str) -> dict[str, Any]:
        found = self.ask("/flow_runs/filter", {"flow_runs": {"name": {"any_": [f"small {run}"]}}})[1]
        assert len(found) <= 1, "one run has one flow run"
        return found[0] if found else {"state": None}

    def shows(self, run: str, state: str) -> dict[str, Any]:
        """Wait until Prefect shows a run in a state."""

        def look() -> dict[str, Any] | None:
            flow_run = self.flow_run(run)
            return flow_run if flow_run["state"] and flow_run["state"]["name"] == state else None

        return until(look)

    def tasks(self, run: str) -> list[tuple[str, str, str]]:
        """Give name, state and message of a run's finished task runs, by the time they began."""
        query = {"flow_runs": {"name": {"any_": [f"small {run}"]}}, "sort": "EXPECTED_START_TIME_ASC"}
        found = self.ask("/task_runs/filter", query)[1]
        final = [task for task in found if task["state"] and task["end_time"]]
        return [(task["name"], task["state"]["name"], task["state"]["message"] or "") for task in final]

    def server_pid(self) -> int:
        return int((ask(self.home, {"do": "ping"}) or {})["server_pid"])

    def close(self) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def cache(pytestconfig: pytest.Config) -> Path:
    """What is kept from one session to the next: the migrated database of this Prefect version."""
    return pytestconfig.cache.mkdir("mimrun-flows") if pytestconfig.cache else Path.home()


@pytest.fixture(scope="session")
def make_lab(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Lab]]:
    labs: list[Lab] = []

    def make(environ: dict[str, str] | None = None) -> Lab:
        home = tmp_path_factory.mktemp("home")
        lay_template(home, cache / "mimrun")
        labs.append(Lab(home, {"XDG_CACHE_HOME": str(cache)} | (environ or {})))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


@pytest.fixture(scope="session")
def shared(make_lab: Callable[..., Lab]) -> Lab:
    """An engine that many tests use; they leave it running."""
    lab = make_lab()
    lab.start()
    lab.ready()
    return lab


@pytest.fixture
def run_python() -> Callable[[str], str]:
    """Run a line of Python in a fresh process and give what it prints."""

    def run(code: str) -> str:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    return run
