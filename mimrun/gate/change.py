"""The decision whether a change record allows something: one pure function for every change system.

Any field that it needs and that could not be read keeps the gate closed, and is named. What is said here is what
a person reads at a gate that waits: which field, what it is, and what it would have to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from mimrun.change_system import ChangeApproval, ChangeRecord, ChangeState, ChangeType
from mimrun.gate.approval import Decision, Vote
from mimrun.gate.people import People, acted

REGISTER: Final = "register"
"""The name of mimrun's own register among the change systems; its accounts are ids of the people file."""

CONFLICTS_WITHIN: Final = timedelta(hours=1)
"""How old a search for conflicts may be, unless `changes.yaml` says otherwise."""

DECIDING: Final = frozenset(
    {"type", "state", "approval", "votes", "window", "on_hold", "conflicts", "conflicts_at", "targets"}
    | {"requested_by", "run", "digest", "runbook", "valid_until", "retrospective"}
)
"""The fields that are decided from."""

_TOLD: Final = frozenset({"url", "title", "raw_state", "version", "backout"})
"""The fields that are only for people."""

_NEVER_ABSENT: Final = ("type", "state", "approval", "votes")
"""What a system must have, or it is none that anything can be decided from."""

_ALLOWING: Final = (ChangeState.SCHEDULED, ChangeState.IMPLEMENT)

