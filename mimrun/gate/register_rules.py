"""What holds for a record of mimrun's own register: who may decide, what must be in it, what speaks against its time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from mimrun.change_system import (
    ChangeApproval,
    ChangeRecord,
    ChangeState,
    ChangeType,
    ChangeVote,
    Conflict,
    Window,
)
from mimrun.errors import GateError, RefusedError
from mimrun.gate.change import REGISTER
from mimrun.gate.people import People, Person, acted
from mimrun.gate.register import ENDED, MOVES, Content, Registered, Said
from mimrun.gate.terms import a_change
from mimrun.log.moment import read_moment

ROLES: Final[Mapping[ChangeType, tuple[str, ...]]] = {
    "standard": ("change_manager",),
    "normal": ("change_manager",),
    "emergency": ("change_manager", "emergency_board"),
}
"""Who may allow a change of each type; one of these roles."""

OPEN: Final = frozenset({ChangeState.DRAFT, ChangeState.ASSESS, ChangeState.AUTHORIZE, ChangeState.SCHEDULED})
"""The states in which a record may be written anew."""

OCCUPYING: Final = frozenset({ChangeState.AUTHORIZE, ChangeState.SCHEDULED, ChangeState.IMPLEMENT})
"""The states in which a record's planned time and hosts are taken."""

_BEFORE: Final[Mapping[ChangeType, tuple[str, ...]]] = {
    "standard": ("justification", "runbook", "digest", "hosts", "valid_until"),
    "normal": ("justification", "implementation", "backout", "test", "targets", "window"),
    "emergency": ("justification", "implementation", "targets"),
}
"""By type, what must be there before anybody is asked to allow it."""

_AFTER: Final = ("justification", "implementation", "backout", "test", "targets")
"""What must be there before a record is closed, whatever its type: in a hurry it may be written afterwards."""


def missing(content: Content, *, closing: bool = False, retrospective: bool = False) -> tuple[str, ...]:
    """Give the fields that a record lacks.

    Arguments:
        closing: before it is closed; else before it is submitted.
        retrospective: it is written after the fact, so that nothing is planned.
    """
    if content.type == "standard":
        needed: tuple[str, ...] = () if closing else _BEFORE["standard"]
    elif closing:
        needed = _AFTER
    else:
        needed = ("justification",) if retrospective else _BEFORE[content.type]
    given = {**content.model_dump(), "window": content.window_start and content.window_end}
    return tuple(name for name in needed if not given[name])


def check_move(was: Registered, state: ChangeState) -> None:
    """See that a record may go to a state from where it is.

    Raises:
        RefusedError: it may not; the message says where it may go.
    """
    allowed = MOVES[was.type][was.state]
    if state in allowed:
        return
    where = ", ".join(allowed) or "nowhere any more"
    raise RefusedError(
        f"{was.ref} is in {was.state}; {a_change(was.type)} goes from there to {where}, not to {state}"
    )


def check_decider(
    was: Registered,
    content: Content,
    person: Person,
    auth: str,
    people: People,
    *,
    launchers: Iterable[str] = (),
) -> str:
    """Say in which role a person may approve or reject a record.

    1. It is asked for now, or stands approved.
    2. The person has a role that allows changes of its type.
    3. It is nobody who wrote it or asked for it, nor who launched a run that it is linked to, by any account and in
       anybody's name; of a standard change, not who owns the runbook.

    Arguments:
        auth: how much the person's name is worth.
        launchers: names (`mimrun.gate.people.acted`) of those who launched runs that it is linked to.

    Raises:
        GateError: they may not; the message says why.
    """
    if was.state not in (ChangeState.AUTHORIZE, ChangeState.SCHEDULED):
        raise GateError(f"{was.ref} is in {was.state}; it is decided in authorize: submit it first")
    roles = ROLES[was.type]
    held = [role for role in roles if role in person.roles]
    if not held:
        has = ", ".join(sorted(person.roles)) or "no role"
        raise GateError(f"{person.id} has {has}; {a_change(was.type)} is allowed by {' or '.join(roles)}")
    hands = people.behind(acted(person.id, auth))
    writers = {*was.hands, *([content.requested_by] if content.requested_by else [])}
    if not hands.isdisjoint(people.behind(writers)):
        raise GateError(
            f"{person.id} asked for {was.ref} or wrote at it; another {' or '.join(roles)} must decide"
        )
    if not hands.isdisjoint(people.behind(frozenset(launchers))):
        raise GateError(f"{person.id} launched a run of {was.ref}; another {' or '.join(roles)} must decide")
    if content.owner and not hands.isdisjoint(
        people.behind({content.owner}) | members(people, content.owner)
    ):
        raise GateError(f"{person.id} owns {content.runbook}; somebody else must authorise it beforehand")
    return held[0]


