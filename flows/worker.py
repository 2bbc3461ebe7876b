"""What the flow needs when a Prefect worker runs it, in a process without our engine."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from flows.execution import RunExecutor
from flows.health import healthy
from flows.pulse import Pulse
from flows.runbook import Drive
from flows.submission import Submission

ANSWERS_WITHIN_S: Final = 5.0

_log = logging.getLogger("mimrun.worker")


@contextmanager
def worker_drive(run: str, home: str) -> Generator[Drive, None, None]:
    """Give what drives a run here, and watch the API meanwhile.

    Arguments:
        run: the run's id.
        home: mimrun's home on the worker's machine.
    """
    executor = RunExecutor(Path(home))
    _name(executor.name(run))
    pulse = Pulse(healthy, lambda: True)
    pulse.start()
    try:
        pulse.wait_up(ANSWERS_WITHIN_S)
        yield Drive(Submission(run, executor), lambda: pulse.health)
    finally:
        pulse.stop()


def _name(name: str) -> None:
    """Call the flow run by the name of its run, instead of the one that Prefect made up."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.name == name:
        return
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_name(context.flow_run.id, name)
    except (httpx.HTTPError, OSError) as exc:
        _log.warning("the flow run keeps the name %s: %s", context.flow_run.name, exc)
