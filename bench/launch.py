"""From Enter to the first action: how long a responder waits after the go.

    python bench/launch.py [REPETITIONS]

The real command line on a pseudo-terminal: it shows the plan and asks, we press y and Enter and wait for the
file that the first step writes. Besides: waking the engine with and without the database template, and
going on after an approval. Nothing is asserted; figures depend on the machine and what else it does.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from flows.launcher import PrefectLauncher
from flows.template import lay_template
from mimrun.app.home import lay_home, operating_system_user
from mimrun.settings import Settings

MIMRUN = [sys.executable, "-c", "import sys; from mimrun.cli import main; sys.exit(main())"]
WAIT_S = 60.0

RUNBOOK = """\
schema: mimrun/1
name: bench-launch-{name}
version: 1.0.0
title: Write a word
stage: containment
owner: bench
risk: low
review_by: 2099-01-01
steps:
  - name: Write
    local.command: {{argv: [touch, '{out}']}}
{more}"""

GATED = """\
  - name: People agree
    gate: {approvals: [{role: change_manager}], expires: 30m}
  - name: Go on
    local.command: {argv: ["true"]}
"""

PEOPLE = """\
shared: ['{account}']
people:
  responder: {{name: Responder, roles: [responder], accounts: ['{account}']}}
  alex: {{name: Alex, roles: [change_manager]}}
"""


class Bench:
    """A home that is used for all repetitions of one row."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.settings = Settings(home=folder / "home")
        self.launcher = PrefectLauncher(self.settings.home)
        self.environ = dict(os.environ) | {
            "MIMRUN_HOME": str(self.settings.home),
            "XDG_CACHE_HOME": str(cache),
            "TERM": "xterm",
        }
        os.environ["XDG_CACHE_HOME"] = str(cache)
        lay_home(self.settings)
        self.settings.people.write_text(PEOPLE.format(account=operating_system_user()))
        lay_template(self.settings.home, cache / "mimrun")

    def runbook(self, more: str = "") -> tuple[Path, Path]:
        """Write a runbook of a new name; give its file and the file that its first step makes."""
        name = f"{time.monotonic_ns()}"
        out = self.folder / f"{name}.out"
        file = self.folder / f"{name}.yaml"
        file.write_text(RUNBOOK.format(name=name, out=out, more=more))
        return file, out

    def enter(self, *options: str, reading_s: float = 0.5) -> float:
        """Run a runbook, press Enter after some reading, and give the seconds until its first effect."""
        file, out = self.runbook()
        pid, line = pty.fork()
        if pid == 0:
            os.execve(sys.executable, [*MIMRUN, "run", str(file), "--detach", *options], self.environ)
        try:
            _read_until(line, b"Go?")
            time.sleep(reading_s)
            began = time.monotonic()
            os.write(line, b"y\n")
            _until(out.exists)
            took = time.monotonic() - began
            with contextlib.suppress(OSError):  # a terminal whose other end is closed answers EIO
                while os.read(line, 65536):
                    pass
        finally:
            os.close(line)
            os.waitpid(pid, 0)
        return took

    def approve(self) -> float:
        """Give the seconds from the recorded approval to the start of the step behind the gate."""
        file, _ = self.runbook(GATED)
        self.mimrun("run", str(file), "--yes", "--json")
        status = json.loads(self.mimrun("status", "--json"))
        self.mimrun("approve", status["run"], "--as", "alex", "--yes")
        _until(lambda: json.loads(self.mimrun("status", "--json"))["status"] == "succeeded")
        entries = [
            json.loads(line) for line in self.mimrun("log", "show", status["run"], "--json").splitlines()
        ]
        decided = next(e["ts"] for e in entries if e["kind"] == "gate.decided")
        started = next(e["ts"] for e in entries if e["kind"] == "step.started" and e["step"] == "3")
        return (_moment(started) - _moment(decided)).total_seconds()

    def mimrun(self, *arguments: str) -> str:
        done = subprocess.run(
            [*MIMRUN, *arguments], env=self.environ, capture_output=True, text=True, check=False
        )
        return done.stdout

    def down(self) -> None:
        with contextlib.suppress(Exception):
            self.launcher.down(force=True)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > end:
            raise SystemExit("it did not happen within a minute")
        time.sleep(0.002)


def _read_until(line: int, words: bytes) -> None:
    got = b""
    end = time.monotonic() + WAIT_S
    while words not in got:
        if time.monotonic() > end:
            raise SystemExit(f"no {words!r} in {got.decode(errors='replace')}")
        if select.select([line], [], [], 1)[0]:
            got += os.read(line, 65536)


@contextlib.contextmanager
def _bench(cache: Path) -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="mimrun-bench-"))
    bench = Bench(folder, cache)
    try:
        yield bench
    finally:
        bench.down()
        shutil.rmtree(folder, ignore_errors=True)


def _row(name: str, seconds: list[float]) -> None:
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"{name:<58} {middle:7.2f} {low:7.2f} {high:7.2f}   n={len(seconds)}", flush=True)


def _up(cache: Path, *, template: bool) -> float:
    """Give the seconds that `mimrun up` takes in a home without an engine."""
    with tempfile.TemporaryDirectory(prefix="mimrun-bench-") as empty:
        kept = cache if template else Path(empty)
        with _bench(cache) as bench:
            if not template:
                for file in (bench.settings.home / "prefect").iterdir():
                    file.unlink()
            bench.environ["XDG_CACHE_HOME"] = os.environ["XDG_CACHE_HOME"] = str(kept)
            began = time.monotonic()
            bench.launcher.up(WAIT_S)
            return time.monotonic() - began


def main() -> None:
    """Measure every row and print it as soon as it is known."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    cache = Path(tempfile.mkdtemp(prefix="mimrun-cache-"))
    print(f"{'seconds':<58} {'median':>7} {'min':>7} {'max':>7}")
    try:
        _row("mimrun up, no template anywhere", [_up(cache, template=False)])
        _row("mimrun up, with the template", [_up(cache, template=True) for _ in range(min(many, 3))])
        with _bench(cache) as bench:
            _row("Enter to first action, --direct", [bench.enter("--direct") for _ in range(many)])
        with _bench(cache) as bench:
            bench.launcher.up(WAIT_S)
            _row("Enter to first action, warm engine", [bench.enter() for _ in range(many)])
            _row("approval to the step behind the gate, warm engine", [bench.approve() for _ in range(many)])
        for reading in (0.0, 3.0, 8.0):
            took = []
            for _ in range(min(many, 3)):
                with _bench(cache) as bench:
                    took.append(bench.enter(reading_s=reading))
            _row(f"Enter to first action, cold engine, {reading:.0f} s of reading", took)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


if __name__ == "__main__":
    main()
