"""Runbooks of the library, and plans made of them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from fastapi import HTTPException, Path
from pydantic import Field, JsonValue

from mimrun.app.explaining import Wanted, explain_plan
from mimrun.app.policies import asks_at_launch
from mimrun.app.presence import takes_back_alone
from mimrun.app.runbooks import whole_library
from mimrun.app.server.planning import named_at_server, plan_at_server
from mimrun.errors import InputError
from mimrun.runbook.loader import LoadedRunbook
from mimrun.web.acting import Acting
from mimrun.web.api.model import PREFIX, Given, Inventory, Shown
from mimrun.web.route import does, new_router

router: Final = new_router(PREFIX, shown=True)
Named = Annotated[str, Path(min_length=1, max_length=100, description="A name, or name@version.")]


class Runbook(Shown):
    """A runbook of the library."""

    name: str
    version: str
    title: str
    stage: str
    risk: str
    owner: str
    digest: str
    inputs: dict[str, dict[str, JsonValue]] = Field(description="What it asks for, by name.")


class RunbookDetail(Runbook):
    """A runbook with its text."""

    description: str
    source: str


class Asked(Given):
    """A runbook and its inputs."""

    runbook: str = Field(min_length=1, max_length=100, description="A name, or name@version, of the library.")
    inputs: dict[str, JsonValue] = Field(default={}, max_length=200)
    inventory: Inventory = ""


class OutlookLine(Shown):
    """One thing about a gate."""

    about: str
    text: str


class Outlook(Shown):
    """How the first gate of a plan would stand, if whoever asks launched it now."""

    gate: str
    stands: str
    lines: list[OutlookLine]
    who: dict[str, list[str]] = Field(description="By role that is missing: the people who could.")


class Plan(Shown):
    """Exactly what would run, where and in which order."""

    digest: str = Field(description="Names it: a launch, and an approval, are for this and nothing else.")
    plan: dict[str, JsonValue]
    warnings: list[str]
    allowed: Outlook | None = Field(description="null where no gate is put in front of a launch.")


@router.get("/runbooks", response_model=list[Runbook])
@does("runbook list")
def list_all(who: Acting) -> list[dict[str, Any]]:  # noqa: ARG001 - whoever looks has signed in
    """List the runbooks of the library."""
    return [_shown(loaded) for loaded in whole_library().runbooks]


@router.get("/runbooks/{runbook}", response_model=RunbookDetail)
@does("runbook show")
def show(who: Acting, runbook: Named) -> dict[str, Any]:  # noqa: ARG001 - as above
    """Show a runbook."""
    try:
        loaded = named_at_server(runbook)
    except InputError as exc:
        if exc.problems:
            raise
        raise HTTPException(404, str(exc)) from exc
    source = loaded.source.decode("utf-8", "backslashreplace")
    return {**_shown(loaded), "description": loaded.runbook.description, "source": source}


@router.post("/plans", response_model=Plan)
@does("plan")
def plan(who: Acting, given: Asked) -> dict[str, Any]:
    """Make the plan of a runbook. Nothing is touched and nothing is recorded; the same inputs give the same digest."""
    made = plan_at_server(who.home, given.runbook, given.inputs, inventory=given.inventory)
    stands = None
    if asks_at_launch(who.home.settings):
        stands = explain_plan(who.home, made, Wanted(who.identity)).as_json()
    warnings = [why for why in [takes_back_alone(who.home.settings, made)] if why]
    return {"digest": made.digest, "plan": json.loads(made.encode()), "warnings": warnings, "allowed": stands}


def _shown(loaded: LoadedRunbook) -> dict[str, Any]:
    book = loaded.runbook
    return {
        "name": book.name,
        "version": book.version,
        "title": book.title,
        "stage": book.stage.value,
        "risk": book.risk.value,
        "owner": book.owner,
        "digest": loaded.digest,
        "inputs": {name: spec.model_dump(mode="json") for name, spec in book.inputs.items()},
    }
