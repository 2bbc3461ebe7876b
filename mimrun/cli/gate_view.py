"""A gate, for people: what it asks for and why, who agreed, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from mimrun.app.decisions import PendingGate
from mimrun.cli.terminal import safe_line
from mimrun.gate.approval import Closed, Open, Request, Verdict, Vote, Waiting
from mimrun.log.moment import write_moment
from mimrun.runbook.model import OnTimeout

_WORDS: Final = {"approved": "green", "rejected": "red", "withdrawn": "yellow"}
_LATE: Final = {
    OnTimeout.FAIL: "the run fails",
    OnTimeout.ESCALATE: "they are asked anew",
    OnTimeout.UNDO: "the run fails, and what it did is taken back",
}


def print_question(out: Console, pending: PendingGate) -> None:
    """Print what a gate asks for, why, who has said what, and what is missing."""
    summary, request = pending.run.summary, pending.request
    until = request.until.strftime("%Y-%m-%d %H:%M:%S")
    asked = f"  asked by {summary.launched_by}, needs {needs_of(request)}{change_words(_change(pending))}"
    out.print(Text(f"{asked}, until {until} UTC"))
    for name, text, style in _lines(pending):
        out.print(Text(f"  {name}: ").append(safe_line(text, 500), style))
    for vote in pending.asked.votes:
        out.print(Text(f"  {_said(vote)}", _WORDS[vote.decision.value]))
    if request.change is not None:
        for vote in request.change.votes:
            out.print(Text(f"  {_said(vote)}", _WORDS[vote.decision.value]))
    for name, text, style in _standing(pending.verdict):
        out.print(Text(f"  {name}: ").append(safe_line(text, 500), style))


def needs_of(request: Request) -> str:
    """Give whose approvals a gate needs: "1 change_manager, 1 security"."""
    places = [f"{need.count} {need.role}" for need in request.needed]
    freeze = ["1 freeze_approver (freeze override)"] if request.terms.freeze_override else []
    return ", ".join(places + freeze) or "nobody's approval"


def change_words(kind: str) -> str:
    """Give the kind of change for the line about what a gate needs; "" where none is needed."""
    return "" if kind == "none" else f", change {kind}"


def question_json(pending: PendingGate) -> dict[str, JsonValue]:
    """Give the same for `--json`."""
    request, terms, change = pending.request, pending.request.terms, pending.request.change
    votes = [*pending.asked.votes, *(change.votes if change else ())]
    return {
        "gate": pending.node.path,
        "name": pending.node.name,
        "digest": request.digest,
        "approvals": [{"role": need.role, "count": need.count} for need in request.needed],
        "change": _change(pending),
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
            for vote in votes
        ],
        **verdict_json(pending.verdict),
    }


def _lines(pending: PendingGate) -> Iterator[tuple[str, str, str]]:
    """Give the lines about the terms: what each says, and in which colour."""
    request, terms = pending.request, pending.request.terms
    if terms.because:
        yield "because", terms.because, "dim"
    if request.frozen:
        yield "frozen", request.frozen, "bold red"
    if terms.refused:
        yield "refused", terms.refused, "bold red"
    if terms.signed:
        yield "signed", "only approvals signed with one's own key count: mimrun approve --sign", "yellow"
    if request.change is not None and request.change.ref:
        yield "change", request.change.ref, "cyan"
    if request.besides:
        yield "besides", f"not decided in time, so that {', '.join(request.besides)} may decide too", "yellow"
    left = terms.escalation[request.rounds :]
    late = f"{left[0]} may decide besides" if left else "the run fails"
    plain = terms.on_timeout is not OnTimeout.ESCALATE or not terms.escalation
    yield "if nobody decides", _LATE[terms.on_timeout] if plain else late, "dim"


def _standing(verdict: Verdict) -> Iterator[tuple[str, str, str]]:
    match verdict:
        case Open(approvers):
            yield "open", ", ".join(approvers) or verdict.because, "green"
        case Waiting(missing):
            people = ", ".join(f"{count} {role}" for role, count in missing.items())
            for what in (people, *verdict.reasons) if people else verdict.reasons:
                yield "missing", what, "yellow"
        case Closed(by, detail):
            yield f"closed ({by})", detail, "red"


def verdict_json(verdict: Verdict) -> dict[str, JsonValue]:
    """Give how a gate stands, for `--json`."""
    match verdict:
        case Open(approvers):
            return {"stands": "open", "approvers": list(approvers), "opened_by": verdict.by}
        case Waiting(missing):
            return {"stands": "waiting", "missing": dict(missing), "reasons": list(verdict.reasons)}
        case Closed(by, detail):
            return {"stands": "closed", "closed_by": by.value, "detail": detail}


def _change(pending: PendingGate) -> str:
    terms = pending.request.terms
    return pending.node.change if terms.change == "none" else terms.change


def _said(vote: Vote) -> str:
    what = "freeze override " if vote.purpose == "freeze_override" else ""
    why = f": {safe_line(vote.reason)}" if vote.reason else ""
    return f"{what}{vote.decision.value} by {safe_line(vote.person)}{why}"
