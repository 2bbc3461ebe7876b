"""The part of the engine that imports Prefect: it carries runs into flow runs and endings back.

Importing it reads Prefect's settings from the environment, so the process sets that up before.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from prefect.client.orchestration import get_client
from prefect.context import SettingsContext, SyncClientContext, get_settings_context
from prefect.events.clients import PrefectEventsClient
from prefect.events.worker import EventsWorker, emit_events_to_cloud
from prefect.exceptions import Abort
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, Settings, temporary_settings

from flows.pulse import Health
from flows.resuming import correct, enter, open_flow_run, open_flow_runs, settle
from flows.runbook import Drive, driving, execute_runbook
from flows.submission import Ending, Submission

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

    def warm(self) -> None:
        """Do what only the first run would have to wait for."""
        with get_client(sync_client=True) as client:
            client.create_flow(execute_runbook)
        assert self._settings is not None
        if not emit_events_to_cloud():
            EventsWorker.set_client_override(PrefectEventsClient, reconnection_attempts=RECONNECTIONS)
        EventsWorker.instance()

    @cached_property
    def _settings(self) -> Settings:
        """Prefect's settings without heartbeats, made once: that takes 40 ms, for which each run would wait."""
        # A heartbeat thread would be waited for, up to a second, at the end of every flow.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}) as settings:
            return settings

    @cached_property
    def _http(self) -> dict[str, Any] | None:
        """How to speak with the API: to read all certificates takes 30 ms, and an API without TLS needs none of them."""
        plain = str(PREFECT_API_URL.value()).startswith("http://")
        return {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)} if plain else None

    def reconcile(self, active: Callable[[str], bool], standing: Callable[[str], Ending | None]) -> None:
        """Correct what Prefect shows of runs that were killed, or went on without it.

        Arguments:
            active: says whether a run is being executed here.
            standing: says how a run stands that is not.
        """
        with get_client(sync_client=True) as client:
            for flow_run in open_flow_runs(client, execute_runbook):
                run = flow_run.parameters.get("run")
                ours = flow_run.deployment_id is None and flow_run.parameters.get("home") == self._home
                if not ours or not isinstance(run, str) or active(run):
                    continue
                stands = standing(run)
                if stands is not None and not active(run) and correct(client, flow_run, stands):
                    _log.info("run %s: Prefect now shows it as %s", run, stands.status)

    def drive(self, submission: Submission) -> None:
        """Drive a submission through its flow run on this thread.

        Raises:
            BaseException: Prefect failed; the submission may or may not have been performed.
        """
        token = driving.set(Drive(submission, self._health))
        try:
            # One client for all of it: Prefect takes the one that it finds here.
            profile = get_settings_context().profile
            with (
                SettingsContext(profile=profile, settings=self._settings),
                SyncClientContext(httpx_settings=self._http) as context,
            ):
                client = context.client
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
