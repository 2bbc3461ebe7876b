"""Declaring an incident: saying that there is one, and how bad it is, whether or not a run was launched yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.incident.declaration import Declaration as Declaration  # noqa: PLC0414 - this page is where others find it
from mimrun.app.incident.recording import text_blobs
from mimrun.app.incident.told import check_moment
from mimrun.app.incident.view import find_state
from mimrun.app.masking import masked
from mimrun.app.naming import new_incident
from mimrun.app.persons import require_known, require_present, why_not
from mimrun.app.policies import rules_or_default
from mimrun.app.rules import note_rules
from mimrun.app.sign_in import require_scope
from mimrun.errors import InputError, RefusedError, SettingsError
from mimrun.gate.scope import VERBS
from mimrun.incident.assessment import Assessment, IncidentTable, assess, check_flags
from mimrun.incident.assessment_file import load_table
from mimrun.incident.incident import Clock, Clocks, Incident, incident_in
from mimrun.log.entry import Actor, Draft
from mimrun.log.field import TITLE_LENGTH
from mimrun.log.kinds import (
    IncidentAssessed,
    IncidentLinked,
    IncidentOpened,
    IncidentPrioritized,
    IncidentTimed,
)
from mimrun.log.moment import write_moment
from mimrun.log.store import View


def declare(home: Home, identity: Identity, declaration: Declaration) -> str:
    """Open an incident and say how bad it is; whoever the policy lets say so declares its priority with it.

    Returns:
        the incident's name.

    Raises:
        InputError: there is no title, a flag is not known, there is no such parent, or it cannot have begun then.
        GateError: this person decides nothing: an auditor, or somebody who has left.
        StoreError: the log cannot be written.
    """
    require_present(home, identity, "declare an incident")
    table, doubt = table_or_own(home)
    counts = may_prioritize(home, identity)
    said, name = masked(home, declaration), new_incident(home.clock())
    if said.parent:
        said = replace(said, parent=find_state(home, said.parent).name)
    _check_times(home, name, said)
    drafts = opening_drafts(table, identity.actor(), name, said, prioritize=counts, reason=doubt)
    note_rules(home, identity.actor())
    home.store.append(drafts, guard=lambda view: _check_new(view, name))
    return name


def _check_new(view: View, name: str) -> None:
    if incident_in(view, name).opened:
        raise RefusedError(f"there is an incident {name} already; say it again")


def _check_times(home: Home, incident: str, said: Declaration) -> None:
    for what, at in said.times.items():
        others = {name: Clock(at=write_moment(m)) for name, m in said.times.items() if name != what}
        check_moment(home, Incident(name=incident, clocks=Clocks.model_validate(others)), what, at)


def table_or_own(home: Home) -> tuple[IncidentTable, str]:
    """Give the table by which incidents are assessed; mimrun's own where the file cannot be read, and that it is.

    An incident is declared also when somebody has spoilt the file.
    """
    try:
        return load_table(home.settings.incidents), ""
    except SettingsError as exc:
        first = str(exc).splitlines()[0]
        return IncidentTable(), f"by mimrun's own table, as {first}"


def opening_drafts(
    table: IncidentTable,
    actor: Actor,
    incident: str,
    declaration: Declaration,
    *,
    prioritize: bool = False,
    reason: str = "",
) -> list[Draft]:
    """Give what opens an incident and says how bad it is: for a person, and for a rule that does it.

    Arguments:
        incident: its name.
        prioritize: say also that its priority counts at gates; only where the policy lets the actor.
        reason: why it is assessed so, where that is out of the ordinary.

    Raises:
        InputError: there is no title, or a flag is not known.
    """
    title = _title(declaration.title)
    opened = Draft(actor, IncidentOpened(title=title), inc=incident)
    judged, assessed = assessment_draft(table, actor, incident, declaration, reason)
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
