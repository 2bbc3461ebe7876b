"""How urgent an incident is: who may say so, and what that changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.persons import require_known
from mimrun.app.policies import rules_or_default
from mimrun.app.rules import note_rules
from mimrun.app.runs import require_incident
from mimrun.app.sign_in import require_scope
from mimrun.errors import InputError, RefusedError
from mimrun.gate.policy import PRIORITIES, Policy, Priority
from mimrun.gate.priority import Declared, Priorities
from mimrun.gate.scope import VERBS
from mimrun.log.entry import Draft
from mimrun.log.kinds import IncidentPrioritized
from mimrun.log.moment import read_moment
from mimrun.log.store import Store, View


def declared_in(view: Store | View, incident: str) -> Declared:
    """Give what was declared of an incident last."""
    return Declared.model_validate_json(view.projection(Priorities.name, incident))


def priority_reader(
    home: Home, incident: str, policy: Callable[[], Policy | None]
) -> Callable[[], Priority | None]:
    """Give a function that says how urgent an incident is at this moment.

    It says None where nobody declared it, and where the declaration is older than the policy lets it count: an
    incident of last week lends its urgency to nobody.
    """

    def read() -> Priority | None:
        declared = declared_in(home.store, incident)
        if declared.priority is None:
            return None
        lasts = timedelta(milliseconds=(policy() or Policy()).priority_lasts)
        return declared.priority if home.clock() < read_moment(declared.at) + lasts else None

    return read


def read_priority(text: str) -> Priority:
    """Read a priority as a person types it.

    Raises:
        InputError: it is none.
    """
    found = next((one for one in PRIORITIES if one == text.upper()), None)
    if found is None:
        raise InputError(f"{text!r} is no priority; write one of {', '.join(PRIORITIES)}")
    return found


def prioritize(home: Home, identity: Identity, incident: str, priority: Priority, reason: str) -> Declared:
    """Declare how urgent an incident is; gates that ask for something else then are asked anew.

    Returns:
        what was declared before.

    Raises:
        GateError: the person may not; the policy says who may.
        RefusedError: it has this priority already, or somebody else declared one at this moment.
        InputError: there is no such incident, or no reason.
    """
    require_incident(home, incident)
    was = declared_in(home.store, incident)
    if (
        was.priority == priority
        and priority_reader(home, incident, lambda: rules_or_default(home.settings))()
    ):
        raise RefusedError(f"{incident} is {priority} already: {was.by} declared it")
    draft = priority_drafts(home, identity, priority, reason)(incident, "")[0]

    def check(view: View) -> None:
        if declared_in(view, incident) != was:
            raise RefusedError(
                f"somebody else declared how urgent {incident} is while you decided; look again"
            )

    note_rules(home, identity.actor())
    home.store.append([draft], guard=check)
    return was


def priority_drafts(
    home: Home, identity: Identity, priority: Priority, reason: str
) -> Callable[[str, str], Sequence[Draft]]:
    """Give what declares a priority, from the names of an incident and its run: for a run that opens an incident.

    Raises:
        GateError: the person may not.
        InputError: there is no reason.
    """
    roles = rules_or_default(home.settings).prioritize
    require_known(home, identity, "say how urgent an incident is", roles=roles)
    require_scope(home.signed_in, VERBS["incident priority"], "say how urgent an incident is")
    if not reason.strip():
        raise InputError("say why, with --reason: it is what a reviewer will read")
    body = IncidentPrioritized(priority=priority, reason=reason)
    return lambda incident, run: [Draft(identity.actor(), body, inc=incident)]  # noqa: ARG005 - of the incident, not of the run
