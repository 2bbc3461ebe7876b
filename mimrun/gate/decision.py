"""Whether a person may decide at a gate now, and if not, why: asked before their word is recorded.

It says early and in words what `check_gate` would not count. It allows nothing by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mimrun.errors import GateError
from mimrun.gate.approval import (
    FREEZE_ROLE,
    SIGNED,
    Decision,
    Purpose,
    Request,
    Vote,
    claim_of,
    overrides_own,
    roles_asked,
    standing,
)
from mimrun.gate.people import People, Person, acted


@dataclass(frozen=True, slots=True)
class Word:
    """What a person wants to say.

    Arguments:
        digest: of what they looked at.
        auth: how much their name is worth: `os-user`, `claimed:ACCOUNT`, `ssh-key:…`.
    """

    digest: str
    auth: str = ""
    decision: Decision = Decision.APPROVED
    purpose: Purpose = "approval"


def check_voter(
    person: Person, request: Request, votes: Sequence[Vote], people: People, word: Word, *, now: datetime
) -> str:
    """Say in which role a person may vote now.

    Raises:
        GateError: they may not; the message says why and who may.
    """
    hands = people.behind(acted(person.id, word.auth))
    _check_somebody_else(person, request, people, word)
    _check_question(request, word, now)
    role = _role(person, request, word)
    vote = Vote(person.id, word.decision, word.digest, now, auth=word.auth, purpose=word.purpose)
    if overrides_own(vote, request, people):
        raise GateError(
            f"{person.id} alone has approved the change record; another freeze approver must override the freeze for it"
        )
    asked = [v for v in votes if v.digest == request.digest and v.at >= request.asked_at]
    said = [*standing(asked, people), *(v for v in asked if v.decision is Decision.REJECTED)]
    if any(not hands.isdisjoint(people.behind(acted(v.person, v.auth))) for v in said):
        raise GateError(f"{person.id}{claim_of(word.auth)} has decided here already; one person counts once")
    return role


def check_withdrawal(
    person: Person, request: Request, votes: Sequence[Vote], people: People, *, auth: str
) -> Vote:
    """Give the approval that a person may take back.

    Raises:
        GateError: there is none of theirs.
    """
    hands = people.behind(acted(person.id, auth))
    asked = [v for v in votes if v.digest == request.digest and v.at >= request.asked_at]
    for vote in reversed(standing(asked, people)):
        if not hands.isdisjoint(people.behind(acted(vote.person, vote.auth))):
            return vote
    raise GateError(f"{person.id}{claim_of(auth)} has not approved this; there is nothing to take back")


def _check_somebody_else(person: Person, request: Request, people: People, word: Word) -> None:
    hands = people.behind(acted(person.id, word.auth))
    if hands.isdisjoint(people.behind(request.excluded)):
        return
    roles = " or ".join(roles_asked(request)) or "that the change record asks for"
    raise GateError(
        f"{person.id}{claim_of(word.auth)} asked for or launched this run and cannot approve it;"
        f" another person with role {roles} must decide"
    )


def _check_question(request: Request, word: Word, now: datetime) -> None:
    """See that the question is still the one that the person looked at, and that it can be answered."""
    if word.digest != request.digest:
        raise GateError(
            f"the gate asks for {request.digest[:19]}, not {word.digest[:19]}: what would run has changed;"
            " look at it again before you decide"
        )
    if now >= request.until:
        raise GateError("the gate has expired; resume the run to ask again")
    if word.decision is not Decision.APPROVED:
        return
    terms = request.terms
    if terms.refused:
        raise GateError(f"nobody can allow this: {terms.refused}; only breaking the glass goes past it")
    if terms.signed and not word.auth.startswith(SIGNED):
        raise GateError("only signed approvals count here; sign yours with `mimrun approve --sign`")
    if word.purpose == "freeze_override" and not terms.freeze_override:
        raise GateError("nothing is frozen here, so there is no freeze to override; approve without it")


def _role(person: Person, request: Request, word: Word) -> str:
    """Give the role in which somebody decides."""
    if word.purpose == "freeze_override":
        roles: tuple[str, ...] = (FREEZE_ROLE,)
    elif word.decision is Decision.APPROVED:
        roles = (*(need.role for need in request.needed), *request.besides)
    else:
        roles = roles_asked(request)
    held = [role for role in roles if role in person.roles]
    if held:
        return held[0]
    if not roles:
        raise GateError("nobody's approval is asked for here: the gate waits for its change record")
    if word.decision is Decision.APPROVED and FREEZE_ROLE in person.roles and request.terms.freeze_override:
        raise GateError(
            f"{person.id} may override the freeze and not approve the plan; say so with --freeze-override"
        )
    has = ", ".join(sorted(person.roles)) or "no role"
    raise GateError(f"{person.id} has {has}; this gate needs {' and '.join(roles)}")
