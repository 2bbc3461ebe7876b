"""A run's own cost for each step: durable intent and outcome of an action that does nothing.

    python bench/step_cost.py [STEPS]

On disk every append waits for the disk; in memory what is left is mimrun's own work. A step is measured
from its intent to that of the next one, by the moments in the log. Nothing is asserted.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
import time
from pathlib import Path

from noop import CATALOG, RESPONDER, plan_of

from mimrun.app.execution import execute_run
from mimrun.app.home import lay_home, open_home
from mimrun.app.runs import create_run
from mimrun.log.kinds import Kind
from mimrun.settings import Settings

STEPS = 200
TARGET_MS = 5.0


def measure(settings: Settings, steps: int) -> tuple[list[float], float]:
    """Give the milliseconds of each step, and the seconds of the whole run."""
    lay_home(settings)
    with open_home(settings, catalog=CATALOG) as home:
        run = create_run(home, plan_of(steps), RESPONDER, direct=True)
    begun = time.perf_counter()
    verdict = execute_run(settings, run, catalog=CATALOG)
    whole = time.perf_counter() - begun
    if verdict.status != "succeeded":
        sys.exit(f"the run {verdict.status}: {verdict.detail}")
    with open_home(settings) as home:
        moments = [e.ts for e in home.store.entries(run=run, kinds={Kind.STEP_INTENT})]
    return sorted((b - a).total_seconds() * 1000 for a, b in itertools.pairwise(moments)), whole


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else STEPS
    print(f"{steps} steps that do nothing, one after the other; milliseconds for each\n")
    print(f"{'where':<12}{'p50':>8}{'p95':>8}{'max':>8}   whole run")
    for where, base in (("on disk", None), ("in memory", "/dev/shm")):
        if base is not None and not Path(base).is_dir():
            continue
        folder = Path(tempfile.mkdtemp(prefix="mimrun-bench-", dir=base))
        try:
            ms, whole = measure(Settings(home=folder), steps)
        finally:
            shutil.rmtree(folder)
        p50, p95 = ms[len(ms) // 2], ms[int(len(ms) * 0.95)]
        note = f"  (target: p50 below {TARGET_MS:g} ms)" if base is None else ""
        print(f"{where:<12}{p50:>8.2f}{p95:>8.2f}{ms[-1]:>8.2f}   {whole:.2f} s{note}")


if __name__ == "__main__":
    main()
