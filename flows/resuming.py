"""One flow run for each run of mimrun, entered again after every wait.

Prefect has no public way to enter a flow run again without a deployment and a worker. This module holds
the two semi-internal pieces that do it (the state `Scheduled` set by force, and `run_flow`), and its
test holds them to what we need.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import FlowRunCreate
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateDetails, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import Abort, Pause
from prefect.flow_engine import run_flow
from prefect.flows import Flow
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Scheduled, to_state_create

from flows.submission import Ending

AWAITING: Final = "Waiting"
AWAITS: Final = {
    "gate": "AwaitingApproval",
    "manual": "AwaitingManualStep",
    "lock": "AwaitingLock",
    "pause": "PausedByPerson",
    "killswitch": "KillSwitchPulled",
}
"""What a waiting flow run is called, by what the run waits for."""
IN_DOUBT: Final = "InDoubt"
RESUMING: Final = "Resuming"


def open_flow_run(client: SyncPrefectClient, flow: Flow[Any, Any], run: str, name: str, home: str) -> FlowRun:
    """Give the flow run of a run, made the first time; asking again gives the same one.

    Arguments:
        client: a client of Prefect's API.
        flow: the flow that drives runs.
        run: mimrun's run id; it is the flow run's idempotency key.
        name: what the flow run is called.
        home: mimrun's home, for a worker that takes it over.
    """
    wanted = FlowRunCreate(
        flow_id=client.create_flow(flow),
        flow_version=flow.version,
        name=name,
        parameters={"run": run, "home": home},
        tags=["mimrun"],
        state=to_state_create(Pending()),
        idempotency_key=run,
    )
    answer = client.request("POST", "/flow_runs/", json=wanted.model_dump(mode="json", exclude_unset=True))
    return FlowRun.model_validate(answer.json())


def enter(client: SyncPrefectClient, flow: Flow[Any, Any], flow_run: FlowRun) -> State[Any]:
    """Run the flow in a flow run, for the first time or again, on this thread.

    Returns:
        the flow run's state when the flow has let go.

    Raises:
        Abort: the flow asked to leave the flow run's state alone.
        Exception: the API does not answer; the flow may have been run to its end all the same.
    """
    before = flow_run.state
    if before is not None and (before.is_paused() or before.is_final()):
        # By force: out of a final state (a failed run that is resumed) there is no ordinary way.
        client.set_flow_run_state(flow_run.id, Scheduled(name=RESUMING), force=True)
        flow_run = client.read_flow_run(flow_run.id)
    try:
        state = run_flow(flow, flow_run=flow_run, parameters=flow_run.parameters, return_type="state")
    except Abort:
        if before is not None and (before.is_paused() or before.is_final()):
            put_back(client, flow_run.id, before)
        raise
    except Pause as exc:  # somebody has paused it in Prefect before it was entered
        raise Abort(str(exc)) from exc
    assert isinstance(state, State)
    return state


def put_back(client: SyncPrefectClient, flow_run: UUID, before: State[Any]) -> None:
    """Set the state again that a flow run had before it was entered in vain."""
    state = State(type=before.type, name=before.name, message=before.message)
    if before.is_paused():
        state = _paused(before.name or AWAITING, before.message or "")
    client.set_flow_run_state(flow_run, state, force=True)


def settle(client: SyncPrefectClient, flow_run: FlowRun, ending: Ending) -> None:
    """Bring a flow run to the state that mimrun's log tells, when Prefect has not seen the end itself."""
    said = f"finished directly, Prefect was away; see `mimrun log`. {ending.detail}".strip()
    client.set_flow_run_state(flow_run.id, end_state(ending, said), force=True)


def open_flow_runs(client: SyncPrefectClient, flow: Flow[Any, Any]) -> list[FlowRun]:
    """Give the flow runs that Prefect believes to be under way or waiting, the latest first."""
    under_way = [StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED, StateType.PAUSED]
    return client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": [flow.name]}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": under_way}}}),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=200,
    )


def correct(client: SyncPrefectClient, flow_run: FlowRun, standing: Ending) -> bool:
    """Correct what Prefect shows of a run that nobody executes, where mimrun's log says otherwise.

    Returns:
        whether there was something to correct.
    """
    if standing.status == "interrupted":
        said = "the process ended while it executed this; `mimrun status` knows more, `mimrun resume` goes on"
        wanted: State[Any] = Crashed(message=said)
    else:
        wanted = end_state(standing, f"see `mimrun log`. {standing.detail}".strip())
    shown = flow_run.state
    if shown is not None and (shown.type, shown.name) == (wanted.type, wanted.name):
        return False
    client.set_flow_run_state(flow_run.id, wanted, force=True)
    return True


def end_state(ending: Ending, detail: str, key: str = "") -> State[Any]:
    """Give the state of a flow run whose execution ended.

    Arguments:
        ending: how, and what for it waits.
        detail: shown as the state's message.
        key: names this wait; Prefect does not let a flow run pause twice under one name.
    """
    match ending.status:
        case "succeeded":
            return Completed(message=detail)
        case "failed":
            return Failed(message=detail)
        case "cancelled":
            return Cancelled(message=detail)
        case "waiting":
            return _paused(AWAITS.get(ending.waits_on, AWAITING), detail, key)
        case "in_doubt":
            return _paused(IN_DOUBT, detail, key)
        case _:
            return Failed(name="Refused", message=detail)


def _paused(name: str, message: str, key: str = "") -> State[Any]:
    # Without pause_reschedule: no worker is to take it; mimrun enters it again itself.
    details = StateDetails(pause_reschedule=False, pause_key=f"{name}-{key}")
    return State(type=StateType.PAUSED, name=name, message=message, state_details=details)
