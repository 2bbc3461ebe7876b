"""mimrun's own register of changes: opening, editing, moving and deciding its records, and giving them to be read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from mimrun.app.append import append_unless
from mimrun.app.change.records import conflicts_of, find_change
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.persons import require_known
from mimrun.change_system import ChangeState
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.gate.people import acted
from mimrun.gate.register import (
    Content,
    Registered,
    Result,
    next_ref,
    ref_of_key,
    registered_in,
)
from mimrun.gate.register_rules import (
    OPEN,
    check_decider,
    check_move,
    conflict_name,
    missing,
)
from mimrun.log.entry import Actor, Blob, Draft
from mimrun.log.field import REASON_LENGTH
from mimrun.log.kinds import ChangeDecided, ChangeEdited, ChangeMoved, ChangeOpened, Kind, RunCreated
from mimrun.log.store import View

_TRIES: Final = 50
"""How often a number is asked for anew that somebody else has taken meanwhile."""

S = ChangeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a record begins, besides its text.

    Arguments:
        incident: it belongs to, or "".
        key: with which mimrun itself makes it, so that it is made once; or "".
        behalf: names (`mimrun.gate.people.acted`) of those for whom it is made.
        retrospective: it is written after the fact, and must be complete by `due_at`.
        asked: it is no draft any more: a normal change is asked to be assessed, another to be allowed.
    """

    incident: str = ""
    key: str = ""
    behalf: frozenset[str] = frozenset()
    retrospective: bool = False
    due_at: datetime | None = None
    asked: bool = False


def open_change(home: Home, actor: Actor, content: Content, how: Opening | None = None) -> str:
    """Begin a record in the register.

    Returns:
        its reference; where it was made with this key before, the one that it had then.

    Raises:
        RefusedError: so many others are being opened that no number could be had.
        StoreError: the log cannot be written.
    """
    how = how or Opening()
    for _ in range(_TRIES):
        if known := ref_of_key(home.store, how.key):
            return known
        ref = next_ref(home.store)
        if append_unless(home, _opening(actor, content, how, ref), _taken(ref, how.key)):
            return ref
    raise RefusedError(
        "no number could be had in the register: too many changes are opened at once; try again"
    )


def _taken(ref: str, key: str) -> Callable[[View], bool]:
    return lambda view: next_ref(view) != ref or bool(ref_of_key(view, key))


def _opening(actor: Actor, content: Content, how: Opening, ref: str) -> list[Draft]:
    # A digest has 71 characters and a word 64.
    runbook = content.digest.removeprefix("sha256:") if content.type == "standard" else ""
    opened = ChangeOpened(
        ref=ref,
        type=content.type,
        title=content.title,
        risk=content.risk,
        record=content.record,
        runbook_digest=runbook,
        retrospective=how.retrospective,
        due_at=how.due_at or "",
        key=how.key,
        behalf=tuple(sorted(how.behalf)),
    )
    drafts = [Draft(actor, opened, inc=how.incident, blobs=(Blob("record", content.encode(), "text"),))]
    if how.asked:
        state = S.ASSESS if content.type == "normal" else S.AUTHORIZE
        drafts.append(Draft(actor, ChangeMoved(ref=ref, state=state), inc=how.incident))
    return drafts


def edit_change(home: Home, ref: str, identity: Identity, content: Content) -> Registered:
    """Let a record say something else; what was decided about it is void, and it is a draft again.

    Raises:
        RefusedError: it is under way or over, or was changed by somebody else meanwhile.
        GateError: the person is not known.
    """
    require_known(home, identity, "edit a change")
    view = find_change(home, ref)
    was = view.was
    if was.state not in (*OPEN, S.REVIEW):
        raise RefusedError(f"{was.ref} is in {was.state}; it cannot be written anew any more")
    if content.record == was.record:
        return was
    blob = Blob("record", content.encode(), "text")
    body = ChangeEdited(ref=was.ref, record=content.record, title=content.title, risk=content.risk)
    drafts = [Draft(identity.actor(), body, inc=was.incident, blobs=(blob,))]
    if was.state not in (S.DRAFT, S.REVIEW):
        drafts.append(_move(identity.actor(), was, S.DRAFT, "it says something else now"))
    return _append(home, was, drafts)


