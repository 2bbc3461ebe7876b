"""Runs: listed, looked at, launched, stopped, gone on with, taken back."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from fastapi import Response
from pydantic import Field, JsonValue

from mimrun.app.besides import as_wanted, besides
from mimrun.app.going_on import Start, carry_on, end_if_idle, resume_run
from mimrun.app.home import Home
from mimrun.app.launch_once import launch_once, launched_before
from mimrun.app.plans import require_secrets
from mimrun.app.runs import RunView, check_launch, create_run, list_runs, load_plan, load_state
from mimrun.app.server.planning import plan_at_server
from mimrun.app.stopping import request_stop
from mimrun.app.undo import WayBackWishes, create_undo, left_standing, plan_undo, steps_only
from mimrun.errors import RefusedError
from mimrun.run.record.state import RunState
from mimrun.run.record.wish import Level
from mimrun.web.acting import Acting, Who
from mimrun.web.api.finding import incident_named, run_named
from mimrun.web.api.model import (
    LARGEST,
    PREFIX,
    Before,
    Digest,
    Given,
    Inventory,
    Key,
    Limit,
    Name,
    Page,
    Reason,
    Shown,
)
from mimrun.web.api.starting import Starter
from mimrun.web.route import does, new_router

router: Final = new_router(f"{PREFIX}/runs", shown=True)
Status = Literal[
    "new", "created", "running", "interrupted", "waiting", "in_doubt", "succeeded", "failed", "cancelled"
]


class Run(Shown):
    """A run as a list shows it."""

    run: str
    incident: str
    status: Status = Field(
        description="`interrupted`: nobody executes it, although it is neither over nor waits."
    )
    title: str
    runbook: str
    plan: str = Field(description="The digest of its plan.")
    risk: str
    launched_by: str
    created_at: str
    ended_at: str
    mode: str = Field(description="`prefect` or `direct`; empty while nobody has begun.")
    step: str = Field(description="The step that was begun last.")
    step_name: str
    waits_on: str = Field(
        description="gate, manual, lock, pause, killswitch, doubt; empty where it waits for nothing."
    )
    waits_at: str
    reason: str
    stop: str = Field(description="How strongly somebody wants it to stop: none, pause, cancel, abort.")
    stop_reason: str
    last_seq: int = Field(ge=0, le=LARGEST)


class Cell(Shown):
    """A step on a host."""

    step: str
    target: str
    iteration: int
    status: str
    changed: bool
    attempts: int
    reason: str


class RunDetail(Run):
    """A run with each step on each host."""

    recap: dict[str, int] = Field(description="ok, changed, failed, unreachable, skipped, in_doubt.")
    steps: dict[str, str] = Field(description="Steps that are over, and how each ended.")
    cells: list[Cell]


class FrozenPlan(Shown):
    """The plan of a run."""

    run: str
    digest: str
    plan: dict[str, JsonValue]


class Launch(Given):
    """A run that is asked for."""

    runbook: str = Field(min_length=1, max_length=100, description="A name, or name@version, of the library.")
    inputs: dict[str, JsonValue] = Field(default={}, max_length=200)
    inventory: Inventory = ""
    plan: Digest
    incident: Name | None = Field(default=None, description="Which it belongs to; without, it opens one.")
    priority: Literal["P1", "P2", "P3", "P4", "P5"] | None = Field(
        default=None, description="How urgent the incident is that it opens."
    )
    change: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="The change record that it is done under."
    )


class WayBack(Given):
    """A way back that is asked for."""

    plan: Digest
    steps: list[Annotated[str, Field(max_length=200)]] = Field(
        default=[], max_length=1000, description="Only these; all where none is named."
    )


class WayBackPlan(Shown):
    """What would be taken back."""

    digest: str
    plan: dict[str, JsonValue]
    left_standing: list[str] = Field(description="Steps that changed something and cannot be taken back.")


class Stop(Given):
    """Why a run is to stop."""

    reason: Reason = ""


class Word(Shown):
    """What came of a word about a run."""

    run: str
    status: Status
    goes_on: str = Field(
        default="", description="Why it does not go on by itself; empty where it does, or is over."
    )


@router.get("", response_model=Page[Run])
@does("runs")
def list_all(who: Acting, before: Before = None, limit: Limit = 50) -> dict[str, Any]:
    """List runs, the newest first."""
    found = [view for view in list_runs(who.home) if before is None or view.summary.first_seq < before]
    shown = found[:limit]
    rest = shown[-1].summary.first_seq if len(found) > limit else None
    return {"items": [view.as_json() for view in shown], "next": rest}


@router.post("", response_model=Run, status_code=201)
@does("run")
def launch(who: Acting, start: Starter, given: Launch, response: Response, key: Key = None) -> dict[str, Any]:
    """Launch a runbook, exactly as it was planned: with another plan than the one that is named nothing is done.

    With an Idempotency-Key the same run is given however often it is asked for, also after the server was restarted.
    """
    home = who.home
    before = launched_before(home, who.identity, key) if key is not None else ""
    if before:
        return _again(home, before, given.plan, response)
    incident = incident_named(home, given.incident).name if given.incident is not None else None
    plan = plan_at_server(home, given.runbook, given.inputs, inventory=given.inventory)
    if plan.digest != given.plan:
        raise RefusedError(
            f"what would run now has the digest {plan.digest}, and not {given.plan}: plan it again, and look at it"
        )
    require_secrets(plan)
    check_launch(home, plan)
    wanted = as_wanted(home, None, incident, given.priority)
    more = besides(home, plan, wanted, change=given.change, break_glass=None)
    if key is None:
        name, made = create_run(home, plan, who.identity, incident=incident, more=more.more), True
    else:
        name, made = launch_once(home, plan, who.identity, key, incident=incident, more=more.more)
    if not made:
        return _again(home, name, given.plan, response)
    more.link(home, name)
    carry_on(home, name, start)
    response.headers["Location"] = f"{PREFIX}/runs/{name}"
    return run_named(home, name).as_json()


def _again(home: Home, name: str, plan: str, response: Response) -> dict[str, Any]:
    """Give the run that was launched with a key before."""
    view = run_named(home, name)
    if view.summary.plan != plan:
        raise RefusedError("this Idempotency-Key was used for another plan; take another")
    response.status_code = 200
    response.headers["Location"] = f"{PREFIX}/runs/{name}"
    return view.as_json()


@router.get("/{run}", response_model=RunDetail)
@does("status")
def show(who: Acting, run: str) -> dict[str, Any]:
    """Show where a run stands."""
    view = run_named(who.home, run)
    return {**view.as_json(), **_detail(load_state(who.home, view.summary.run))}


def _detail(state: RunState) -> dict[str, Any]:
    return {
        "recap": dict(state.recap()),
        "steps": dict(state.finished),
        "cells": [
            {
                "step": key.step,
                "target": key.target,
                "iteration": key.iteration,
                "status": cell.status.value,
                "changed": cell.changed,
                "attempts": cell.attempts,
                "reason": cell.why_not or cell.reason,
            }
            for key, cell in sorted(state.cells.items())
        ],
    }


@router.get("/{run}/plan", response_model=FrozenPlan)
@does("status")
def plan_of(who: Acting, run: str) -> dict[str, Any]:
    """Show the frozen plan of a run: exactly what runs, where and in which order."""
    view = run_named(who.home, run)
    plan = load_plan(who.home, view.summary.run)
    return {"run": view.summary.run, "digest": plan.digest, "plan": json.loads(plan.encode())}


@router.post("/{run}/pause", response_model=Word)
@does("pause")
def pause(who: Acting, start: Starter, run: str, given: Stop) -> dict[str, Any]:
    """Let a run rest when what is under way is finished."""
    return _stop(who, start, run, (Level.PAUSE, given.reason))


@router.post("/{run}/cancel", response_model=Word)
@does("cancel")
def cancel(who: Acting, start: Starter, run: str, given: Stop) -> dict[str, Any]:
    """End a run: what is under way is ended on its target."""
    return _stop(who, start, run, (Level.CANCEL, given.reason))


@router.post("/{run}/abort", response_model=Word)
@does("abort")
def abort(who: Acting, start: Starter, run: str, given: Stop) -> dict[str, Any]:
    """Stop a run now, without waiting for any target."""
    return _stop(who, start, run, (Level.ABORT, given.reason))


@router.post("/{run}/resume", response_model=Word)
@does("resume")
def resume(who: Acting, start: Starter, run: str) -> dict[str, Any]:
    """Go on with a run where the log ends."""
    view = run_named(who.home, run)
    resume_run(who.home, view.summary.run, who.identity, start)
    return said(run_named(who.home, run))


@router.get("/{run}/undo", response_model=WayBackPlan)
@does("status")
def way_back(who: Acting, run: str) -> dict[str, Any]:
    """Show what a way back would do."""
    view = run_named(who.home, run)
    plan = plan_undo(who.home, view.summary.run)
    standing = left_standing(who.home, view.summary.run)
    return {"digest": plan.digest, "plan": json.loads(plan.encode()), "left_standing": standing}


@router.post("/{run}/undo", response_model=Run, status_code=201)
@does("undo")
def undo(who: Acting, start: Starter, run: str, given: WayBack, response: Response) -> dict[str, Any]:
    """Take back what a run did, exactly as it was planned, in a run of its own."""
    home, name = who.home, run_named(who.home, run).summary.run
    wishes = WayBackWishes(steps_only(home, name, given.steps))
    plan = plan_undo(home, name, wishes.wanted)
    if plan.digest != given.plan:
        raise RefusedError(
            f"the way back has the digest {plan.digest} now, and not {given.plan}; look at it again"
        )
    require_secrets(plan)
    made = create_undo(home, name, plan, who.identity, wishes)
    carry_on(home, made, start)
    response.headers["Location"] = f"{PREFIX}/runs/{made}"
    return run_named(home, made).as_json()


def said(view: RunView, goes_on: str = "") -> dict[str, Any]:
    """Give what came of a word about a run."""
    return {"run": view.summary.run, "status": view.status, "goes_on": goes_on}


def _stop(who: Who, start: Start, run: str, wish: tuple[Level, str]) -> dict[str, Any]:
    level, reason = wish
    name = run_named(who.home, run).summary.run
    request_stop(who.home, name, who.identity, level, reason)
    why = end_if_idle(who.home, name, level, start)
    return said(run_named(who.home, name), why)
