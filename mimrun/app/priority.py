"""How urgent an incident is: who may say so, and what that changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.naming import PACK
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
from mimrun.log.kinds import IncidentOpened, IncidentPrioritized, Kind
from mimrun.log.moment import read_moment, write_moment
from mimrun.log.store import Store, View
from mimrun.run.summary import RunSummaries, RunSummary
from mimrun.run.transitions import TERMINAL


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


@dataclass(frozen=True, slots=True)
class IncidentView:
    """An incident as a person sees it.

    Arguments:
        title: of the run that opened it.
        runs: the newest first.
    """

    name: str
    title: str
    opened_at: str
    opened_by: str
    declared: Declared
    runs: tuple[RunSummary, ...]

    @property
    def is_pack(self) -> bool:
        """Say whether it is a sealed pack, which is kept like an incident and is none."""
        return self.name.startswith(PACK)

    @property
    def busy(self) -> int:
        """How many of its runs are not over."""
        return sum(run.status not in TERMINAL for run in self.runs)

    def as_json(self) -> dict[str, JsonValue]:
        """The incident for `--json`."""
        declared: dict[str, JsonValue] = self.declared.model_dump(mode="json", exclude={"seq"})
        return {
            "incident": self.name,
            "title": self.title,
            "opened_at": self.opened_at,
            "opened_by": self.opened_by,
            "priority": self.declared.priority,
            "declared": declared if self.declared.seq else None,
            "runs": [
                {
                    "run": run.run,
                    "title": run.title,
                    "status": run.status.value,
                    "launched_by": run.launched_by,
                }
                for run in self.runs
            ],
        }


def list_incidents(home: Home) -> list[IncidentView]:
    """Give every incident, the newest first; sealed packs among them."""
    runs: dict[str, list[RunSummary]] = {}
    for _, state in home.store.projections(RunSummaries.name):
        summary = RunSummary.decode(state)
        if summary.run:
            runs.setdefault(summary.incident, []).append(summary)
    found = []
    for entry in home.store.entries(kinds={Kind.INCIDENT_OPENED}):
        if isinstance(entry.body, IncidentOpened):
            of = sorted(runs.get(entry.inc, ()), key=lambda run: run.first_seq, reverse=True)
            found.append(
                IncidentView(
                    entry.inc,
                    entry.body.title,
                    write_moment(entry.ts),
                    entry.actor.id,
                    declared_in(home.store, entry.inc),
                    tuple(of),
                )
            )
    return found[::-1]


def find_incident(home: Home, name: str) -> IncidentView:
    """Give one incident by its name, the beginning of its name, or `latest`.

    Raises:
        InputError: there is none, or more than one begins so.
    """
    every = list_incidents(home)
    real = [one for one in every if not one.is_pack]
    found = real[:1] if name == "latest" else [one for one in every if one.name == name]
    found = found or [one for one in every if one.name.startswith(name) and name]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{name!r} is the beginning of {', '.join(o.name for o in found[:5])}; write more")
    known = ", ".join(one.name for one in real[:5]) or "none yet"
    raise InputError(f"no incident {name!r}; the last ones are: {known}")
