"""The decision whether a gate is open: one pure function, asked again before every effect.

An approval names the digest of what was shown, and counts for the terms that it was given under. It counts
while it is not older than the gate allows, for one person once, from somebody who has the role now and who
neither asked for the run nor started it, and until it is taken back. A single rejection closes the gate. Who
counts as somebody else is `People.behind`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from mimrun.gate.people import CLAIMED, People, acted
from mimrun.gate.terms import Terms
from mimrun.runbook.model import Needed

SKEW: Final = timedelta(seconds=60)
"""So far the clock may be set back before an approval counts for nothing."""

FREEZE_ROLE: Final = "freeze_approver"
"""Who may allow a change although a calendar is closed."""

SIGNED: Final = "ssh-key:"
"""How the log marks a word that was signed with the person's own key; the key's fingerprint follows."""

Purpose: TypeAlias = Literal["approval", "freeze_override"]
OpenedBy: TypeAlias = Literal["approvals", "policy", "standard_change", "break_glass"]


class Decision(StrEnum):
    """What a person said."""

    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Vote:
    """One recorded decision of one person at one gate.

    Arguments:
        person: by the id or an account of the people file.
        at: when the log recorded it; never before what was recorded before it.
        clock: what the clock said then; it differs from `at` where the clock has gone back.
        auth: how much the name is worth, as the log has it: `os-user`, `claimed:ACCOUNT`, `ssh-key:SHA256:…`.
        purpose: for what: the plan, or the moment although a calendar is closed.
    """

    person: str
    decision: Decision
    digest: str
    at: datetime
    reason: str = ""
    clock: datetime | None = None
    auth: str = ""
    purpose: Purpose = "approval"


@dataclass(frozen=True, slots=True)
class Question:
    """That part of the terms which people answer: where another one is in force now, they have not answered it."""

    approvals: frozenset[tuple[str, int]]
    change: str
    freeze_override: bool = False
    signed: bool = False

    @classmethod
    def of(cls, terms: Terms) -> Question:
        """Give what terms ask people."""
        approvals = frozenset((need.role, need.count) for need in terms.approvals)
        return cls(approvals, terms.change, terms.freeze_override, terms.signed)


@dataclass(frozen=True, slots=True)
class ChangeStanding:
    """How the change record of a gate stands.

    Arguments:
        ref: what people call it, with its system; "" where none is linked.
        reasons: what speaks against it, in words, each with the field that it comes from.
        rejected: it was rejected for good: by whom and why; "" where it was not.
        votes: what its approvers said in the change system, by the ids of the people file, for the digest that the
            record bears.
    """

    ref: str = ""
    reasons: tuple[str, ...] = ()
    rejected: str = ""
    votes: tuple[Vote, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What a gate asks for, and what is known at this moment besides votes.

    Arguments:
        digest: of the segment that approvers are shown.
        terms: what has to be there, by the rules as they are now.
        asked_at: when the gate was reached.
        excluded: names (`acted`) of those whose vote never counts: who asked for the run, launched it, wrote it.
        asked: what people were asked when the gate was reached; None where it is the same by definition.
        since: when the last period to decide in began, where others were asked besides.
        rounds: how many roles of the chain are asked besides by now.
        by_policy: where the terms ask nothing, the rules mean that, and the gate opens by itself.
        change: how the change record stands; None where no rule asks for one.
        frozen: which calendars are closed, until when, in words.
        broken: somebody broke the glass for this very plan.
    """

    digest: str
    terms: Terms
    asked_at: datetime
    excluded: Set[str]
    asked: Question | None = None
    since: datetime | None = None
    rounds: int = 0
    by_policy: bool = False
    change: ChangeStanding | None = None
    frozen: str = ""
    broken: bool = False

    @property
    def needed(self) -> tuple[Needed, ...]:
        """All of these roles and counts."""
        return self.terms.approvals

    @property
    def expires(self) -> timedelta:
        """How long the gate waits, and an approval counts."""
        return timedelta(milliseconds=self.terms.expires_ms)

    @property
    def until(self) -> datetime:
        """When it is too late to decide."""
        return (self.since or self.asked_at) + self.expires

    @property
    def besides(self) -> tuple[str, ...]:
        """Roles that may decide in the place of every other by now, since nobody did in time."""
        return self.terms.escalation[: self.rounds]


