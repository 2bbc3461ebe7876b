"""Taking an approval back, as long as nothing was changed by it."""

from __future__ import annotations

from mimrun.app.change.at_gate import withdraw_from_made_change
from mimrun.app.decisions import describe, permits_of_state
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.masking import masking
from mimrun.app.runs import Known, find_run, known_run
from mimrun.errors import InputError, RefusedError
from mimrun.gate.approval import Request, Vote, roles_asked
from mimrun.gate.decision import check_withdrawal
from mimrun.log.entry import Draft
from mimrun.log.kinds import GateDecided
from mimrun.log.moment import write_moment
from mimrun.log.store import View
from mimrun.run.record.state import GateState
from mimrun.run.record.summary import RunSummary, summary_in
from mimrun.runbook.node import PlannedGate


def withdraw(home: Home, run: str, identity: Identity, reason: str) -> PlannedGate:
    """Take back an approval of one's own, as long as nothing was changed by it.

    Returns:
        the gate.

    Raises:
        InputError: there is no reason.
        RefusedError: there is no gate that waits or is open and unused.
        GateError: this person has not approved it.
    """
    if not reason.strip():
        raise InputError("say why you take it back, with --reason: it is what a reviewer will read")
    reason = masking(home)(reason)
    summary, node, asked, request, vote = _taken(home, run, identity)
    path = node.path
    body = GateDecided(
        decision="withdrawn",
        digest=asked.digest,
        role=_role_of(identity, request),
        reason=reason,
        at=write_moment(home.clock()),
        purpose=vote.purpose,
    )
    draft = Draft(identity.actor(), body, inc=summary.incident, run=summary.run, step=path)
    if vote.purpose == "approval":
        # First there: where only one of the two is taken back, the gate stays closed.
        withdraw_from_made_change(home, summary.run, identity, digest=asked.digest, reason=reason)
    home.store.append([draft], guard=lambda log: _still_unused(log, summary))
    return node


def why_not_withdraw(home: Home, run: str, identity: Identity, *, known: Known | None = None) -> str:
    """Say why a person has no approval to take back; "" where they have one.

    Arguments:
        known: what whoever only looks knows of the run already.
    """
    try:
        _taken(home, run, identity, known)
    except RefusedError as exc:
        return str(exc)
    return ""


def _taken(
    home: Home, run: str, identity: Identity, known: Known | None = None
) -> tuple[RunSummary, PlannedGate, GateState, Request, Vote]:
    """Give the gate of a run that waits, or is open and unused, and a person's approval there.

    Raises:
        RefusedError: there is no such gate.
        GateError: this person has not approved it.
    """
    view = find_run(home, run)
    summary = view.summary
    state, plan = known_run(home, summary.run, known)
    path = summary.waits_at if summary.waits_on == "gate" else summary.unused
    asked = state.gates.get(path)
    if asked is None or (asked.opened and summary.unused != path):
        used = "; what was approved has begun" if any(gate.passed for gate in state.gates.values()) else ""
        raise RefusedError(
            f"{summary.run} has no approval that could be taken back{used}: {describe(view)};"
            f" stop it with `mimrun pause {summary.run}` or `mimrun cancel {summary.run}`"
        )
    node = plan.node(path)
    assert isinstance(node, PlannedGate)
    people = home.people(plan.runbook.owner)
    request = permits_of_state(home, state, plan).request(node, state)
    vote = check_withdrawal(identity.person, request, asked.votes, people, auth=identity.auth)
    return summary, node, asked, request, vote


def _role_of(identity: Identity, request: Request) -> str:
    """Give the role in which an approval is taken back; the person may have lost theirs since."""
    roles = roles_asked(request)
    return next((role for role in roles if role in identity.person.roles), (*roles, "nobody")[0])


def _still_unused(view: View, seen: RunSummary) -> None:
    """Refuse to take back what was used in the meantime, or is asked anew."""
    now = summary_in(view, seen.run)
    if (now.waits_on, now.waits_at, now.unused) != (seen.waits_on, seen.waits_at, seen.unused):
        raise RefusedError(f"{seen.run} has moved on while you decided; look at it again")
