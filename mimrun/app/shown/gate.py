"""A gate as people are shown it: what it asks for and why, who has said what, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from mimrun.app.decisions import PendingGate
from mimrun.app.shown.text import safe_line
from mimrun.app.shown.tone import Tone
from mimrun.gate.approval import Closed, Open, Request, Verdict, Vote, Waiting
from mimrun.log.moment import write_moment
from mimrun.runbook.model import OnTimeout

SAID: Final[dict[str, Tone]] = {"approved": "good", "rejected": "danger", "withdrawn": "care"}
"""How a decision is said."""
_LATE: Final = {
    OnTimeout.FAIL: "the run fails",
    OnTimeout.ESCALATE: "they are asked anew",
    OnTimeout.UNDO: "the run fails, and what it did is taken back",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing about a gate: what it is called, and what is said of it."""

    name: str
    text: str
    tone: Tone = ""


def needs_of(request: Request) -> str:
    """Give whose approvals a gate needs: "1 change_manager, 1 security"."""
    places = [f"{need.count} {need.role}" for need in request.needed]
    freeze = ["1 freeze_approver (freeze override)"] if request.terms.freeze_override else []
    return ", ".join(places + freeze) or "nobody's approval"


def change_words(kind: str) -> str:
    """Give the kind of change for the line about what a gate needs; "" where none is needed."""
    return "" if kind == "none" else f", change {kind}"


def terms_facts(pending: PendingGate) -> Iterator[Fact]:
    """Give what is to be said of the terms."""
    request, terms = pending.request, pending.request.terms
    if terms.because:
        yield Fact("because", terms.because, "quiet")
    if request.frozen:
        yield Fact("frozen", request.frozen, "alarm")
    if terms.refused:
        yield Fact("refused", terms.refused, "alarm")
    if terms.signed:
        yield Fact("signed", "only approvals signed with one's own key count: mimrun approve --sign", "care")
    if request.change is not None and request.change.ref:
        yield Fact("change", request.change.ref, "place")
    if request.besides:
        besides = ", ".join(request.besides)
        yield Fact("besides", f"not decided in time, so that {besides} may decide too", "care")
    left = terms.escalation[request.rounds :]
    late = f"{left[0]} may decide besides" if left else "the run fails"
    plain = terms.on_timeout is not OnTimeout.ESCALATE or not terms.escalation
    yield Fact("if nobody decides", _LATE[terms.on_timeout] if plain else late, "quiet")


def votes_of(pending: PendingGate) -> tuple[Vote, ...]:
    """Give what people have said, here and in the change system."""
    change = pending.request.change
    return (*pending.asked.votes, *(change.votes if change else ()))


def said(vote: Vote) -> str:
    """Say what somebody decided."""
    what = "freeze override " if vote.purpose == "freeze_override" else ""
    why = f": {safe_line(vote.reason)}" if vote.reason else ""
    return f"{what}{vote.decision.value} by {safe_line(vote.person)}{why}"


def standing_facts(verdict: Verdict) -> Iterator[Fact]:
    """Say how a gate stands."""
    match verdict:
        case Open(approvers):
            yield Fact("open", ", ".join(approvers) or verdict.because, "good")
        case Waiting(missing):
            people = ", ".join(f"{number} {role}" for role, number in missing.items())
            for what in (people, *verdict.reasons) if people else verdict.reasons:
                yield Fact("missing", what, "care")
        case Closed(by, detail):
            yield Fact(f"closed ({by})", detail, "danger")


def change_kind(pending: PendingGate) -> str:
    """Give the kind of change that a gate is about."""
    terms = pending.request.terms
    return pending.node.change if terms.change == "none" else terms.change


def question_json(pending: PendingGate) -> dict[str, JsonValue]:
    """Give all of it for programs."""
    request, terms, change = pending.request, pending.request.terms, pending.request.change
    return {
        "gate": pending.node.path,
        "name": pending.node.name,
        "digest": request.digest,
        "approvals": [{"role": need.role, "count": need.count} for need in request.needed],
        "change": change_kind(pending),
        "change_ref": change.ref if change else "",
        "freeze_override": terms.freeze_override,
        "frozen": request.frozen,
        "signed": terms.signed,
        "refused": terms.refused,
        "because": terms.because,
        "until": write_moment(request.until),
        "on_timeout": terms.on_timeout.value,
        "escalation": list(terms.escalation),
        "rounds": request.rounds,
        "votes": [
            {
                "person": vote.person,
                "decision": vote.decision.value,
                "purpose": vote.purpose,
                "auth": vote.auth,
                "at": write_moment(vote.at),
                "reason": vote.reason,
            }
            for vote in votes_of(pending)
        ],
        **verdict_json(pending.verdict),
    }


def verdict_json(verdict: Verdict) -> dict[str, JsonValue]:
    """Give how a gate stands, for programs."""
    match verdict:
        case Open(approvers):
            return {"stands": "open", "approvers": list(approvers), "opened_by": verdict.by}
        case Waiting(missing):
            return {"stands": "waiting", "missing": dict(missing), "reasons": list(verdict.reasons)}
        case Closed(by, detail):
            return {"stands": "closed", "closed_by": by.value, "detail": detail}
