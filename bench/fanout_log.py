"""One step on many hosts: the executor, its threads and the durable log, with an action that does nothing.

    python bench/fanout_log.py [HOSTS]

What is left when SSH costs nothing. Nothing is asserted.
"""

from __future__ import annotations

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
from mimrun.runbook.inventory import load_inventory
from mimrun.settings import Settings

HOSTS = 50
REPETITIONS = 9
TARGET_S = 1.0
"""For a real command on 50 hosts, SSH included; this is the part that mimrun takes of it."""


def measure(folder: Path, hosts: int) -> list[float]:
    """Give the seconds of each of several steps on all hosts, by the moments in the log."""
    settings = Settings(home=folder / "home")
    lay_home(settings)
    inventory = folder / "hosts.ini"
    inventory.write_text("[web]\n" + "".join(f"host{n}\n" for n in range(hosts)))
    plan = plan_of(REPETITIONS, "web", load_inventory([inventory]))
    with open_home(settings, catalog=CATALOG) as home:
        run = create_run(home, plan, RESPONDER, direct=True)
    verdict = execute_run(settings, run, catalog=CATALOG)
    if verdict.status != "succeeded":
        sys.exit(f"the run {verdict.status}: {verdict.detail}")
    with open_home(settings) as home:
        begun = {e.step: e.ts for e in home.store.entries(run=run, kinds={Kind.STEP_STARTED})}
        ended = {e.step: e.ts for e in home.store.entries(run=run, kinds={Kind.STEP_FINISHED})}
    return sorted((ended[step] - begun[step]).total_seconds() for step in begun)


def main() -> None:
    hosts = int(sys.argv[1]) if len(sys.argv) > 1 else HOSTS
    print(f"one step on {hosts} hosts, {2 * hosts + 2} entries on record; seconds\n")
    print(f"{'where':<12}{'p50':>8}{'max':>8}{'a host':>12}")
    for where, base in (("on disk", None), ("in memory", "/dev/shm")):
        if base is not None and not Path(base).is_dir():
            continue
        folder = Path(tempfile.mkdtemp(prefix="mimrun-bench-", dir=base))
        begun = time.perf_counter()
        try:
            seconds = measure(folder, hosts)
        finally:
            shutil.rmtree(folder)
        p50 = seconds[len(seconds) // 2]
        note = f"  (target with SSH: below {TARGET_S:g} s)" if base is None else ""
        print(f"{where:<12}{p50:>8.3f}{seconds[-1]:>8.3f}{p50 / hosts * 1000:>9.2f} ms{note}")
        print(f"{'':<12}the whole run of {REPETITIONS} steps: {time.perf_counter() - begun:.2f} s")


if __name__ == "__main__":
    main()
