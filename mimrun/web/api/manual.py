"""Manual steps: taken up, put down, handed over, ticked, signed, and confirmed by a second person."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import Field

from mimrun.app.going_on import Start, carry_on
from mimrun.app.manual_steps import (
    Attestation,
    PendingManual,
    attest,
    check,
    claim,
    confirm,
    dispute,
    hand_over,
    pending_manual,
    release,
)
from mimrun.app.shown.manual import fields_of, instructions_of, manual_json
from mimrun.web.acting import Acting, Who
from mimrun.web.api.finding import run_named
from mimrun.web.api.model import PREFIX, Given, Name, NeededReason, Reason, Shown
from mimrun.web.api.runs import Word, said
from mimrun.web.api.starting import Starter
from mimrun.web.route import does, new_router

router: Final = new_router(f"{PREFIX}/runs/{{run}}/manual", shown=True)


class Item(Shown):
    """An item of a checklist."""

    item: int
    text: str
    done: bool


class Evidence(Shown):
    """A piece of evidence that is asked for."""

    name: str
    type: str = Field(description="text, number, boolean, url, file.")
    required: bool


class Manual(Shown):
    """The manual step that a run waits for."""

    run: str
    step: str
    name: str
    instructions: str
    evidence: list[Evidence]
    status: str
    role: str
    holder: str = Field(description="Who does it; empty where nobody has taken it up.")
    since: str
    checklist: list[Item]
    second: str = Field(
        description="The role of the person who has to confirm it; empty where nobody has to."
    )
    attested: bool
    by: str
    confirmed_by: str
    reason: str
    active_ms: int


class TakingUp(Given):
    """Why somebody takes it up; needed where another person does it."""

    reason: Reason = ""


class Handing(Given):
    """To whom it is handed, and what they have to know."""

    to: Name
    reason: NeededReason


class Tick(Given):
    """An item that is done, or is not after all."""

    item: int = Field(ge=1, le=10_000)
    done: bool = True


class Signature(Given):
    """A person's word that it is done, or cannot be."""

    evidence: dict[str, Annotated[str, Field(max_length=100_000)]] = Field(default={}, max_length=100)
    failed: bool = Field(default=False, description="It cannot be done; say why.")
    reason: Reason = ""
    active_s: int | None = Field(default=None, ge=1, le=7 * 24 * 3600, description="So many seconds it took.")


class Dispute(Given):
    """What is not as it was attested."""

    reason: NeededReason


@router.get("", response_model=Manual)
@does("status")
def show(who: Acting, run: str) -> dict[str, Any]:
    """Show the manual step that a run waits for."""
    return _shown(who, pending_manual(who.home, run_named(who.home, run).summary.run))


@router.post("/claim", response_model=Manual)
@does("claim")
def take_up(who: Acting, run: str, given: TakingUp) -> dict[str, Any]:
    """Say that one does it, so that nobody else begins it."""
    return _shown(who, claim(who.home, _named(who, run), who.identity, given.reason))


@router.post("/release", response_model=Manual)
@does("release")
def put_down(who: Acting, run: str, given: TakingUp) -> dict[str, Any]:
    """Say that one does it no more."""
    return _shown(who, release(who.home, _named(who, run), who.identity, given.reason))


@router.post("/hand-over", response_model=Manual)
@does("hand-over")
def hand(who: Acting, run: str, given: Handing) -> dict[str, Any]:
    """Hand it to somebody else."""
    return _shown(who, hand_over(who.home, _named(who, run), who.identity, given.to, given.reason))


@router.post("/check", response_model=Manual)
@does("check")
def tick(who: Acting, run: str, given: Tick) -> dict[str, Any]:
    """Tick an item of its checklist."""
    return _shown(who, check(who.home, _named(who, run), who.identity, given.item, done=given.done))


@router.post("/attest", response_model=Word)
@does("attest")
def sign(who: Acting, start: Starter, run: str, given: Signature) -> dict[str, Any]:
    """Sign that it is done, or cannot be. A file as evidence is given at the console or the command line."""
    name = _named(who, run)
    word = Attestation(
        failed=given.failed,
        reason=given.reason,
        active=timedelta(seconds=given.active_s) if given.active_s is not None else None,
    )
    node = attest(who.home, name, who.identity, given.evidence, word)
    waits = bool(node.second) and not given.failed
    return _went_on(who, start, name, waits=waits)


@router.post("/confirm", response_model=Word)
@does("confirm")
def agree(who: Acting, start: Starter, run: str) -> dict[str, Any]:
    """Sign, as a second person, that it is done."""
    name = _named(who, run)
    confirm(who.home, name, who.identity)
    return _went_on(who, start, name, waits=False)


@router.post("/dispute", response_model=Manual)
@does("dispute")
def disagree(who: Acting, run: str, given: Dispute) -> dict[str, Any]:
    """Say, as a second person, that it is not done."""
    return _shown(who, dispute(who.home, _named(who, run), who.identity, given.reason))


def _named(who: Who, run: str) -> str:
    return run_named(who.home, run).summary.run


def _went_on(who: Who, start: Start, run: str, *, waits: bool) -> dict[str, Any]:
    why = "another person has to confirm it" if waits else carry_on(who.home, run, start)
    return said(run_named(who.home, run), why)


def _shown(who: Who, pending: PendingManual) -> dict[str, Any]:
    state = pending.state
    return {
        "run": pending.run,
        "step": pending.node.path,
        "name": pending.node.name,
        "instructions": instructions_of(who.home, state),
        "evidence": [
            {"name": field.name, "type": field.type, "required": field.required}
            for field in fields_of(who.home, state)
        ],
        **manual_json(state, who.home.clock()),
    }
