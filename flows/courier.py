"""The part of the engine that imports Prefect: it carries runs into flow runs and endings back.

Importing it reads Prefect's settings from the environment, so the process sets that up before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from prefect.client.orchestration import get_client
from prefect.events.clients import PrefectEventsClient
from prefect.events.worker import EventsWorker, emit_events_to_cloud
from prefect.exceptions import Abort
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.resuming import bury, enter, open_flow_run, settle
from flows.runbook import Drive, driving, execute_runbook
from flows.submission import Ending, Submission
from flows.watch import Health

RECONNECTIONS: Final = 1
"""More than three of them would wait a second before each; none would never connect again."""

_log = logging.getLogger("mimrun.engine.courier")


class Courier:
    """Carries runs into Prefect.

    Arguments:
        home: mimrun's home.
        health: what is known of the API.
    """

    def __init__(self, home: str, health: Callable[[], Health]) -> None:
        self._home = home
        self._health = health

    def warm(self, *, own: bool) -> None:
        """Do what only the first run would have to wait for.

        Arguments:
            own: the API is served by our own child, so that no run can be running there.
        """
        with get_client(sync_client=True) as client:
            client.create_flow(execute_runbook)
            if own and (buried := bury(client, execute_runbook)):
                _log.warning("%d flow runs were left running by an engine that ended", buried)
        if not emit_events_to_cloud():
            EventsWorker.set_client_override(PrefectEventsClient, reconnection_attempts=RECONNECTIONS)
        EventsWorker.instance()

    def drive(self, submission: Submission) -> None:
        """Drive a submission through its flow run on this thread.

        Raises:
            BaseException: Prefect failed; the submission may or may not have been performed.
        """
        token = driving.set(Drive(submission, self._health))
        try:
            # A heartbeat thread would be waited for, up to a second, at the end of every flow.
            with (
                temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
                get_client(sync_client=True) as client,
            ):
                name = submission.executor.name(submission.run)
                flow_run = open_flow_run(client, execute_runbook, submission.run, name, self._home)
                enter(client, execute_runbook, flow_run)
        except Abort as exc:
            # Either the flow asked for it, or Prefect refused the flow run; the run is not told of it.
            _log.info("run %s: %s", submission.run, exc)
            if not self._health().up:
                submission.lost = submission.lost or self._health().reason
        finally:
            driving.reset(token)

    def settle(self, run: str, name: str, ending: Ending) -> None:
        """Tell Prefect how a run ended that it has not seen to its end."""
        with get_client(sync_client=True) as client:
            settle(client, open_flow_run(client, execute_runbook, run, name, self._home), ending)
