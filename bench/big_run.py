"""A run of ten thousand steps that do nothing: its time, its memory, and how long it takes to go on with it.

    python bench/big_run.py [STEPS]

The resume is that of a worker killed just before the last step. Nothing is asserted.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from noop import CATALOG, RESPONDER, Nothing, Pass, plan_of

from mimrun.app.execution import execute_run
from mimrun.app.home import lay_home, open_home
from mimrun.app.runs import create_run
from mimrun.catalog import Catalog
from mimrun.connector import Call, Outcome
from mimrun.settings import Settings

STEPS = 10_000
TARGET = "targets: run at most 60 s, memory below 200 MB more, resume at most 3 s"


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else STEPS
    print(f"{steps} steps, one after the other; {TARGET}\n")
    print(f"{'where':<12}{'run s':>8}{'ms/step':>9}{'more MB':>9}{'resume s':>10}{'MB':>7}{'log MB':>8}")
    one = plan_of(1)
    # A runbook file may not be as long as that; a run may: what is repeated here are its planned steps.
    numbered = (
        one.nodes[0].model_copy(update={"path": str(n), "name": f"Step {n}"}) for n in range(1, steps + 1)
    )
    plan = one.model_copy(update={"nodes": tuple(numbered)})
    for where, base in (("on disk", None), ("in memory", "/dev/shm")):
        if base is not None and not Path(base).is_dir():
            continue
        folder = Path(tempfile.mkdtemp(prefix="mimrun-bench-", dir=base))
        try:
            settings = Settings(home=folder)
            lay_home(settings)
            with open_home(settings, catalog=CATALOG) as home:
                run = create_run(home, plan, RESPONDER, direct=True)
            ran, grew = in_child(lambda run=run, settings=settings: until_the_last(settings, run, steps))
            resumed, more = in_child(lambda run=run, settings=settings: whole(settings, run))
            size = settings.log.stat().st_size / 1e6
        finally:
            shutil.rmtree(folder)
        print(
            f"{where:<12}{ran:>8.1f}{ran / steps * 1e3:>9.2f}{grew:>9.0f}{resumed:>10.2f}{more:>7.0f}{size:>8.1f}"
        )


class Last(Nothing):
    """Does nothing, and is killed in front of the last step."""

    left = 0

    def _perform(self, action: Pass, call: Call) -> Outcome:
        Last.left -= 1
        if Last.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._perform(action, call)


def until_the_last(settings: Settings, run: str, steps: int) -> None:
    """Execute, and be killed in front of the last step."""
    Last.left = steps
    execute_run(settings, run, catalog=Catalog(connectors={"nothing": Last}))


def whole(settings: Settings, run: str) -> None:
    """Go on. The last step happens once, so it is in doubt."""
    verdict = execute_run(settings, run, catalog=CATALOG)
    if verdict.status != "in_doubt":
        sys.exit(f"the run {verdict.status}: {verdict.detail}")


def in_child(work: Callable[[], None]) -> tuple[float, float]:
    """Give the seconds that work takes in a process of its own, and by how many MB that process grows."""
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    begun = time.perf_counter()
    child = os.fork()
    if child == 0:
        code = 9
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit("the child failed")
    return time.perf_counter() - begun, (usage.ru_maxrss * 1024 - before) / 1e6


if __name__ == "__main__":
    main()
