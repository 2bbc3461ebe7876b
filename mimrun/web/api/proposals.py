"""Proposals: plans that rules made of alerts, and that wait for a person."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from fastapi import Query, Response
from pydantic import Field, JsonValue

from mimrun.app.going_on import carry_on
from mimrun.app.rule.proposals import (
    dismiss_proposal,
    list_proposals,
    proposal_plan,
    take_proposal,
)
from mimrun.web.acting import Acting
from mimrun.web.api.finding import proposal_named, run_named
from mimrun.web.api.model import (
    LARGEST,
    PREFIX,
    Before,
    Digest,
    Given,
    Limit,
    NeededReason,
    Page,
    Shown,
    Standing,
)
from mimrun.web.api.runs import Run
from mimrun.web.api.starting import Starter
from mimrun.web.route import does, new_router

router: Final = new_router(f"{PREFIX}/proposals", shown=True)


class Proposal(Shown):
    """A plan that waits for a person to launch it."""

    proposal: str
    state: Literal["open", "taken", "dismissed", "expired"]
    burns: bool = Field(description="The alerts that it was made for are not over, as far as the rule knows.")
    rule: str
    group: str
    incident: str
    runbook: str
    version: str
    digest: str
    title: str
    risk: str
    reason: str
    alerts: list[int] = Field(description="The entries of the first alerts that it was made for.")
    made: int = Field(ge=0, le=LARGEST)
    made_at: str
    expires_at: str
    by: str = Field(description="Who took or dismissed it.")
    why: str
    run: str


class ProposalDetail(Proposal):
    """A proposal with its plan: exactly what would run."""

    plan: dict[str, JsonValue]


class TakingProposal(Given):
    """The plan that was looked at."""

    plan: Digest


class Dismissal(Given):
    """Why it is not launched."""

    reason: NeededReason


@router.get("", response_model=Page[Proposal])
@does("proposal list")
def list_all(
    who: Acting,
    standing: Annotated[Standing, Query(description="open: what can be taken.")] = "all",
    before: Before = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """List proposals, the newest first."""
    wanted = [one for one in list_proposals(who.home) if one.state == "open" or standing == "all"]
    found = [one for one in wanted if before is None or one.said.made < before]
    rest = found[limit - 1].said.made if len(found) > limit else None
    return {"items": [one.as_json() for one in found[:limit]], "next": rest}


@router.get("/{proposal}", response_model=ProposalDetail)
@does("proposal show")
def show(who: Acting, proposal: str) -> dict[str, Any]:
    """Show a proposal, and exactly what would run."""
    view = proposal_named(who.home, proposal)
    plan = proposal_plan(who.home, view.name)
    return {**view.as_json(), "plan": json.loads(plan.encode())}


@router.post("/{proposal}/take", response_model=Run, status_code=201)
@does("proposal take")
def take(
    who: Acting, start: Starter, proposal: str, given: TakingProposal, response: Response
) -> dict[str, Any]:
    """Launch what was proposed, in one's own name; with another plan than the one that was looked at nothing is done."""
    name = take_proposal(who.home, who.identity, proposal_named(who.home, proposal).name, given.plan)
    carry_on(who.home, name, start)
    response.headers["Location"] = f"{PREFIX}/runs/{name}"
    return run_named(who.home, name).as_json()


@router.post("/{proposal}/dismiss", response_model=Proposal)
@does("proposal dismiss")
def dismiss(who: Acting, proposal: str, given: Dismissal) -> dict[str, Any]:
    """Let it be: nobody launches it any more."""
    name = proposal_named(who.home, proposal).name
    return dismiss_proposal(who.home, who.identity, name, given.reason).as_json()
