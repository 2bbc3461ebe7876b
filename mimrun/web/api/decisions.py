"""Decisions: at gates, and about what became of steps in doubt."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from mimrun.app.decisions import decide, override_freeze, pending_gate
from mimrun.app.going_on import Start, carry_on_from_doubt, carry_on_from_gate
from mimrun.app.resolving import Word as DoubtWord
from mimrun.app.resolving import doubts, meanings, settle
from mimrun.app.runs import load_state
from mimrun.app.shown.gate import question_json, verdict_json
from mimrun.app.withdrawal import withdraw
from mimrun.run.record.transitions import CellStatus
from mimrun.web.acting import Acting, Who
from mimrun.web.api.finding import run_named
from mimrun.web.api.model import PREFIX, Digest, Given, NeededReason, Reason, Shown
from mimrun.web.api.runs import Word, said
from mimrun.web.api.starting import Starter
from mimrun.web.route import does, new_router

router: Final = new_router(f"{PREFIX}/runs/{{run}}", shown=True)


class Need(Shown):
    """Whose approval is needed."""

    role: str
    count: int


class Vote(Shown):
    """What somebody said at a gate."""

    person: str
    decision: str
    purpose: str
    auth: str = Field(description="How it is known who it was.")
    at: str
    reason: str


class Gate(Shown):
    """The gate that a run waits at: what it asks for, why, who has said what, and how it stands."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    run: str
    gate: str = Field(description="The path of the step.")
    name: str
    digest: str = Field(description="Of exactly what runs when it opens; an approval names it.")
    segment: dict[str, Any] = Field(description="Exactly what runs when it opens: targets, calls, undo.")
    approvals: list[Need]
    change: str
    change_ref: str
    freeze_override: bool
    frozen: str
    signed: bool = Field(
        description="Only approvals count that are signed with one's own key: `mimrun approve --sign`."
    )
    refused: str
    because: str
    until: str
    on_timeout: str
    votes: list[Vote]
    stands: Literal["open", "waiting", "closed"]
    approvers: list[str] = []
    missing: dict[str, int] = {}
    reasons: list[str] = []
    closed_by: str = ""
    detail: str = ""


class Approval(Given):
    """An approval, for exactly what was looked at."""

    digest: Digest
    reason: Reason = ""
    freeze_override: bool = Field(
        default=False,
        description="Allow it although a calendar is closed; needs the role freeze_approver, and a reason.",
    )


class Rejection(Given):
    """A rejection, of exactly what was looked at."""

    digest: Digest
    reason: NeededReason


class Withdrawal(Given):
    """An approval that is taken back."""

    reason: NeededReason


class GateWord(Word):
    """What came of a word at a gate."""

    stands: Literal["open", "waiting", "closed"]
    missing: dict[str, int] = {}


class Doubt(Shown):
    """A step of which nobody knows what became of it."""

    step: str
    target: str
    iteration: int
    kind: str = Field(description="lost: no answer came; conflict, stuck: of a way back.")
    reason: str
    answers: dict[str, str] = Field(description="What may be said, and what each means here.")
    proposed: str = Field(
        description="What a first person said, where the risk is high; a second one says the same."
    )
    proposed_by: str


class Settlement(Given):
    """A person's word on a doubt."""

    step: str = Field(min_length=1, max_length=200)
    target: Annotated[str, Field(max_length=255)] | None = None
    resolution: Literal["applied", "not_applied", "skip", "abort"]
    reason: NeededReason
    evidence: str = Field(default="", max_length=1_000_000, description="What was seen; kept with the word.")


class Settled(Word):
    """What came of a word on a doubt."""

    counts: bool = Field(description="False where a second person has to say the same.")
    left: int = Field(description="So many doubts are left.")


@router.get("/gate", response_model=Gate)
@does("status")
def gate(who: Acting, run: str) -> dict[str, Any]:
    """Show the gate that a run waits at, and exactly what runs when it opens."""
    pending = pending_gate(who.home, run_named(who.home, run).summary.run)
    segment = pending.segment.model_dump(mode="json", by_alias=True)
    return {"run": pending.run.summary.run, "segment": segment, **question_json(pending)}


@router.post("/approve", response_model=GateWord)
@does("approve")
def approve(who: Acting, start: Starter, run: str, given: Approval) -> dict[str, Any]:
    """Agree to exactly what the gate would let through. Any difference voids it."""
    pending = pending_gate(who.home, run_named(who.home, run).summary.run)
    if given.freeze_override:
        override_freeze(who.home, pending, who.identity, digest=given.digest, reason=given.reason)
    else:
        decide(who.home, pending, who.identity, "approved", digest=given.digest, reason=given.reason)
    return _after_gate(who, start, run)


@router.post("/reject", response_model=GateWord)
@does("reject")
def reject(who: Acting, start: Starter, run: str, given: Rejection) -> dict[str, Any]:
    """Refuse what the gate would let through. The run ends there."""
    pending = pending_gate(who.home, run_named(who.home, run).summary.run)
    decide(who.home, pending, who.identity, "rejected", digest=given.digest, reason=given.reason)
    return _after_gate(who, start, run)


@router.post("/withdraw", response_model=Word)
@does("withdraw")
def take_back(who: Acting, run: str, given: Withdrawal) -> dict[str, Any]:
    """Take back an approval of one's own, as long as nothing was changed by it."""
    withdraw(who.home, run_named(who.home, run).summary.run, who.identity, given.reason)
    return said(run_named(who.home, run))


@router.get("/doubts", response_model=list[Doubt])
@does("status")
def open_doubts(who: Acting, run: str) -> list[dict[str, Any]]:
    """List the steps of which nobody knows what became of them."""
    state = load_state(who.home, run_named(who.home, run).summary.run)
    found = []
    for key in doubts(state):
        cell, proposal = state.cell(key), state.proposals.get(key)
        found.append(
            {
                "step": key.step,
                "target": key.target,
                "iteration": key.iteration,
                "kind": (cell.doubt or "lost") if cell.status is CellStatus.IN_DOUBT else "",
                "reason": cell.reason,
                "answers": dict(meanings(state, key)),
                "proposed": proposal.resolution if proposal is not None else "",
                "proposed_by": proposal.by if proposal is not None else "",
            }
        )
    return found


@router.post("/resolve", response_model=Settled)
@does("resolve")
def resolve(who: Acting, start: Starter, run: str, given: Settlement) -> dict[str, Any]:
    """Say what became of a step in doubt, and how one knows. Where the risk is high, two people say the same."""
    name = run_named(who.home, run).summary.run
    word = DoubtWord(given.resolution, given.reason, given.evidence.encode("utf-8", "backslashreplace"))
    settled = settle(who.home, name, who.identity, (given.step, given.target), word)
    left, why = carry_on_from_doubt(who.home, name, start)
    return {**said(run_named(who.home, name), why), "counts": not settled.proposed, "left": left}


def _after_gate(who: Who, start: Start, run: str) -> dict[str, Any]:
    verdict, why = carry_on_from_gate(who.home, run, start)
    return {**said(run_named(who.home, run), why), **verdict_json(verdict)}
