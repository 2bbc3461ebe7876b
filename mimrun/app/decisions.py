"""Decisions of people about a run: approve, reject, attest, settle a doubt, cancel."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from mimrun import canonical
from mimrun.app.change_at_gate import decide_made_change
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.permits import Permits, permits_of
from mimrun.app.persons import require_known
from mimrun.app.resolving import Resolution as Resolution  # noqa: PLC0414 - this page has all decisions
from mimrun.app.resolving import doubts as doubts  # noqa: PLC0414 - likewise
from mimrun.app.resolving import resolve as resolve  # noqa: PLC0414 - likewise
from mimrun.app.resolving import unchanged
from mimrun.app.rules import note_rules
from mimrun.app.runs import RunView, find_run, load_plan, load_state
from mimrun.app.stopping import request_stop
from mimrun.errors import GateError, InputError, RefusedError, TamperError
from mimrun.gate.approval import (
    Closed,
    ClosedBy,
    Decision,
    Open,
    Purpose,
    Request,
    Verdict,
    Waiting,
)
from mimrun.gate.decision import Word, check_voter
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import (
    GateDecided,
    ManualAttested,
)
from mimrun.log.moment import write_moment
from mimrun.log.store import View
from mimrun.run.state import GateState, RunState
from mimrun.run.summary import RunSummary, summary_in
from mimrun.run.wish import Level
from mimrun.runbook.model import EvidenceType
from mimrun.runbook.node import PlannedGate, PlannedManual
from mimrun.runbook.plan import Plan, Segment


@dataclass(frozen=True, slots=True)
class Signed:
    """What a person signed with a key of their own, verified.

    Arguments:
        statement: the canonical bytes that were signed.
        signature: OpenSSH's, armoured.
        brought_by: who brought it, where that was somebody else; or "".
    """

    statement: bytes
    signature: bytes
    brought_by: str = ""

    def blobs(self) -> tuple[Blob, ...]:
        """Both, as the log keeps them."""
        return Blob("statement", self.statement, "plan"), Blob("signature", self.signature, "plan")


@dataclass(frozen=True, slots=True)
class PendingGate:
    """A gate that waits, with everything a person needs to decide.

    Arguments:
        segment: exactly what runs when it opens.
        request: whose approvals it needs, for which digest, until when, by the rules as they are now.
        verdict: how it stands.
    """

    run: RunView
    plan: Plan
    node: PlannedGate
    asked: GateState
    request: Request
    segment: Segment
    verdict: Verdict


def pending_gate(home: Home, run: str, gate: str | None = None) -> PendingGate:
    """Give the gate that a run waits at.

    Arguments:
        gate: the path of the gate, to be sure that it is the one that was looked at.

    Raises:
        RefusedError: the run does not wait at a gate, or at another one.
        TamperError: the stored segment is not what the gate asks for.
        SettingsError: a rules file cannot be read.
    """
    view = find_run(home, run)
    summary = view.summary
    if summary.waits_on != "gate" or (gate and gate != summary.waits_at):
        raise RefusedError(
            f"{summary.run} does not wait at {'gate ' + gate if gate else 'a gate'}: {describe(view)}"
        )
    state, plan = load_state(home, summary.run), load_plan(home, summary.run)
    node, asked = plan.node(summary.waits_at), state.gates[summary.waits_at]
    if not isinstance(node, PlannedGate):
        raise RefusedError(f"{summary.run}: step {summary.waits_at} is not a gate")
    entry = home.store.entry(asked.request)
    segment = Segment.decode(home.store.blob(entry, "segment") or b"{}")
    if (segment.digest, segment.plan, segment.run) != (asked.digest, plan.digest, summary.run):
        raise TamperError(f"entry {asked.request}: the steps on record are not those that the gate asks for")
    permits = permits_of_state(home, state, plan)
    request, verdict = permits.request(node, state), permits.verdict(node, state)
    return PendingGate(view, plan, node, asked, request, segment, verdict)


def permits_of_state(home: Home, state: RunState, plan: Plan) -> Permits:
    """Give what the rules say of a run at this moment."""
    return permits_of(home, plan, state.run, state.incident)


def decide(
    home: Home,
    pending: PendingGate,
    identity: Identity,
    decision: Literal["approved", "rejected"],
    *,
    digest: str,
    reason: str = "",
    proof: Signed | None = None,
) -> str:
    """Record a person's decision at a gate, for the digest that they looked at.

    Arguments:
        digest: of the segment, as it was shown; at least 12 characters of it.
        reason: required for a rejection.
        proof: what the person signed, where they did; it was verified (`mimrun.app.signed_approvals`).

    Returns:
        the role in which the person decided.

    Raises:
        GateError: the person may not decide, or what would run is not what was looked at.
        InputError: a rejection without a reason, or a digest that is too short to mean anything.
    """
    if decision == "rejected" and not reason.strip():
        raise InputError("a rejection needs a reason; give one with --reason")
    return _record(home, pending, identity, _Said(Decision(decision), digest, reason, proof=proof))


def override_freeze(
    home: Home,
    pending: PendingGate,
    identity: Identity,
    *,
    digest: str,
    reason: str,
    proof: Signed | None = None,
) -> str:
    """Record that a freeze approver lets a gate open although a calendar is closed; it approves nothing else.

    Arguments:
        digest, proof: as for `decide`.
        reason: why it cannot wait.

    Returns:
        the role in which the person decided.

    Raises:
        GateError: the person may not decide, nothing is frozen, or what would run is not what was looked at.
        InputError: there is no reason.
    """
    if not reason.strip():
        raise InputError("overriding a freeze needs a reason; give one with --reason")
    said = _Said(Decision.APPROVED, digest, reason, "freeze_override", proof)
    return _record(home, pending, identity, said)


@dataclass(frozen=True, slots=True)
class _Said:
    """What somebody said at a gate."""

    decision: Decision
    digest: str
    reason: str
    purpose: Purpose = "approval"
    proof: Signed | None = None


def _record(home: Home, pending: PendingGate, identity: Identity, said: _Said) -> str:
    full = _whole(said.digest, pending.request.digest)
    now, people = home.clock(), home.people(pending.plan.runbook.owner)
    _refuse_void(pending)
    # Whoever is not in the people file has no role in it.
    person = people.by_id.get(identity.person.id, identity.person)
    word = Word(full, identity.auth, said.decision, said.purpose)
    role = check_voter(person, pending.request, pending.asked.votes, people, word, now=now)
    summary = pending.run.summary
    body = GateDecided(
        decision=said.decision.value,
        digest=full,
        role=role,
        reason=said.reason,
        at=write_moment(now),
        purpose=said.purpose,
        brought_by=said.proof.brought_by if said.proof else "",
    )
    blobs = said.proof.blobs() if said.proof else ()
    draft = Draft(
        identity.actor(), body, inc=summary.incident, run=summary.run, step=pending.node.path, blobs=blobs
    )
    note_rules(home, identity.actor())
    home.store.append([draft], guard=lambda view: _same_request(view, summary))
    if said.purpose == "approval" and said.decision is not Decision.WITHDRAWN:
        answer: Literal["approved", "rejected"] = (
            "approved" if said.decision is Decision.APPROVED else "rejected"
        )
        decide_made_change(home, summary.run, identity, answer, digest=full, reason=said.reason)
    return role


def _refuse_void(pending: PendingGate) -> None:
    """Refuse a word on a question that is not asked any more."""
    match pending.verdict:
        case Closed(ClosedBy.VOID, detail):
            name = pending.run.summary.run
            raise RefusedError(f"{detail}; have it asked anew with `mimrun resume {name}`, then look at it")
        case _:
            pass


def gate_verdict(home: Home, state: RunState, plan: Plan) -> Verdict:
    """Say how a run's last gate stands now, with the votes that are on record.

    Raises:
        SettingsError, RefusedError: a rules file cannot be read, so that nobody knows.
    """
    path = max(state.gates, key=lambda gate: state.gates[gate].request)
    node = plan.node(path)
    assert isinstance(node, PlannedGate)
    return permits_of_state(home, state, plan).verdict(node, state)


def verdict_of(home: Home, state: RunState, plan: Plan) -> Literal["open", "waiting", "closed"]:
    """Say in a word how a run's last gate stands now; see `gate_verdict`."""
    match gate_verdict(home, state, plan):
        case Open():
            return "open"
        case Waiting():
            return "waiting"
        case Closed():
            return "closed"