@dataclass(frozen=True, slots=True)
class Open:
    """The gate is open.

    Arguments:
        approvers: whose approvals filled the places.
        by: what opened it.
        because: why, where it was not people.
    """

    approvers: tuple[str, ...]
    by: OpenedBy = "approvals"
    because: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something is missing yet.

    Arguments:
        missing: by role, how many people.
        until: when it is too late.
        reasons: what else stands in the way, in words.
    """

    missing: Mapping[str, int]
    until: datetime
    reasons: tuple[str, ...] = ()

    @property
    def needs(self) -> str:
        """Everything that is missing, behind "it needs"."""
        people = ", ".join(f"{count} {role}" for role, count in self.missing.items())
        return "; ".join(part for part in (people, *self.reasons) if part)


class ClosedBy(StrEnum):
    """Why a gate is closed for this request."""

    REJECTED = "rejected"
    EXPIRED = "expired"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Closed:
    """This request will not open any more."""

    by: ClosedBy
    detail: str


Verdict: TypeAlias = Open | Waiting | Closed


def check_gate(request: Request, votes: Sequence[Vote], people: People, *, now: datetime) -> Verdict:
    """Decide whether a gate is open now.

    The steps, in order:

    1. Broken glass opens every gate of the plan that it was broken for; nothing else is asked.
    2. Where the rules ask for something else now than people were asked, what they answered is void.
    3. Only votes for the very digest count, and none from before the request: anything else was given for
       something else.
    4. A rejection by somebody who may decide closes the gate, whatever else was said; so does one of the change
       record.
    5. What was taken back does not count.
    6. An approval counts from its moment until `expires` later. Where the clock has gone back behind that
       moment, nobody knows how old it is, and it does not count.
    7. Where only signed approvals count, all others do not.
    8. Who asked for the run, launched it or wrote the runbook does not count, under any account and in anybody's
       name.
    9. Each place is filled by another person who has its role now, and by one vote of theirs: also where a
       person has several of the roles, or votes in several names, or a freeze is to be overridden besides.
       Nobody overrides a freeze for a change record that they alone have approved.
    10. What the rules refuse, and what speaks against the change record, keeps the gate from opening.
    11. A gate that names nobody is closed, unless the policy says that nothing is asked for.
    """
    if request.broken:
        return Open((), "break_glass", "the glass was broken for this plan")
    if request.asked is not None and request.asked != Question.of(request.terms):
        return Closed(
            ClosedBy.VOID, f"what is asked for has changed: {request.terms.because or 'see the gate'}"
        )
    eligible = [
        v for v in _with_change(request, votes) if v.digest == request.digest and v.at >= request.asked_at
    ]
    for vote in eligible:
        if vote.decision is Decision.REJECTED and may_decide(vote, request, people):
            return Closed(ClosedBy.REJECTED, f"{vote.person} rejected: {vote.reason}")
    if request.change is not None and request.change.rejected:
        return Closed(ClosedBy.REJECTED, request.change.rejected)
    fresh = [v for v in standing(eligible, people) if _is_fresh(v, request.expires, now)]
    counted = [v for v in fresh if v.auth.startswith(SIGNED) or not request.terms.signed]
    counted = [v for v in counted if not overrides_own(v, request, people)]
    approvers = _approvers(counted, request, people)
    missing, reasons = _missing(request, approvers, people), _reasons(request)
    if not missing and not reasons:
        return _open(request, approvers)
    if missing.get(FREEZE_ROLE) and request.frozen:
        reasons = (
            *reasons,
            f"{request.frozen}; a freeze approver must allow it besides, with --freeze-override",
        )
    if now >= request.until:
        return Closed(ClosedBy.EXPIRED, _too_late(request, reasons))
    return Waiting(missing, request.until, reasons)


def standing(votes: Sequence[Vote], people: People) -> list[Vote]:
    """Give the approvals that were not taken back, in the order in which they came."""
    left: list[Vote] = []
    for vote in votes:
        if vote.decision is Decision.APPROVED:
            left.append(vote)
        elif vote.decision is Decision.WITHDRAWN:
            gone = people.behind(acted(vote.person, vote.auth))
            left = [v for v in left if gone.isdisjoint(people.behind(acted(v.person, v.auth)))]
    return left


def may_decide(vote: Vote, request: Request, people: People) -> bool:
    """Say whether somebody's word counts at a gate at all: known, not excluded, and in a role that is asked."""
    if not people.knows(vote.person):
        return False
    hands, roles = people.behind(acted(vote.person, vote.auth)), people.person(vote.person).roles
    others = hands.isdisjoint(people.behind(request.excluded))
    return others and not roles.isdisjoint(roles_asked(request))