def schedule_change(home: Home, ref: str, identity: Identity, content: Content) -> Registered:
    """Plan another time for a record: what was approved is void, and what was assessed stays so.

    Raises:
        RefusedError: it is under way or over.
        InputError: no whole time is given.
        GateError: the person is not known.
    """
    require_known(home, identity, "plan a change")
    was = find_change(home, ref).was
    if was.state not in OPEN:
        raise RefusedError(f"{was.ref} is in {was.state}; its time cannot be planned any more")
    if not (content.window_start and content.window_end):
        raise InputError("give the beginning and the end, with --from and --until")
    if content.record == was.record:
        return was
    blob = Blob("record", content.encode(), "text")
    body = ChangeEdited(ref=was.ref, record=content.record, title=content.title, risk=content.risk)
    drafts = [Draft(identity.actor(), body, inc=was.incident, blobs=(blob,))]
    if was.state is S.SCHEDULED:
        drafts.append(_move(identity.actor(), was, S.AUTHORIZE, "it is planned for another time"))
    return _append(home, was, drafts)


def move_change(
    home: Home,
    ref: str,
    actor: Actor,
    state: ChangeState,
    *,
    reason: str = "",
    result: Result | Literal[""] = "",
) -> Registered:
    """Bring a record into another state.

    Raises:
        RefusedError: it does not go there from where it is, or something is missing that must be there before.
    """
    view = find_change(home, ref)
    check_move(view.was, state)
    return _append(home, view.was, [_move(actor, view.was, state, reason, result)])


def submit_change(home: Home, ref: str, identity: Identity) -> Registered:
    """Ask for a record: a normal draft to be assessed, an assessed one or any other to be allowed.

    Raises:
        RefusedError: fields are missing; all of them are named. Or it is no draft any more.
        GateError: the person is not known.
    """
    require_known(home, identity, "submit a change")
    view = find_change(home, ref)
    was = view.was
    lacks = missing(view.text(), retrospective=was.retrospective)
    if lacks:
        raise RefusedError(f"{was.ref} lacks {', '.join(lacks)}; add it with `mimrun change edit {was.ref}`")
    state = S.ASSESS if was.type == "normal" and was.state is S.DRAFT else S.AUTHORIZE
    check_move(was, state)
    return _append(home, was, [_move(identity.actor(), was, state, "")])


def decide_change(
    home: Home,
    ref: str,
    identity: Identity,
    decision: Literal["approved", "rejected"],
    *,
    reason: str = "",
    despite: bool = False,
) -> Registered:
    """Approve or reject what a record says now. An approval schedules it; a rejection makes it a draft again.

    Arguments:
        despite: the person knows of the conflicts that there are now, and answers for them.

    Raises:
        GateError: the person may not decide it.
        InputError: a rejection without a reason.
        RefusedError: it was changed meanwhile, or its planned time is in conflict and nobody answers for that.
    """
    if decision == "rejected" and not reason.strip():
        raise InputError("a rejection needs a reason; give one with --reason")
    person = require_known(home, identity, "decide about a change")
    view = find_change(home, ref)
    was, content, people = view.was, view.text(), home.people()
    role = check_decider(
        was, content, people.person(person.id), identity.auth, people, launchers=_launchers(home, was)
    )
    clashes = conflicts_of(home, view)
    if decision == "approved" and clashes and not despite:
        said = ", ".join(conflict_name(one) for one in clashes)
        raise RefusedError(
            f"{was.ref} is in conflict: {said}; move it, or answer for that with --despite-conflicts"
        )
    body = ChangeDecided(
        ref=was.ref,
        decision=decision,
        record=was.record,
        role=role,
        reason=reason,
        despite=tuple(conflict_name(one) for one in clashes[:20]) if decision == "approved" else (),
    )
    drafts = [Draft(identity.actor(), body, inc=was.incident, blobs=_long(reason))]
    if decision == "rejected":
        drafts.append(_move(identity.actor(), was, S.DRAFT, reason))
    elif was.state is S.AUTHORIZE:
        state = S.REVIEW if was.retrospective else S.SCHEDULED
        drafts.append(_move(identity.actor(), was, state, f"approved by {person.id}"))
    return _append(home, was, drafts)


