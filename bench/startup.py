"""How long a person waits for commands that only look: cold processes of the real command line.

    python bench/startup.py [REPETITIONS]

`bench/launch.py` measures from Enter to the first action. Nothing is asserted.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPETITIONS = 9
RUNBOOK = """\
schema: mimrun/1
name: look
version: 1.0.0
title: Look at this machine
stage: identification
owner: bench
risk: low
steps:
  - name: Look
    local.command: {argv: [uname, -a]}
"""


def seconds(argv: list[str], env: dict[str, str]) -> float:
    """Run a command once, from its start to its end."""
    begun = time.perf_counter()
    done = subprocess.run(argv, env=env, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    took = time.perf_counter() - begun
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.decode()}")
    return took


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else REPETITIONS
    mimrun = str(Path(sys.executable).with_name("mimrun"))
    folder = Path(tempfile.mkdtemp(prefix="mimrun-bench-"))
    env = {**os.environ, "MIMRUN_HOME": str(folder / "home"), "NO_COLOR": "1"}
    book = folder / "look.yaml"
    book.write_text(RUNBOOK)
    commands: list[tuple[str, list[str], str]] = [
        ("python -c pass", [sys.executable, "-c", "pass"], "for comparison"),
        ("mimrun --version", [mimrun, "--version"], "target: below 0.25 s"),
        ("mimrun --help", [mimrun, "--help"], "target: below 0.25 s"),
        ("mimrun run --help", [mimrun, "run", "--help"], ""),
        ("mimrun plan", [mimrun, "plan", str(book)], ""),
        ("mimrun runs", [mimrun, "runs"], ""),
        ("mimrun run --direct", [mimrun, "run", "--direct", "--yes", str(book)], "the whole run, one step"),
        ("mimrun status", [mimrun, "status"], ""),
    ]
    try:
        subprocess.run([mimrun, "init", "--no-prefect"], env=env, capture_output=True, check=True)
        print(f"cold processes, {repetitions} times each; seconds\n\n{'command':<22}{'p50':>8}{'max':>8}")
        for name, argv, note in commands:
            took = [seconds(argv, env) for _ in range(repetitions)]
            print(f"{name:<22}{statistics.median(took):>8.3f}{max(took):>8.3f}   {note}".rstrip())
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