_FITS: Final[dict[ChangeType, tuple[ChangeType, ...]]] = {
    "standard": ("standard", "normal"),
    "normal": ("normal",),
    "emergency": ("emergency", "normal"),
}
"""By what is needed, the types that will do: a normal change was looked at by more people than any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeNeed:
    """What a change record is held against.

    Arguments:
        kind: the type that is asked for.
        run: the run.
        digest: of the steps behind the gate, as people are shown them.
        plan: the digest of the whole plan.
        runbook: the digest of the runbook, which a standard change allows.
        targets: the hosts that the run may touch.
        excluded: names (`mimrun.gate.people.acted`) of whoever asked for the run and launched it.
        people: everybody who is known.
        conflicts_within: how old a search for conflicts may be.
        overridden_by: persons who said that it is to be done in spite of conflicts.
    """

    kind: ChangeType
    run: str
    digest: str
    plan: str
    runbook: str
    targets: frozenset[str]
    excluded: frozenset[str]
    people: People
    conflicts_within: timedelta = CONFLICTS_WITHIN
    overridden_by: tuple[str, ...] = ()


def check_change(record: ChangeRecord, need: ChangeNeed, now: datetime) -> tuple[str, ...]:
    """Say why a change record does not allow what is behind a gate now; nothing where it allows it.

    All of this must hold:

    1. Every field that decides could be read, and the system has those without which nothing can be decided.
    2. It is no record that was written afterwards: that one tells, and allows nothing.
    3. Its type is the one that is needed, or one that asks for more.
    4. It is about this: it names this run or nothing else, and bears the digest of these steps or of this plan; a
       standard change bears the digest of the runbook.
    5. It is about every host that the run may touch.
    6. It is approved, as its own state of approval says and as at least one approver says, and nobody rejected it.
       A standard change was allowed before, and has approvers only where its system keeps them.
    7. Every approver is somebody who is known, and none of them asked for the change, asked for the run, or
       launched it.
    8. Its state is one in which work may be done, and nobody has put it on hold.
    9. It is time: now is inside its window, and a standard change has not run out.
    10. Nothing speaks against its time, which was looked for not long ago; or a named person answers for it.

    Arguments:
        record: as it was read.
        now: the present moment, UTC.

    Returns:
        one reason for each thing that does not hold, each of them naming the field.
    """
    steps = (
        _unread(record),
        _afterwards(record),
        _type(record, need),
        _about(record, need),
        _targets(record, need),
        _approval(record),
        _approvers(record, need),
        _state(record),
        _time(record, now),
        _conflicts(record, need, now),
    )
    return tuple(dict.fromkeys(reason for step in steps for reason in step))


def refusal_of(record: ChangeRecord) -> str:
    """Say why a record will never allow anything any more: it was rejected, or called off. "" while it still may."""
    name = f"change {record.ref}"
    if "approval" not in record.unreadable and record.approval is ChangeApproval.REJECTED:
        said = [vote for vote in record.votes if vote.decision == "rejected"]
        by = f" by {said[0].account}: {said[0].reason or 'no reason was given'}" if said else ""
        return f"{name} was rejected in {record.system}{by}"
    if "state" not in record.unreadable and record.state is ChangeState.CANCELED:
        return f"{name} was canceled in {record.system}"
    if "approval" not in record.unreadable and record.approval is ChangeApproval.CANCELED:
        return f"{name}: asking for its approval was called off in {record.system}"
    return ""


def change_votes(record: ChangeRecord, need: ChangeNeed, now: datetime) -> tuple[Vote, ...]:
    """Give what the approvers of a record said as votes at the gate, for the steps that the record is about.

    They are as fresh as the reading: an approval that is taken back there is gone with the next one.

    Returns:
        nothing where the record is about something else, or allows a runbook as such and not this run of it.
        Accounts of nobody who is known are left out, which `check_change` says.
    """
    if record.type == "standard" or any(_about(record, need)) or not _has(record, "votes"):
        return ()
    found = []
    for vote in record.votes:
        person = _person(record, vote.account, need)
        if person and vote.decision is not None:
            decision = Decision.APPROVED if vote.decision == "approved" else Decision.REJECTED
            auth = vote.auth or f"change:{record.system}"
            found.append(Vote(person, decision, need.digest, now, vote.reason, now, auth))
    return tuple(found)


def _unread(record: ChangeRecord) -> Iterator[str]:
    for field, why in record.unreadable.items():
        if field not in _TOLD:
            yield f"{field} could not be read: {why}; it must be readable"
    for field in _NEVER_ABSENT:
        if field in record.absent:
            yield f"{field}: {record.system} does not have it, and nothing can be decided without"
    if {"run", "digest"} <= record.absent:
        yield f"run, digest: {record.system} keeps neither, so that nobody knows what the change is about"


def _afterwards(record: ChangeRecord) -> Iterator[str]:
    if record.retrospective and _has(record, "retrospective"):
        yield "retrospective: it is written after the fact, and a change that allows this must be approved before"


def _type(record: ChangeRecord, need: ChangeNeed) -> Iterator[str]:
    fits = _FITS[need.kind]
    if _has(record, "type") and record.type not in fits:
        yield f"type is {record.type or 'not said'}; it must be {' or '.join(fits)}"


def _about(record: ChangeRecord, need: ChangeNeed) -> Iterator[str]:
    if record.type == "standard":
        if record.digest != need.runbook:
            yield f"digest is {_short(record.digest)}; it must be {need.runbook}, that of the runbook and what it includes"
        return
    if record.run and record.run != need.run:
        yield f"run is {record.run}; it must be {need.run}"
    if record.digest and record.digest not in (need.digest, need.plan):
        yield (
            f"digest is {_short(record.digest)}; it must be {_short(need.digest)}, that of what would run:"
            " what was approved is something else"
        )
    if not (record.run or record.digest) and {"run", "digest"}.isdisjoint(record.unreadable):
        yield f"run, digest: the record names neither; it must name {need.run} or {_short(need.digest)}"


def _targets(record: ChangeRecord, need: ChangeNeed) -> Iterator[str]:
    missing = sorted(need.targets - set(record.targets))
    if _has(record, "targets") and missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        yield f"targets are without {', '.join(missing[:5])}{more}; every host of the run must be among them"


def _approval(record: ChangeRecord) -> Iterator[str]:
    standard = record.type == "standard"
    allowed = (
        (ChangeApproval.APPROVED, ChangeApproval.NOT_REQUIRED) if standard else (ChangeApproval.APPROVED,)
    )
    if _has(record, "approval") and record.approval not in allowed:
        yield f"approval is {_word(record.approval)}; it must be approved"
    if not _has(record, "votes"):
        return
    for vote in record.votes:
        if vote.decision == "rejected":
            yield f"votes: {vote.account} rejected it: {vote.reason or 'no reason was given'}"
    if not standard and not any(vote.decision == "approved" for vote in record.votes):
        yield "votes: no approver has approved it; at least one must have"


def _approvers(record: ChangeRecord, need: ChangeNeed) -> Iterator[str]:
    if not _has(record, "votes"):
        return
    excluded = need.people.behind(need.excluded)
    asker = record.requested_by
    asked = {_person(record, asker, need) or asker} if asker else set()
    for vote in record.votes:
        if vote.decision != "approved":
            continue
        person = _person(record, vote.account, need)
        if not person:
            yield (
                f"votes: nobody is known behind {vote.account!r} of {record.system};"
                f" {need.people.file} must say who that is"
            )
            continue
        hands = need.people.behind(acted(person, vote.auth))
        if not hands.isdisjoint(excluded):
            yield f"votes: {vote.account} ({person}) asked for or launched the run; somebody else must approve it"
        elif vote.account == asker or not hands.isdisjoint(asked):
            yield f"votes: {vote.account} ({person}) asked for the change; somebody else must approve it"


def _state(record: ChangeRecord) -> Iterator[str]:
    if _has(record, "state") and record.state not in _ALLOWING:
        raw = f" ({record.raw_state})" if record.raw_state and record.raw_state != record.state else ""
        yield f"state is {_word(record.state)}{raw}; it must be scheduled or implement"
    if _has(record, "on_hold") and record.on_hold:
        yield "on_hold: somebody stopped it for now; it must be released"


def _time(record: ChangeRecord, now: datetime) -> Iterator[str]:
    standard, window = record.type == "standard", record.window
    if _has(record, "window"):
        if window is None and not standard:
            yield "window: it has no planned time; it must have one with the present moment in it"
        elif window is not None and not window.start <= now <= window.end:
            start, end = _moment(window.start), _moment(window.end)
            yield f"window is {start} to {end}; now, {_moment(now)}, must be in it"
    if not standard or not _has(record, "valid_until"):
        return
    if record.valid_until is None:
        yield "valid_until: it says nothing; a standard change must say until when it counts"
    elif now >= record.valid_until:
        yield f"valid_until is {_moment(record.valid_until)}, which is over; it must be allowed anew"


def _conflicts(record: ChangeRecord, need: ChangeNeed, now: datetime) -> Iterator[str]:
    if not _has(record, "conflicts"):
        return
    if record.conflicts and not need.overridden_by:
        said = ", ".join(f"{c.type} {c.with_}".strip() for c in record.conflicts[:5])
        how = (
            f" (`mimrun change approve {record.ref} --despite-conflicts`)"
            if record.system == REGISTER
            else ""
        )
        yield f"conflicts: {said}; there must be none, or somebody must answer for it by name{how}"
    if not _has(record, "conflicts_at"):
        return
    if record.conflicts_at is None:
        yield "conflicts_at: nobody has looked for conflicts; that must have been done"
    elif not now - need.conflicts_within <= record.conflicts_at:
        within = int(need.conflicts_within.total_seconds() // 60)
        yield (
            f"conflicts_at is {_moment(record.conflicts_at)}; conflicts must have been looked for in the last"
            f" {within} minutes"
        )


def _has(record: ChangeRecord, field: str) -> bool:
    """Say whether a field can be judged; where it could not be read, that is said by itself."""
    return field not in record.absent and field not in record.unreadable


def _person(record: ChangeRecord, account: str, need: ChangeNeed) -> str:
    """Give the id of the person behind an account of the record's system; "" for nobody."""
    if record.system == REGISTER:
        person = need.people.by_id.get(account)
    else:
        person = need.people.person_at(record.system, account)
    return person.id if person else ""


def _word(value: ChangeState | ChangeApproval | Literal[""] | None) -> str:
    return value.value if value else "not said"


def _short(digest: str) -> str:
    return digest[:19] or "not said"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
