"""A run of ten thousand steps, replayed: told again, decided again by today's code, tried with its own plan.

    python bench/replay.py [STEPS]

Nothing is asserted.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from noop import CATALOG, RESPONDER, plan_of

from mimrun.app.execution import execute_run
from mimrun.app.home import lay_home, open_home
from mimrun.app.replaying import entries_of, narrate, open_record, redecide
from mimrun.app.runs import create_run, load_plan
from mimrun.replay.against import Trial
from mimrun.replay.weighing import weigh
from mimrun.settings import Settings

STEPS = 10_000
TARGET = "target: at most 10 s each"
T = TypeVar("T")


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else STEPS
    folder = Path(tempfile.mkdtemp(prefix="mimrun-bench-"))
    try:
        settings = Settings(home=folder)
        lay_home(settings)
        run = recorded(settings, steps)
        print(f"{steps} steps, one after the other; {TARGET}\n")
        print(f"{'what':<28}{'s':>8}{'s of processor':>17}")
        with open_record(settings) as home:
            frames = timed("told", lambda: narrate(home, run)).frames
            assert timed("decided again", lambda: redecide(home, run)).verdict == "same"
            assert timed("tried with its own plan", lambda: tried(home, run)).verdict == "same"
            print(f"\n{len(frames)} entries")
    finally:
        shutil.rmtree(folder)


def recorded(settings: Settings, steps: int) -> str:
    """Execute a run of so many steps that do nothing."""
    one = plan_of(1)
    numbered = (
        one.nodes[0].model_copy(update={"path": str(n), "name": f"Step {n}"}) for n in range(1, steps + 1)
    )
    plan = one.model_copy(update={"nodes": tuple(numbered)})
    with open_home(settings, catalog=CATALOG) as home:
        run = create_run(home, plan, RESPONDER, direct=True)
    execute_run(settings, run, catalog=CATALOG)
    return run


def tried(home: object, run: str) -> object:
    """Try the run's own plan on its record."""
    entries, plan = entries_of(home, run), load_plan(home, run)
    return weigh(run, entries, Trial(run, entries, plan, plan, home.store).play(), taken=())


def timed(what: str, work: Callable[[], T]) -> T:
    """Do something, and print how long it took."""
    began, used = time.monotonic(), time.process_time()
    came = work()
    print(f"{what:<28}{time.monotonic() - began:>8.2f}{time.process_time() - used:>17.2f}")
    return came


if __name__ == "__main__":
    main()
