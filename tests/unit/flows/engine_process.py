"""An engine process with an executor that does what a small file says; for tests and measurements.

    python engine_process.py HOME [IDLE_EXIT]

`<home>/runs/<run>.json` is a list of steps; each one appends a line to `<home>/runs/<run>.done` when it is
done. A step may be {"name": ..., "wait_for": path}, {"gate": path}, {"fail": reason}, or {"at_once": steps},
which are done on threads of their own, in copies of the context, as the branches of a run are.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flows.environment import Rooms
from flows.process import end_now, run
from mimrun.errors import RunError


@dataclass(frozen=True)
class Verdict:
    status: str
    detail: str
    waits_on: str = ""


@dataclass(frozen=True)
class Label:
    path: str
    name: str


class FileExecutor:
    """Does steps from a file once each, under a lock, and writes down what it did."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "runs"

    def name(self, run: str) -> str:
        return f"small {run}"

    def note(self, run: str, reason: str) -> None:
        self.write(run, f"mode direct {reason}")

    def write(self, run: str, line: str) -> None:
        with (self.folder / f"{run}.done").open("a") as file:
            file.write(line + "\n")

    def lines(self, run: str) -> list[str]:
        file = self.folder / f"{run}.done"
        return file.read_text().splitlines() if file.exists() else []

    def execute(self, run: str, around_step: Callable[..., None] | None, mode: str, reason: str) -> Verdict:
        with (self.folder / f"{run}.lease").open("w") as lease:
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Verdict("refused", "another process executes this run")
            self.write(run, f"mode {mode} {reason}".strip())
            (self.folder / f"{run}.verdict").unlink(missing_ok=True)
            verdict = self._steps(run, around_step or (lambda label, do: do()))
            (self.folder / f"{run}.verdict").write_text(f"{verdict.status} {verdict.waits_on}")
            return verdict

    def standing(self, run: str) -> Verdict | None:
        with (self.folder / f"{run}.lease").open("w") as lease:
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            file = self.folder / f"{run}.verdict"
            status, _, on = (file.read_text() if file.exists() else "interrupted").partition(" ")
            return Verdict(status, "so it stands", on)

    def leave(self) -> None:
        """Nothing is under way here that has steps."""

    def due(self) -> list[str]:
        return []

    def _steps(self, run: str, around_step: Callable[..., None]) -> Verdict:
        steps: list[dict[str, Any]] = json.loads((self.folder / f"{run}.json").read_text())
        for number, step in enumerate(steps, 1):
            line = f"step {number}"
            if line in self.lines(run):
                continue
            if "gate" in step and not Path(step["gate"]).exists():
                return Verdict("waiting", f"step {number} waits for an approval", "gate")
            if "at_once" in step:
                self._at_once(run, number, step["at_once"], around_step)
                continue
            try:
                around_step(Label(str(number), step["name"]), partial(self._do, run, line, step))
            except RunError as exc:
                return Verdict("failed", str(exc))
        return Verdict("succeeded", "all done")

    def _at_once(
        self, run: str, number: int, steps: list[dict[str, Any]], around_step: Callable[..., None]
    ) -> None:
        with ThreadPoolExecutor(len(steps)) as pool:
            for branch, step in enumerate(steps, 1):
                path = f"{number}.branch.{branch}"
                do = partial(self._do, run, f"step {path}", step)
                pool.submit(copy_context().run, around_step, Label(path, step["name"]), do)

    def _do(self, run: str, line: str, step: dict[str, Any]) -> None:
        if "environ" in step:
            self.write(run, "environ " + " ".join(sorted(n for n in os.environ if n.startswith("PREFECT_"))))
        self.write(run, line)
        while "wait_for" in step and not Path(step["wait_for"]).exists():
            time.sleep(0.02)
        if "fail" in step:
            raise RunError(step["fail"])


if __name__ == "__main__":
    home = Path(sys.argv[1])
    idle = int(sys.argv[2]) if len(sys.argv) > 2 else None
    end_now(run(Rooms(home), lambda: FileExecutor(home), idle))