def withdraw_approval(home: Home, ref: str, identity: Identity, reason: str) -> Registered:
    """Take one's approval of a record back; where none is left, it is asked for again.

    Raises:
        GateError: the person has approved nothing there.
        RefusedError: it is under way already.
    """
    view = find_change(home, ref)
    was = view.was
    said = [one for one in was.said if one.person == identity.person.id and one.decision == "approved"]
    if not said:
        raise GateError(f"{identity.person.id} has not approved {was.ref}; there is nothing to take back")
    if was.state not in (S.AUTHORIZE, S.SCHEDULED):
        raise RefusedError(f"{was.ref} is in {was.state}; stop its run instead: `mimrun cancel RUN`")
    body = ChangeDecided(
        ref=was.ref, decision="withdrawn", record=was.record, role=said[0].role, reason=reason
    )
    drafts = [Draft(identity.actor(), body, inc=was.incident, blobs=_long(reason))]
    others = [one for one in was.said if one not in said and one.decision == "approved"]
    if was.state is S.SCHEDULED and not others:
        drafts.append(_move(identity.actor(), was, S.AUTHORIZE, reason or "an approval was taken back"))
    return _append(home, was, drafts)


def close_change(
    home: Home, ref: str, actor: Actor, result: Result, reason: str, *, from_review: bool = False
) -> Registered:
    """End a record with what came of it.

    Arguments:
        from_review: also bring it to review first, where it is still being done.

    Raises:
        RefusedError: it is not in review, or it lacks what every record has in the end; all of it is named.
        InputError: it is not said what came of it.
    """
    if not reason.strip():
        raise InputError("say what came of it, with --reason: it is what a reviewer will read")
    view = find_change(home, ref)
    was = view.was
    lacks = missing(view.text(), closing=True)
    if lacks:
        raise RefusedError(
            f"{was.ref} lacks {', '.join(lacks)}: in the end it says what every change says;"
            f" add it with `mimrun change edit {was.ref}`"
        )
    drafts = []
    if from_review and was.state is S.IMPLEMENT:
        drafts.append(_move(actor, was, S.REVIEW, ""))
        was_there = was.model_copy(update={"state": S.REVIEW})
    else:
        was_there = was
    check_move(was_there, S.CLOSED)
    drafts.append(_move(actor, was_there, S.CLOSED, reason, result))
    return _append(home, was, drafts)


def _launchers(home: Home, was: Registered) -> Collection[str]:
    """Give the names of whoever launched or asked for the runs that a record is linked to."""
    found: set[str] = set()
    for run in was.runs:
        for entry in home.store.entries(run=run, kinds={Kind.RUN_CREATED}):
            assert isinstance(entry.body, RunCreated)
            found |= {*acted(entry.actor.id, entry.actor.auth), *entry.body.behalf}
    return found


def _move(
    actor: Actor, was: Registered, state: ChangeState, reason: str, result: Result | Literal[""] = ""
) -> Draft:
    body = ChangeMoved(ref=was.ref, state=state, reason=reason, result=result)
    return Draft(actor, body, inc=was.incident, blobs=_long(reason))


def _long(reason: str) -> tuple[Blob, ...]:
    """Give a reason that an entry would cut as a blob of its own."""
    if len(reason) <= REASON_LENGTH:
        return ()
    return (Blob("reason", reason.encode("utf-8", "backslashreplace"), "text"),)


def _append(home: Home, was: Registered, drafts: Sequence[Draft]) -> Registered:
    """Record what follows a record's state, unless somebody else was quicker."""

    def check(view: View) -> None:
        now = registered_in(view, was.ref)
        if now != was:
            raise RefusedError(f"{was.ref} was changed meanwhile and is in {now.state} now; look at it again")

    home.store.append(list(drafts), guard=check)
    return registered_in(home.store, was.ref)