def members(people: People, owner: str) -> frozenset[str]:
    """Give the persons of a team, where the owner of a runbook is a team of one person; a larger one is nobody's own."""
    team = people.teams.get(owner)
    return frozenset(team.members) if team is not None and len(team.members) == 1 else frozenset()


def standing_votes(was: Registered, people: People) -> tuple[Said, ...]:
    """Give what was decided by those who still have a role to decide it."""
    roles = ROLES[was.type]
    known = [(said, people.by_id.get(said.person)) for said in was.said]
    return tuple(said for said, person in known if person and not person.roles.isdisjoint(roles))


def approval_of(was: Registered, people: People) -> ChangeApproval:
    """Say whether a record is allowed, by those who may allow it now."""
    said = standing_votes(was, people)
    if any(one.decision == "rejected" for one in said):
        return ChangeApproval.REJECTED
    if any(one.decision == "approved" for one in said):
        return ChangeApproval.APPROVED
    if was.state is ChangeState.CANCELED:
        return ChangeApproval.CANCELED
    asked = was.state not in (ChangeState.DRAFT, ChangeState.ASSESS)
    return ChangeApproval.REQUESTED if asked else ChangeApproval.NOT_REQUESTED


def conflict_name(conflict: Conflict) -> str:
    """Name a conflict, so that somebody can answer for it."""
    return f"{conflict.type} {conflict.with_}".strip()[:200]


def overlaps(content: Content, others: Iterable[tuple[Registered, Content]]) -> tuple[Conflict, ...]:
    """Give the records that want one of the same hosts at the same time.

    Records of the same run or incident are one piece of work, and do not stand in each other's way.
    """
    window = window_of(content)
    if window is None:
        return ()
    found = []
    for other, theirs in others:
        their = window_of(theirs)
        if other.state not in OCCUPYING or their is None or other.retrospective:
            continue
        one_work = (content.run and content.run == theirs.run) or (
            content.incident and content.incident == theirs.incident
        )
        at_once = window.start < their.end and their.start < window.end
        if at_once and not one_work and not set(content.targets).isdisjoint(theirs.targets):
            found.append(Conflict("ci_already_scheduled", other.ref))
    return tuple(found)


def window_of(content: Content) -> Window | None:
    """Give when a record is planned; None where it says no time."""
    if not (content.window_start and content.window_end):
        return None
    return Window(read_moment(content.window_start), read_moment(content.window_end))


def as_change(
    was: Registered,
    content: Content | None,
    people: People,
    conflicts: tuple[Conflict, ...],
    now: datetime,
    *,
    targets: tuple[str, ...] | None = None,
) -> ChangeRecord:
    """Give a record of the register as decisions are made from it.

    Arguments:
        content: its text; None where it was erased, and then it allows nothing.
        people: as they are at this moment: whoever has lost the role has allowed nothing.
        conflicts: that were found just now.
        targets: the hosts that a standard change's pattern names; else those of the text.
    """
    said = standing_votes(was, people)
    despite = {name for one in said if one.decision == "approved" for name in one.despite}
    text = content or Content(type=was.type, title=was.title, risk="high")
    gone = {"targets": "its text was erased", "window": "its text was erased", "run": "its text was erased"}
    return ChangeRecord(
        system=REGISTER,
        ref=was.ref,
        type=was.type,
        title=was.title,
        state=was.state,
        raw_state=was.state.value,
        approval=approval_of(was, people),
        votes=tuple(
            ChangeVote(one.person, one.decision, read_moment(one.at), one.reason, one.auth) for one in said
        ),
        window=window_of(text),
        conflicts=tuple(one for one in conflicts if conflict_name(one) not in despite),
        conflicts_at=now,
        targets=text.targets if targets is None else targets,
        requested_by=text.requested_by,
        run=text.run,
        digest=text.digest,
        version=was.record,
        runbook=text.runbook,
        valid_until=read_moment(text.valid_until) if text.valid_until else None,
        backout=text.backout,
        retrospective=was.retrospective,
        unreadable={} if content else gone,
    )


def is_overdue(was: Registered, now: datetime) -> bool:
    """Say whether a record that is written afterwards should have been closed by now."""
    return (
        was.retrospective and was.state not in ENDED and bool(was.due_at) and read_moment(was.due_at) <= now
    )