def overrides_own(vote: Vote, request: Request, people: People) -> bool:
    """Say whether somebody overrides a freeze for a change record that nobody but they have approved."""
    said = request.change.votes if request.change is not None else ()
    approved = [v for v in said if v.decision is Decision.APPROVED]
    if vote.purpose != "freeze_override" or not approved:
        return False
    hands = people.behind(acted(vote.person, vote.auth))
    return not any(hands.isdisjoint(people.behind(acted(v.person, v.auth))) for v in approved)


def roles_asked(request: Request) -> tuple[str, ...]:
    """Give the roles that may decide, in the order in which the terms have them."""
    freeze = (FREEZE_ROLE,) if request.terms.freeze_override else ()
    return (*(need.role for need in request.needed), *request.besides, *freeze)


def claim_of(auth: str) -> str:
    """Say for a message at whose keyboard a person was only claimed; "" where that is nothing to say."""
    account = auth.removeprefix(CLAIMED)
    return f" (claimed at the account {account}, which counts as well)" if auth.startswith(CLAIMED) else ""


def _with_change(request: Request, votes: Sequence[Vote]) -> Sequence[Vote]:
    """Give all votes, those of the change system among them, in the order in which they were given."""
    if request.change is None or not request.change.votes:
        return votes
    return sorted((*votes, *request.change.votes), key=lambda vote: vote.at)


def _approvers(votes: Sequence[Vote], request: Request, people: People) -> dict[str, Purpose]:
    """Give the persons whose approvals count: each known, not excluded, and with hands of their own."""
    approvers: dict[str, Purpose] = {}
    seen = people.behind(request.excluded)
    for vote in votes:
        hands = people.behind(acted(vote.person, vote.auth))
        if people.knows(vote.person) and hands.isdisjoint(seen):
            seen |= hands
            approvers[people.person(vote.person).id] = vote.purpose
    return approvers


@dataclass(frozen=True, slots=True)
class _Place:
    """A place that one person fills."""

    role: str
    purpose: Purpose = "approval"
    besides: frozenset[str] = field(default=frozenset())

    def fits(self, roles: Set[str], purpose: Purpose) -> bool:
        return purpose == self.purpose and (self.role in roles or not self.besides.isdisjoint(roles))


def _missing(request: Request, approvers: Mapping[str, Purpose], people: People) -> dict[str, int]:
    """Give the places nobody fills, by role: a maximum matching of persons to places (Kuhn, 1955)."""
    besides = frozenset(request.besides)
    places = [_Place(need.role, besides=besides) for need in request.needed for _ in range(need.count)]
    if request.terms.freeze_override:
        places.append(_Place(FREEZE_ROLE, "freeze_override"))
    ranked = sorted(approvers)
    fits = [[p for p in ranked if place.fits(people.person(p).roles, approvers[p])] for place in places]
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
    for number, place in enumerate(places):
        if not seat(number, set()):
            missing[place.role] = missing.get(place.role, 0) + 1
    return missing


def _reasons(request: Request) -> tuple[str, ...]:
    """Give what keeps the gate from opening besides people."""
    terms, change = request.terms, request.change
    refused = (f"nobody can allow it: {terms.refused}",) if terms.refused else ()
    return (*refused, *(f"change: {reason}" for reason in (change.reasons if change else ())))


def _open(request: Request, approvers: Mapping[str, Purpose]) -> Open | Closed:
    terms = request.terms
    if terms.approvals or terms.freeze_override:
        return Open(tuple(sorted(approvers)))
    if terms.change != "none" and request.change is not None:
        by: OpenedBy = "standard_change" if terms.change == "standard" else "approvals"
        return Open((), by, f"change {request.change.ref} allows it")
    if terms.change == "none" and request.by_policy:
        return Open((), "policy", terms.because)
    return Closed(ClosedBy.REJECTED, "the gate names nobody who could approve")


def _too_late(request: Request, reasons: Sequence[str]) -> str:
    late = f"nobody decided before {request.until.isoformat(timespec='seconds')}"
    return "; ".join((late, *reasons))


def _is_fresh(vote: Vote, expires: timedelta, now: datetime) -> bool:
    since = vote.clock or vote.at
    return since - SKEW <= now < since + expires
