"""The decision whether a gate is open: one pure function, asked again before every effect.

An approval names the digest of what was shown. It counts while it is not older than the gate allows,
for one person once, from somebody who has the role now and who neither asked for the run nor started
it. A single rejection closes the gate. Who counts as somebody else is `People.behind`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

from mimrun.errors import GateError
from mimrun.gate.people import CLAIMED, People, Person, acted
from mimrun.runbook.model import Needed

SKEW: Final = timedelta(seconds=60)
"""So far the clock may be set back before an approval counts for nothing."""


class Decision(StrEnum):
    """What a person said."""

    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Vote:
    """One recorded decision of one person at one gate.

    Arguments:
        at: when the log recorded it; never before what was recorded before it.
        clock: what the clock said then; it differs from `at` where the clock has gone back.
        auth: how much the name is worth, as the log has it: `os-user`, or `claimed:ACCOUNT`.
    """

    person: str
    decision: Decision
    digest: str
    at: datetime
    reason: str = ""
    clock: datetime | None = None
    auth: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What a gate asks for.

    Arguments:
        digest: of the segment that approvers are shown.
        needed: all of these roles and counts.
        expires: how long the gate waits, and how long an approval counts.
        asked_at: when the gate was reached.
        excluded: names (`acted`) of those whose vote never counts: who asked for the run and launched it.
    """

    digest: str
    needed: Sequence[Needed]
    expires: timedelta
    asked_at: datetime
    excluded: Set[str]


@dataclass(frozen=True, slots=True)
class Open:
    """Enough people agreed."""

    approvers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not enough people agreed yet."""

    missing: Mapping[str, int]
    until: datetime


class ClosedBy(StrEnum):
    """Why a gate is closed for good."""

    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Closed:
    """The gate will not open any more."""

    by: ClosedBy
    detail: str


Verdict: TypeAlias = Open | Waiting | Closed


def check_gate(request: Request, votes: Sequence[Vote], people: People, *, now: datetime) -> Verdict:
    """Decide whether a gate is open now.

    The steps, in order:

    1. Only votes for the very digest count: anything else was given for something else.
    2. A rejection by somebody who may decide closes the gate, whatever else was said.
    3. An approval counts from its moment until `expires` later, and never before the request. Where the
       clock has gone back behind that moment, nobody knows how old it is, and it does not count.
    4. Who asked for the run or launched it does not count, under any account and in anybody's name.
    5. Each role needs its number of persons who have that role now, and one person fills one place
       only, also when the person has several of the roles, or votes in several names.
    6. A gate that names nobody is closed, not open.
    """
    if not request.needed:
        return Closed(ClosedBy.REJECTED, "the gate names nobody who could approve")
    eligible = [v for v in votes if v.digest == request.digest and v.at >= request.asked_at]
    for vote in eligible:
        if vote.decision is Decision.REJECTED and _may_decide(vote, request, people):
            return Closed(ClosedBy.REJECTED, f"{vote.person} rejected: {vote.reason}")
    fresh = [v for v in eligible if v.decision is Decision.APPROVED and _is_fresh(v, request.expires, now)]
    approvers = _approvers(fresh, request, people)
    missing = _missing(request.needed, approvers, people)
    if not missing:
        return Open(tuple(sorted(approvers)))
    until = request.asked_at + request.expires
    if now >= until:
        return Closed(ClosedBy.EXPIRED, f"nobody decided before {until.isoformat(timespec='seconds')}")
    return Waiting(missing, until)


def _approvers(votes: Sequence[Vote], request: Request, people: People) -> set[str]:
    """Give the persons whose approvals count: each known, not excluded, and with hands of their own."""
    approvers: set[str] = set()
    seen = people.behind(request.excluded)
    for vote in votes:
        hands = people.behind(acted(vote.person, vote.auth))
        if people.knows(vote.person) and hands.isdisjoint(seen):
            seen |= hands
            approvers.add(people.person(vote.person).id)
    return approvers


def check_voter(
    person: Person,
    request: Request,
    votes: Sequence[Vote],
    people: People,
    *,
    digest: str,
    now: datetime,
    auth: str = "",
) -> str:
    """Say in which role a person may vote now.

    Arguments:
        auth: how much the name is worth: `os-user`, or `claimed:ACCOUNT`.

    Raises:
        GateError: they may not; the message says why and who may.
    """
    roles = [need.role for need in request.needed]
    hands = people.behind(acted(person.id, auth))
    if not hands.isdisjoint(people.behind(request.excluded)):
        raise GateError(
            f"{person.id}{claim_of(auth)} asked for or launched this run and cannot approve it;"
            f" another person with role {' or '.join(roles)} must decide"
        )
    if digest != request.digest:
        raise GateError(
            f"the gate asks for {request.digest[:19]}, not {digest[:19]}: what would run has changed;"
            " look at it again before you decide"
        )
    if now >= request.asked_at + request.expires:
        raise GateError("the gate has expired; resume the run to ask again")
    held = [role for role in roles if role in person.roles]
    if not held:
        has = ", ".join(sorted(person.roles)) or "no role"
        raise GateError(f"{person.id} has {has}; this gate needs {' and '.join(roles)}")
    asked = [v for v in votes if v.digest == request.digest and v.at >= request.asked_at]
    if any(not hands.isdisjoint(people.behind(acted(v.person, v.auth))) for v in asked):
        raise GateError(f"{person.id}{claim_of(auth)} has decided here already; one person counts once")
    return held[0]


def claim_of(auth: str) -> str:
    """Say for a message at whose keyboard a person was only claimed; "" where that is nothing to say."""
    account = auth.removeprefix(CLAIMED)
    return f" (claimed at the account {account}, which counts as well)" if auth.startswith(CLAIMED) else ""


def _missing(needed: Sequence[Needed], approvers: Set[str], people: People) -> dict[str, int]:
    """Give the places nobody fills, by role: a maximum matching of persons to places (Kuhn, 1955)."""
    places = [need.role for need in needed for _ in range(need.count)]
    fits = [[p for p in sorted(approvers) if role in people.person(p).roles] for role in places]
    place_of: dict[str, int] = {}

    def seat(place: int, tried: set[str]) -> bool:
        for person in fits[place]:
            if person in tried:
                continue
            tried.add(person)
            if person not in place_of or seat(place_of[person], tried):
                place_of[person] = place
                return True
        return False

    missing: dict[str, int] = {}
    for place, role in enumerate(places):
        if not seat(place, set()):
            missing[role] = missing.get(role, 0) + 1
    return missing


def _is_fresh(vote: Vote, expires: timedelta, now: datetime) -> bool:
    since = vote.clock or vote.at
    return since - SKEW <= now < since + expires


def _may_decide(vote: Vote, request: Request, people: People) -> bool:
    if not people.knows(vote.person):
        return False
    hands, roles = people.behind(acted(vote.person, vote.auth)), people.person(vote.person).roles
    others = hands.isdisjoint(people.behind(request.excluded))
    return others and any(need.role in roles for need in request.needed)
