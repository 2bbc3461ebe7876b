"""A warm server: from a request to the first action, and how long its answers take.

    python bench/server.py [REPETITIONS]

A real `mimrun serve` with its engine. Each run is planned before, and launched with one request; its first step writes a
file, for which we wait. Nothing is asserted; figures depend on the machine and what else it does.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from flows.template import lay_template
from mimrun.app.home import lay_home, open_home, operating_system_user
from mimrun.app.identity import identify
from mimrun.app.tokens import Wanted, create_token
from mimrun.settings import Settings

MIMRUN = [sys.executable, "-c", "import sys; from mimrun.cli import main; sys.exit(main())"]
WAIT_S = 120.0

RUNBOOK = """\
schema: mimrun/1
name: bench-server
version: 1.0.0
title: Write a word
stage: containment
owner: bench
risk: low
review_by: 2099-01-01
inputs:
  out: {type: string}
steps:
  - name: Write
    local.command: {argv: [touch, "{{ out }}"]}
"""

PEOPLE = """\
people:
  responder: {{name: Responder, roles: [responder], accounts: ['{account}']}}
"""


class Bench:
    """A server and a program that speaks with it over one connection, as a program does."""

    def __init__(self, folder: Path, url: str, token: str) -> None:
        self.folder, self._token = folder, token
        self._line = http.client.HTTPConnection(url.removeprefix("http://"), timeout=WAIT_S)

    def ask(self, method: str, path: str, **given: Any) -> Any:
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        self._line.request(method, path, json.dumps(given) if given else None, headers)
        answer = self._line.getresponse()
        body = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {body.decode(errors='replace')[:500]}")
        return json.loads(body)

    def launch(self) -> tuple[float, float, str]:
        """Launch a run; give the seconds until its first effect, those until the answer, and how it was driven."""
        out = self.folder / f"{time.monotonic_ns()}.out"
        given = {"runbook": "bench-server", "inputs": {"out": str(out)}}
        digest = self.ask("POST", "/api/v1/plans", **given)["digest"]
        began = time.monotonic()
        made = self.ask("POST", "/api/v1/runs", plan=digest, **given)
        answered = time.monotonic() - began
        _until(out.exists)
        took = time.monotonic() - began
        _until(lambda: self.ask("GET", f"/api/v1/runs/{made['run']}")["status"] == "succeeded", 0.05)
        return took, answered, self.ask("GET", f"/api/v1/runs/{made['run']}")["mode"]

    def timed(self, path: str) -> float:
        began = time.monotonic()
        self.ask("GET", path)
        return time.monotonic() - began


def _until(true: Callable[[], bool], look_s: float = 0.001) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > end:
            raise SystemExit("it did not happen in time")
        time.sleep(look_s)


@contextlib.contextmanager
def _bench(*words: str) -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="mimrun-bench-"))
    settings = Settings(home=folder / "home")
    (folder / "bench-server.yaml").write_text(RUNBOOK)
    lay_home(settings)
    settings.people.write_text(PEOPLE.format(account=operating_system_user()))
    if "--no-engine" not in words:
        lay_template(settings.home)
    with open_home(settings) as home:
        wanted = Wanted("bench", "responder", frozenset({"read", "launch"}), timedelta(hours=1))
        token, _ = create_token(home, identify(home.people(), None), wanted)
    environ = {**os.environ, "MIMRUN_HOME": str(settings.home), "MIMRUN_RUNBOOKS": str(folder)}
    command = [*MIMRUN, "serve", "--port", "0", "--json", *words]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = json.loads(process.stdout.readline())["url"]
            bench = Bench(folder, url, token.reveal())
            if "--no-engine" not in words:
                _until(lambda: _ready(url), 0.1)
            yield bench
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)


def _ready(url: str) -> bool:
    line = http.client.HTTPConnection(url.removeprefix("http://"), timeout=WAIT_S)
    try:
        line.request("GET", "/ready")
        return line.getresponse().status == 200
    finally:
        line.close()


def _row(name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    p99 = ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]
    middle = statistics.median(ordered)
    print(
        f"{name:<58} {middle * 1e3:8.0f} {ordered[0] * 1e3:8.0f} {p99 * 1e3:8.0f}   n={len(ordered)}",
        flush=True,
    )


def _launches(name: str, bench: Bench, many: int) -> None:
    found = [bench.launch() for _ in range(many)]
    modes = ", ".join(sorted({mode for *_, mode in found}))
    _row(f"{name}: request to first action ({modes})", [took for took, *_ in found])
    _row(f"{name}: request to answer", [answered for _, answered, _ in found])


def main() -> None:
    """Measure every row and print it as soon as it is known."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    print(f"{'milliseconds':<58} {'median':>8} {'min':>8} {'p99':>8}")
    with _bench("--no-worker") as bench:
        bench.launch()
        _launches("warm engine", bench, many)
        for path in ("/health", "/api/v1/whoami", "/api/v1/runs"):
            _row(f"GET {path}", [bench.timed(path) for _ in range(many * 10)])
    with _bench("--no-engine", "--no-worker") as bench:
        bench.launch()
        _launches("no engine, a process each", bench, max(many // 4, 3))


if __name__ == "__main__":
    main()
