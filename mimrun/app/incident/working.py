"""Working on an incident: who does what, where it stands, and that it is over."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, TypeAlias, get_args

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.incident.closing import blocks_closing
from mimrun.app.incident.declaring import (
    Declaration,
    assessment_draft,
    may_prioritize,
    priority_draft,
    table_or_own,
)
from mimrun.app.incident.proof import find_proof, require_proof, why_no_proof
from mimrun.app.incident.recording import not_closed, record, said_by
from mimrun.app.incident.told import RELATIONS as RELATIONS  # noqa: PLC0414 - this page is where others find them
from mimrun.app.incident.told import TIMED as TIMED  # noqa: PLC0414 - likewise
from mimrun.app.incident.told import Relation as Relation  # noqa: PLC0414 - likewise
from mimrun.app.incident.told import Timed as Timed  # noqa: PLC0414 - likewise
from mimrun.app.incident.told import check_moment
from mimrun.app.incident.told import link as link  # noqa: PLC0414 - likewise
from mimrun.app.incident.told import set_time as set_time  # noqa: PLC0414 - likewise
from mimrun.app.incident.view import find_state
from mimrun.app.masking import masked, masking
from mimrun.app.persons import require_known, require_present, why_not
from mimrun.app.policies import rules_or_default
from mimrun.app.priority import declared_in, priority_reader
from mimrun.errors import InputError, RefusedError
from mimrun.incident.assessment import check_role
from mimrun.incident.assessment_file import load_table
from mimrun.incident.incident import Incident
from mimrun.incident.stage import Needs, is_contained, needs_of
from mimrun.log.kinds import (
    Body,
    IncidentAssigned,
    IncidentClosed,
    IncidentReopened,
    IncidentResolved,
    IncidentStaged,
    Stage,
)
from mimrun.log.store import View
from mimrun.runbook.suggestion import suggest

How: TypeAlias = Literal["fixed", "workaround", "no_fault", "duplicate", "vendor", "change_backed_out"]
HOWS: Final[tuple[How, ...]] = get_args(How)
_UNHARMED: Final[frozenset[How]] = frozenset({"no_fault", "duplicate"})
"""Where nothing had to be contained in this incident, and nothing came back."""


def assess(
    home: Home, identity: Identity, incident: str, declaration: Declaration, reason: str = ""
) -> Incident:
    """Say anew how bad an incident is; whoever the policy lets say so declares its priority with it.

    Arguments:
        declaration: what is said; its title, times and parent are left out.

    Raises:
        InputError: there is no such incident, or a flag is not known.
        GateError: this person decides nothing.
        RefusedError: it is closed, or somebody else assessed it at this moment.
    """
    require_present(home, identity, "assess an incident")
    was = not_closed(home, incident)
    declared = declared_in(home.store, was.name)
    (table, doubt), said = table_or_own(home), masked(home, declaration)
    reason = "; ".join(part for part in (masking(home)(reason), doubt) if part)
    judged, draft = assessment_draft(table, identity.actor(), was.name, said, reason)
    drafts = [draft]
    in_force = priority_reader(home, was.name, lambda: rules_or_default(home.settings))()
    if in_force != judged.priority and may_prioritize(home, identity):
        drafts.append(priority_draft(identity.actor(), was.name, judged, said))

    def check(view: View) -> None:
        if declared_in(view, was.name) != declared:
            raise RefusedError(f"somebody else declared how urgent {was.name} is at this moment; look again")

    return record(home, identity, was, drafts, check)


def assign(home: Home, identity: Identity, incident: str, role: str, person: str) -> Incident:
    """Give somebody a role in an incident, in place of whoever has it; it gives them no say at gates.

    Arguments:
        person: by id or account; "" where nobody is to have it any more.

    Raises:
        InputError: there is no such incident, role or person, or nobody has the role that is taken away.
        GateError: whoever says so is not known.
        RefusedError: it is so already, or the incident is closed.
    """
    require_known(home, identity, "assign roles")
    was = not_closed(home, incident)
    check_role(load_table(home.settings.incidents), role)
    id_ = _person(home, person) if person else ""
    if was.roles.get(role, "") == id_:
        raise RefusedError(f"{id_ or 'nobody'} is {role} of {was.name} already")
    return record(home, identity, was, [said_by(identity, was, IncidentAssigned(role=role, person=id_))])


def _person(home: Home, name: str) -> str:
    people = home.people()
    if not people.knows(name):
        raise InputError(f"nobody in {people.file} is called {name!r}; {suggest(name, people.by_id)}")
    person = people.person(name)
    if gone := why_not(person, home.clock()):
        raise InputError(f"{person.id} {gone}; choose somebody else")
    return person.id


def move_stage(
    home: Home, identity: Identity, incident: str, stage: Stage, *, reason: str = "", verified: int = 0
) -> Incident:
    """Say what is being worked on in an incident from now on.

    It is contained only by a verified step: the one that is named, or the last one of its runs; or where `reason`
    says why nothing had to be contained.

    Raises:
        InputError: there is no such incident, no reason where one is needed, or that is no verified step of it.
        GateError: whoever says so is not known.
        RefusedError: that move is not allowed, nothing shows that it is contained, or it is closed.
    """
    require_known(home, identity, "say where an incident stands")
    was, reason = not_closed(home, incident), masking(home)(reason)
    try:
        needs = needs_of(was.stage, stage)
    except RefusedError as exc:
        raise RefusedError(f"{was.name} is in {was.stage}: {exc}") from exc
    match needs:
        case Needs.RESOLVING | Needs.REOPENING:
            raise RefusedError(f"{was.name} goes from {was.stage} to {stage} with {needs}")
        case Needs.PROOF:
            body = _contained(home, was.name, reason=reason, verified=verified)
        case _:
            if needs is Needs.REASON and not reason.strip():
                raise InputError(f"say why it goes back to {stage}, with --reason: a reviewer will read it")
            body = IncidentStaged(stage=stage, reason=reason)
    return record(home, identity, was, [said_by(identity, was, body)])


def _contained(home: Home, incident: str, *, reason: str, verified: int = 0) -> IncidentStaged:
    """Give what says that an incident is contained."""
    if reason.strip() and not verified:
        return IncidentStaged(stage="resolution", reason=reason)
    proof = require_proof(home, incident, verified) if verified else find_proof(home, incident)
    if proof is None:
        why = why_no_proof(home, incident)
        raise RefusedError(
            f"nothing shows that {incident} is contained: no step that a run of it verified after it changed"
            f" something{f' ({why})' if why else ''}. Run what contains it, with a step that has `verify` or `expect`;"
            f" or say why nothing had to be contained: `mimrun incident stage {incident} resolution --reason …`"
        )
    body = {"stage": "resolution", "verified": proof.seq, "contained_at": proof.ts, "reason": reason}
    return IncidentStaged.model_validate(body)


def resolve(
    home: Home,
    identity: Identity,
    incident: str,
    how: How,
    *,
    cause: str = "",
    text: str = "",
    restored_at: datetime | None = None,
) -> Incident:
    """Say that service is back for those who use it, and how that came.

    An incident that is not contained yet is so with it, by the last step that was verified; nothing had to be
    contained where there was no fault, or where it is a duplicate.

    Arguments:
        cause: a word for what it came from, by which incidents are compared.
        text: what was done.
        restored_at: when service was back; without it, when that was said before, else now.

    Raises:
        InputError: there is no such incident, or service was back before it was gone.
        GateError: whoever says so is not known.
        RefusedError: it is resolved already, or nothing shows that it is contained.
    """
    require_known(home, identity, "resolve an incident")
    was = not_closed(home, incident)
    if was.status == "resolved":
        raise RefusedError(
            f"{was.name} is resolved already: {was.how.replace('_', ' ')}; `mimrun incident close` closes it,"
            " `mimrun incident reopen` says that it is not over"
        )
    bodies, mask = list[Body](), masking(home)
    if not is_contained(was.stage):
        why = f"nothing had to be contained: {how.replace('_', ' ')}" if how in _UNHARMED else ""
        bodies.append(_contained(home, was.name, reason=why))
    restored = _restored(home, was, how, restored_at)
    bodies.append(
        IncidentResolved.model_validate({"how": how, "cause": mask(cause.strip()), "restored_at": restored})
    )
    bodies.append(IncidentStaged(stage="maintenance"))
    drafts = [
        said_by(identity, was, body, mask(text) if isinstance(body, IncidentResolved) else "")
        for body in bodies
    ]
    return record(home, identity, was, drafts)


def _restored(home: Home, was: Incident, how: How, at: datetime | None) -> datetime | str:
    if at is not None:
        check_moment(home, was, "restored", at)
        return at
    if was.clocks.restored or how in _UNHARMED:
        return was.clocks.restored.at
    return home.clock()


def close(home: Home, identity: Identity, incident: str, reason: str = "") -> Incident:
    """Say that nothing is left to do in an incident.

    Raises:
        InputError: there is no such incident.
        GateError: whoever says so may not.
        RefusedError: something is left to do; all of it is named.
    """
    table = load_table(home.settings.incidents)
    require_known(home, identity, "close an incident", roles=table.close)
    was = not_closed(home, incident)
    if blocks := blocks_closing(home, was.name):
        raise RefusedError(f"{was.name} cannot be closed: " + "; ".join(blocks))
    return record(home, identity, was, [said_by(identity, was, IncidentClosed(reason=masking(home)(reason)))])


def reopen(
    home: Home, identity: Identity, incident: str, reason: str, *, stage: Stage = "containment"
) -> Incident:
    """Say that an incident was not over, and what is worked on now.

    Raises:
        InputError: there is no such incident, or no reason.
        GateError: whoever says so is not known.
        RefusedError: it is open.
    """
    require_known(home, identity, "reopen an incident")
    was = find_state(home, incident)
    if was.status == "open":
        raise RefusedError(f"{was.name} is open")
    if not reason.strip():
        raise InputError("say why it is not over, with --reason: it is what a reviewer will read")
    if stage == "maintenance":
        raise InputError("what is reopened is not in maintenance; choose another stage")
    bodies = (IncidentReopened(reason=masking(home)(reason)), IncidentStaged(stage=stage))
    return record(home, identity, was, [said_by(identity, was, body) for body in bodies])
