"""The Prefect flow that drives a run: one task run for each step, one flow run for the whole.

Prefect shows and schedules; the executor in mimrun decides, records and refuses. So nothing here
retries, caches or keeps results, and a second execution of a run is stopped by the run's lease, not here.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from prefect import flow
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import Abort, TerminationSignal
from prefect.flow_runs import suspend_flow_run
from prefect.states import Failed
from prefect.tasks import Task

from flows.pulse import Health
from flows.resuming import end_state
from flows.steps import ENDS_PROCESS, Once, Shown, View
from flows.submission import Ending, Submission
from mimrun.app.execution import StepFailed
from mimrun.errors import MimrunError

FLOW_NAME: Final = "execute-runbook"
WAITS: Final = frozenset({"waiting", "in_doubt"})


@dataclass(frozen=True, slots=True)
class Drive:
    """What the flow drives, handed to it by the engine on the same thread.

    Arguments:
        submission: the run.
        health: what is known of Prefect's API.
    """

    submission: Submission
    health: Callable[[], Health]


_log = logging.getLogger("mimrun.engine.runbook")

driving: Final[contextvars.ContextVar[Drive]] = contextvars.ContextVar("driving")


@flow(
    name=FLOW_NAME,
    version="1",
    description="Drives one run of a mimrun runbook. What was done stands in mimrun's incident log.",
    retries=0,
    persist_result=False,
    log_prints=False,
    validate_parameters=False,
)
def execute_runbook(run: str, home: str) -> State[Any]:
    """Execute a run, or go on with it, until it ends or waits for a person.

    Arguments:
        run: the run's id.
        home: mimrun's home.

    Returns:
        the state for Prefect to show: paused where a person is asked, else final.
    """
    drive = driving.get(None)
    if drive is None:
        from flows.worker import worker_drive  # noqa: PLC0415 - it stands on this module

        with worker_drive(run, home) as drive:
            return follow(drive)
    return follow(drive)


def follow(drive: Drive) -> State[Any]:
    """Execute a submission inside a flow run and give the state to show.

    Raises:
        Abort: Prefect's picture has to be left as it is: another process executes the run, or the API
            is lost and would only be waited for.
    """
    submission = drive.submission
    if submission.followed:
        # Prefect runs a flow again whose last state it refused. What there was to do has been done.
        raise Abort("prefect refused the state in which the run was left")
    submission.followed = True
    view = View(
        show=show,
        health=drive.health,
        note=lambda reason: submission.executor.note(submission.run, reason),
        ends_process=(*ENDS_PROCESS, TerminationSignal),
    )
    shown = Shown(view)
    try:
        submission.perform(shown, "prefect")
    except Exception as exc:  # noqa: BLE001 - Prefect would write the traceback to its own log
        _log.debug("run %s: %s", submission.run, type(exc).__name__)
    submission.done.wait()
    submission.lost = submission.lost or shown.lost
    return picture(submission.ending, drive.health())


def picture(ending: Ending | None, health: Health) -> State[Any]:
    """Give the state to show for an ending.

    Raises:
        Abort: the flow run has to be left alone.
        Pause: a worker runs this, and the run waits for a person.
    """
    if ending is None:
        return Failed(message="mimrun could not execute it; see the engine's log")
    if not health.up:
        raise Abort(f"the run is {ending.status}; prefect's api is lost and will be told later")
    context = FlowRunContext.get()
    flow_run = context.flow_run if context is not None else None
    if ending.status == "refused" and flow_run is not None and flow_run.run_count > 1:
        raise Abort(ending.detail)
    if ending.status in WAITS and flow_run is not None and flow_run.deployment_id is not None:
        # A worker lets go by raising Pause, and enters again when somebody resumes the flow run in Prefect.
        suspend_flow_run(key=uuid4().hex)
    return end_state(ending, ending.detail, uuid4().hex)


def show(title: str, step: Once) -> None:
    """Show a step as a task run with this name, and do it inside.

    A failed step is told to Prefect as a state with a message and not as an exception: Prefect would
    write the traceback, and with it the arguments, to its own log.
    """

    def body() -> State[Any] | None:
        try:
            step()
        except (MimrunError, StepFailed) as exc:
            return Failed(message=str(exc))
        except Exception as exc:  # noqa: BLE001 - it is raised again behind Prefect's back
            return Failed(message=type(exc).__name__)
        return None

    task = Task(
        fn=body,
        name="step",
        task_run_name=lambda: title,
        retries=0,
        cache_policy=NO_CACHE,
        persist_result=False,
        log_prints=False,
    )
    task(return_state=True)
