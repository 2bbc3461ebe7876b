"""What the flow needs when a Prefect worker runs it, in a process without our engine."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from flows.execution import RunExecutor
from flows.health import healthy
from flows.runbook import Drive
from flows.submission import Submission
from flows.watch import Watch

ANSWERS_WITHIN_S = 5.0


@contextmanager
def worker_drive(run: str, home: str) -> Generator[Drive, None, None]:
    """Give what drives a run here, and watch the API meanwhile.

    Arguments:
        run: the run's id.
        home: mimrun's home on the worker's machine.
    """
    watch = Watch(healthy, lambda: True)
    watch.start()
    try:
        watch.wait_up(ANSWERS_WITHIN_S)
        yield Drive(Submission(run, RunExecutor(Path(home))), lambda: watch.health)
    finally:
        watch.stop()
