"""Declaring an incident: saying that there is one, and how bad it is, whether or not a run was launched yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.incident.recording import text_blobs
from mimrun.app.naming import new_incident
from mimrun.app.persons import require_known, require_present, why_not
from mimrun.app.policies import rules_or_default
from mimrun.app.rules import note_rules
from mimrun.app.sign_in import require_scope
from mimrun.errors import InputError, RefusedError
from mimrun.gate.scope import VERBS
from mimrun.incident.assessment import Assessment, IncidentTable, assess, check_flags
from mimrun.incident.assessment_file import load_table
from mimrun.incident.incident import incident_in
from mimrun.log.entry import Actor, Draft
from mimrun.log.field import TITLE_LENGTH
from mimrun.log.kinds import (
    Grade,
    IncidentAssessed,
    IncidentLinked,
    IncidentOpened,
    IncidentPrioritized,
    IncidentTimed,
)
from mimrun.log.store import View

Told: TypeAlias = Literal["started", "detected"]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What somebody says of an incident.

    Arguments:
        title: what is broken, in a line.
        impact: how much is affected.
        urgency: how soon it must be mended.
        services: which are affected.
        flags: of the table.
        text: more words, or "".
        times: when it began, and when it was noticed, where that is known.
        parent: the incident that it is part of, or "".
    """

    title: str
    impact: Grade = "unknown"
    urgency: Grade = "unknown"
    services: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    text: str = ""
    times: Mapping[Told, datetime] = field(default_factory=dict)
    parent: str = ""


def declare(home: Home, identity: Identity, declaration: Declaration) -> str:
    """Open an incident and say how bad it is; whoever the policy lets say so declares its priority with it.

    Returns:
        the incident's name.

    Raises:
        InputError: there is no title, a flag is not known, or there is no such parent.
        GateError: this person decides nothing: an auditor, or somebody who has left.
        SettingsError: the table cannot be read.
        StoreError: the log cannot be written.
    """
    require_present(home, identity, "declare an incident")
    table = load_table(home.settings.incidents)
    counts = may_prioritize(home, identity)
    if declaration.parent and not incident_in(home.store, declaration.parent).opened:
        raise InputError(f"the log has no incident {declaration.parent!r} that this could be part of")
    name = new_incident(home.clock())
    drafts = opening_drafts(table, identity.actor(), name, declaration, prioritize=counts)
    note_rules(home, identity.actor())
    home.store.append(drafts, guard=lambda view: _check_new(view, name))
    return name


def _check_new(view: View, name: str) -> None:
    if incident_in(view, name).opened:
        raise RefusedError(f"there is an incident {name} already; say it again")


def opening_drafts(
    table: IncidentTable,
    actor: Actor,
    incident: str,
    declaration: Declaration,
    *,
    prioritize: bool = False,
) -> list[Draft]:
    """Give what opens an incident and says how bad it is: for a person, and for a rule that does it.

    Arguments:
        incident: its name.
        prioritize: say also that its priority counts at gates; only where the policy lets the actor.

    Raises:
        InputError: there is no title, or a flag is not known.
    """
    title = _title(declaration.title)
    opened = Draft(actor, IncidentOpened(title=title), inc=incident)
    judged, assessed = assessment_draft(table, actor, incident, declaration)
    drafts = [opened, assessed]
    if prioritize:
        drafts.append(priority_draft(actor, incident, judged, declaration))
    for what, at in declaration.times.items():
        body = IncidentTimed.model_validate({"what": what, "at": at, "source": "seen"})
        drafts.append(Draft(actor, body, inc=incident))
    if parent := declaration.parent:
        drafts.append(Draft(actor, IncidentLinked(relation="parent", to=parent), inc=incident))
        drafts.append(Draft(actor, IncidentLinked(relation="child", to=incident), inc=parent))
    return drafts


def assessment_draft(
    table: IncidentTable, actor: Actor, incident: str, said: Declaration, reason: str = ""
) -> tuple[Assessment, Draft]:
    """Give what the table makes of an incident, and the entry that says it.

    Raises:
        InputError: a flag is not known, or the text is too long.
    """
    services, flags = _once(said.services), _once(said.flags)
    check_flags(table, flags)
    judged = assess(table, said.impact, said.urgency, services, flags)
    body = IncidentAssessed(
        impact=said.impact,
        urgency=said.urgency,
        priority=judged.priority,
        severity=judged.severity,
        services=services,
        flags=flags,
        reason=reason,
    )
    return judged, Draft(actor, body, inc=incident, blobs=text_blobs(said.text))


def priority_draft(actor: Actor, incident: str, judged: Assessment, said: Declaration) -> Draft:
    """Give what declares the priority that the table made of an incident."""
    reason = f"impact {said.impact}, urgency {said.urgency}"
    return Draft(actor, IncidentPrioritized(priority=judged.priority, reason=reason), inc=incident)


def may_prioritize(home: Home, identity: Identity) -> bool:
    """Say whether the policy lets somebody declare how urgent an incident is."""
    try:
        roles = rules_or_default(home.settings).prioritize
        require_known(home, identity, "say how urgent an incident is", roles=roles)
        require_scope(home.signed_in, VERBS["incident priority"], "say how urgent an incident is")
    except RefusedError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Prioritizers:
    """Who may declare how urgent an incident is.

    Arguments:
        roles: one of these is needed.
        people: who has one now.
    """

    roles: tuple[str, ...]
    people: tuple[str, ...]

    @property
    def words(self) -> str:
        """Them, for a person."""
        who = ", ".join(self.people[:5]) or "nobody in the people file"
        return f"{' or '.join(self.roles)} may: {who}"


def prioritizers(home: Home) -> Prioritizers:
    """Say who may declare how urgent an incident is: somebody to be asked."""
    roles, now = rules_or_default(home.settings).prioritize, home.clock()
    people = sorted(
        person.id
        for person in home.people().by_id.values()
        if not person.roles.isdisjoint(roles) and not why_not(person, now)
    )
    return Prioritizers(roles, tuple(people))


def _title(text: str) -> str:
    title = " ".join(text.split())
    if not title:
        raise InputError("say what is broken, in a line: it is how everybody will find the incident")
    if len(title) > TITLE_LENGTH:
        raise InputError(
            f"the title has {len(title)} characters and {TITLE_LENGTH} is the most; say the rest with --text"
        )
    return title


def _once(words: Collection[str]) -> tuple[str, ...]:
    found: Sequence[str] = [word.strip() for word in words]
    return tuple(dict.fromkeys(word for word in found if word))