def attest(home: Home, run: str, identity: Identity, evidence: Mapping[str, str]) -> PlannedManual:
    """Record a person's word that a manual step is done, with the evidence that it asks for.

    Raises:
        RefusedError: the run does not wait for a manual step.
        GateError: the person is not known, or does not have the role that the step is for.
        InputError: evidence is missing, unknown or of the wrong type; all of it is named.
    """
    view = find_run(home, run)
    summary = view.summary
    if summary.waits_on != "manual":
        raise RefusedError(f"{summary.run} does not wait for a manual step: {describe(view)}")
    plan = load_plan(home, summary.run)
    node = plan.node(summary.waits_at)
    if not isinstance(node, PlannedManual):
        raise RefusedError(f"{summary.run}: step {summary.waits_at} is not a manual step")
    person = require_known(home, identity, f"attest '{node.name}'", team=plan.runbook.owner)
    if node.role and node.role not in person.roles:
        raise GateError(f"{person.id} does not have the role {node.role}, which '{node.name}' is for")
    known = load_state(home, summary.run).manuals[node.path]
    if known.attested:
        raise RefusedError(f"{known.by} has attested it already; go on with `mimrun resume {summary.run}`")
    given = _typed(node, evidence)
    blob = Blob("evidence", json.dumps(given, sort_keys=True).encode(), "text")
    body = ManualAttested(fields=canonical.digest(given))
    draft = Draft(
        identity.actor(), body, inc=summary.incident, run=summary.run, step=node.path, blobs=(blob,)
    )
    home.store.append([draft], guard=lambda log: unchanged(log, summary))
    return node


