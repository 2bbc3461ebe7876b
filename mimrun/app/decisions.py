"""Decisions of people about a run: approve, reject, attest, settle a doubt, cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mimrun.app.change.at_gate import decide_made_change
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.manual_steps import attest as attest  # noqa: PLC0414 - this page has all decisions
from mimrun.app.masking import masking
from mimrun.app.permits import Permits, permits_of
from mimrun.app.resolving import Resolution as Resolution  # noqa: PLC0414 - this page has all decisions
from mimrun.app.resolving import doubts as doubts  # noqa: PLC0414 - likewise
from mimrun.app.resolving import resolve as resolve  # noqa: PLC0414 - likewise
from mimrun.app.rules import note_rules
from mimrun.app.runs import Known, RunView, find_run, known_run
from mimrun.app.runs import describe as describe  # noqa: PLC0414 - likewise
from mimrun.app.stopping import request_stop
from mimrun.errors import InputError, RefusedError, TamperError
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
)
from mimrun.log.moment import write_moment
from mimrun.log.store import View
from mimrun.run.record.state import GateState, RunState
from mimrun.run.record.summary import RunSummary, summary_in
from mimrun.run.record.wish import Level
from mimrun.runbook.node import PlannedGate
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


def pending_gate(home: Home, run: str, gate: str | None = None, *, known: Known | None = None) -> PendingGate:
    """Give the gate that a run waits at.

    Arguments:
        gate: the path of the gate, to be sure that it is the one that was looked at.
        known: what whoever only looks knows of the run already.

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
    state, plan = known_run(home, summary.run, known)
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
        proof: what the person signed, where they did; it was verified (`mimrun.app.signed.approvals`).

    Returns:
        the role in which the person decided.

    Raises:
        GateError: the person may not decide, or what would run is not what was looked at.
        InputError: a rejection without a reason, or a digest that is too short to mean anything.
    """
    if decision == "rejected" and not reason.strip():
        raise InputError("a rejection needs a reason; give one with --reason")
    said = _Said(Decision(decision), digest, _as_said(home, reason, proof), proof=proof)
    return _record(home, pending, identity, said)


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
    said = _Said(Decision.APPROVED, digest, _as_said(home, reason, proof), "freeze_override", proof)
    return _record(home, pending, identity, said)


def why_not_decide(
    home: Home,
    pending: PendingGate,
    identity: Identity,
    decision: Literal["approved", "rejected"],
    *,
    purpose: Purpose = "approval",
) -> str:
    """Say why a person may not decide at a gate, before they try; "" where they may.

    Arguments:
        purpose: for what they would: the plan, or the moment although a calendar is closed.
    """
    word = Word(pending.request.digest, identity.auth, Decision(decision), purpose)
    try:
        _role_for(home, pending, identity, word)
    except RefusedError as exc:
        return str(exc)
    return ""


@dataclass(frozen=True, slots=True)
class _Said:
    """What somebody said at a gate."""

    decision: Decision
    digest: str
    reason: str
    purpose: Purpose = "approval"
    proof: Signed | None = None


def _as_said(home: Home, reason: str, proof: Signed | None) -> str:
    """Give a reason without known secrets; what somebody signed stays as it was signed."""
    return reason if proof is not None else masking(home)(reason)


def _record(home: Home, pending: PendingGate, identity: Identity, said: _Said) -> str:
    full, now = _whole(said.digest, pending.request.digest), home.clock()
    role = _role_for(home, pending, identity, Word(full, identity.auth, said.decision, said.purpose))
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
    home.store.append([draft], guard=lambda view: _same_request(view, summary, alone=said.proof is not None))
    if said.purpose == "approval" and said.decision is not Decision.WITHDRAWN:
        answer: Literal["approved", "rejected"] = (
            "approved" if said.decision is Decision.APPROVED else "rejected"
        )
        decide_made_change(home, summary.run, identity, answer, digest=full, reason=said.reason)
    return role


def _role_for(home: Home, pending: PendingGate, identity: Identity, word: Word) -> str:
    """Give the role in which a person decides.

    Raises:
        RefusedError: they may not, or the question is not asked any more.
    """
    people = home.people(pending.plan.runbook.owner)
    _refuse_void(pending)
    # Whoever is not in the people file has no role in it.
    person = people.by_id.get(identity.person.id, identity.person)
    return check_voter(person, pending.request, pending.asked.votes, people, word, now=home.clock())


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
    return gate_standing(home, state, plan)[0]


def gate_standing(home: Home, state: RunState, plan: Plan) -> tuple[Verdict, Request]:
    """Say how a run's last gate stands now, and give the question that this answers.

    Raises:
        SettingsError, RefusedError: a rules file cannot be read, so that nobody knows.
    """
    path = max(state.gates, key=lambda gate: state.gates[gate].request)
    node = plan.node(path)
    assert isinstance(node, PlannedGate)
    permits = permits_of_state(home, state, plan)
    return permits.verdict(node, state), permits.request(node, state)


def verdict_of(home: Home, state: RunState, plan: Plan) -> Literal["open", "waiting", "closed"]:
    """Say in a word how a run's last gate stands now; see `gate_verdict`."""
    match gate_verdict(home, state, plan):
        case Open():
            return "open"
        case Waiting():
            return "waiting"
        case Closed():
            return "closed"


def request_cancel(home: Home, run: str, identity: Identity, reason: str) -> RunView:
    """Ask for a run to be cancelled; see `mimrun.app.stopping`.

    Returns:
        the run as it was; where nobody holds it, executing it once more ends it.

    Raises:
        RefusedError: the run is over already.
    """
    return request_stop(home, run, identity, Level.CANCEL, reason).view


def _same_request(view: View, seen: RunSummary, *, alone: bool) -> None:
    """Refuse a vote on a gate that is not asked any more; others may vote at the same moment.

    Arguments:
        alone: nobody may have said anything since: that a signed word was not counted before, and not taken back, was
            seen before that.
    """
    now = summary_in(view, seen.run)
    if (now.waits_on, now.waits_at, now.epoch) != (seen.waits_on, seen.waits_at, seen.epoch):
        raise RefusedError(f"{seen.run} has moved on while you decided; look at it again")
    if alone and now.decided != seen.decided:
        raise RefusedError(
            f"somebody has decided at {seen.run} at this moment; bring the signed word once more"
        )


def _whole(given: str, asked: str) -> str:
    bare = given.removeprefix("sha256:")
    if len(bare) < 12:
        raise InputError(f"digest {given!r} is too short; give at least 12 characters of what you looked at")
    return asked if asked.removeprefix("sha256:").startswith(bare) else f"sha256:{bare}"