def request_cancel(home: Home, run: str, identity: Identity, reason: str) -> RunView:
    """Ask for a run to be cancelled; see `mimrun.app.stopping`.

    Returns:
        the run as it was; where nobody holds it, executing it once more ends it.

    Raises:
        RefusedError: the run is over already.
    """
    return request_stop(home, run, identity, Level.CANCEL, reason).view


def describe(view: RunView) -> str:
    """Say in one line where a run stands and what it needs."""
    summary = view.summary
    at = f" at step {summary.waits_at}" if summary.waits_at else ""
    why = f": {summary.reason}" if summary.reason else ""
    return f"it is {view.status}{at}{why}"


def _same_request(view: View, seen: RunSummary) -> None:
    """Refuse a vote on a gate that is not asked any more; others may vote at the same moment."""
    now = summary_in(view, seen.run)
    if (now.waits_on, now.waits_at, now.epoch) != (seen.waits_on, seen.waits_at, seen.epoch):
        raise RefusedError(f"{seen.run} has moved on while you decided; look at it again")


def _whole(given: str, asked: str) -> str:
    bare = given.removeprefix("sha256:")
    if len(bare) < 12:
        raise InputError(f"digest {given!r} is too short; give at least 12 characters of what you looked at")
    return asked if asked.removeprefix("sha256:").startswith(bare) else f"sha256:{bare}"


def _typed(node: PlannedManual, given: Mapping[str, str]) -> dict[str, JsonValue]:
    wrong = [
        f"unknown evidence {name!r}; asked for: {', '.join(node.evidence) or 'none'}"
        for name in given
        if name not in node.evidence
    ]
    typed: dict[str, JsonValue] = {}
    for name, field in node.evidence.items():
        text = given.get(name, "").strip()
        if not text:
            if field.required:
                wrong.append(
                    f"evidence {name!r} ({field.type}) is missing; give it with --evidence {name}=..."
                )
            continue
        try:
            typed[name] = _value(field.type, text)
        except ValueError as exc:
            wrong.append(f"evidence {name!r}: {exc}")
    if wrong:
        raise InputError("\n".join(wrong))
    return typed


def _value(kind: EvidenceType, text: str) -> JsonValue:
    match kind:
        case EvidenceType.NUMBER:
            if not re.fullmatch(r"-?[0-9]{1,15}", text):
                raise ValueError(f"{text!r} is not a whole number of at most 15 digits")
            return int(text)
        case EvidenceType.BOOLEAN:
            if text not in ("true", "false"):
                raise ValueError(f"{text!r} is not true or false")
            return text == "true"
        case EvidenceType.URL:
            if not text.startswith(("https://", "http://")) or any(c.isspace() for c in text):
                raise ValueError(f"{text!r} is not an http or https address")
            return text
        case EvidenceType.TEXT:
            return text
