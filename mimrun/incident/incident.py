"""An incident: how it stands, who does what in it, and when things happened; folded from its entries.

What the log sees by itself has its own moment. What it cannot see (when it began, when service was back) is somebody's
word, and is marked as one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from mimrun.gate.priority import Priority
from mimrun.incident.stage import is_contained
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Grade, Stage
from mimrun.log.moment import write_moment
from mimrun.log.store import Store, View

Severity: TypeAlias = Literal["SEV1", "SEV2", "SEV3", "SEV4"]
Status: TypeAlias = Literal["open", "resolved", "closed"]
Source: TypeAlias = Literal["", "event", "seen", "estimate"]


class Clock(BaseModel):
    """When something happened in an incident, and how that is known.

    Arguments:
        at: RFC 3339 in UTC; "" where it has not happened, or nobody knows.
        source: `event`: the log saw it; `seen`: somebody saw it and said so; `estimate`: somebody's guess.
        seq: the entry that says so.
    """

    model_config = ConfigDict(frozen=True)

    at: str = ""
    source: Source = ""
    seq: int = 0

    def __bool__(self) -> bool:
        """Say whether it is known."""
        return bool(self.at)


UNKNOWN: Final = Clock()


class Clocks(BaseModel):
    """Every moment that figures are reckoned from.

    Arguments:
        started: something went wrong.
        detected: somebody, or a monitoring system, noticed.
        acknowledged: the first person did something about it.
        automated: the first run that no person launched was asked for; kept apart from `acknowledged`.
        declared: somebody, or a rule, said how bad it is.
        contained: a verified step showed that it does not get worse.
        restored: service was back for those who use it.
        resolved: somebody said that it is.
        closed: nothing was left to do.
    """

    model_config = ConfigDict(frozen=True)

    started: Clock = UNKNOWN
    detected: Clock = UNKNOWN
    acknowledged: Clock = UNKNOWN
    automated: Clock = UNKNOWN
    declared: Clock = UNKNOWN
    contained: Clock = UNKNOWN
    restored: Clock = UNKNOWN
    resolved: Clock = UNKNOWN
    closed: Clock = UNKNOWN

    def items(self) -> Iterator[tuple[str, Clock]]:
        """Give each with its name, in the order in which they usually come."""
        for name in type(self).model_fields:
            yield name, getattr(self, name)


class Link(BaseModel):
    """What an incident belongs together with: another incident, or a record elsewhere."""

    model_config = ConfigDict(frozen=True)

    relation: Literal["parent", "child", "duplicate", "record"]
    to: str


class Incident(BaseModel):
    """How an incident stands.

    Arguments:
        name: "" where the log has no such incident.
        opened: the entry that opened it, with `opened_at` its moment and `opened_by` who did.
        status: `open` until it is resolved, `resolved` until it is closed.
        impact, urgency, priority, severity: as it was assessed last; "" where nobody did. Which priority counts at
            gates is another matter: `mimrun.gate.priority.Declared`.
        assessed: the entry that says so; 0 where there is none.
        roles: role → person, for this incident.
        verified: the entry of the step that showed that it is contained; 0 where nothing did.
        uncontained: why nothing had to be contained, where that was said.
        how, cause: how it was resolved.
        parent: the incident that this one is part of.
        alerted: the first alert that a rule attached to it, by its entry; 0 where there is none.
        runs: how many belong to it.
        reopened: how many times.
        reviewed: the entry with its review; 0 where there is none since it was last reopened.
    """

    model_config = ConfigDict(frozen=True)

    name: str = ""
    title: str = ""
    opened: int = 0
    opened_at: str = ""
    opened_by: str = ""
    stage: Stage = "identification"
    status: Status = "open"
    impact: Grade | Literal[""] = ""
    urgency: Grade | Literal[""] = ""
    priority: Priority | Literal[""] = ""
    severity: Severity | Literal[""] = ""
    services: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    assessed: int = 0
    roles: dict[str, str] = {}
    verified: int = 0
    uncontained: str = ""
    how: str = ""
    cause: str = ""
    clocks: Clocks = Clocks()
    parent: str = ""
    children: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    alerted: int = 0
    runs: int = 0
    reopened: int = 0
    reviewed: int = 0

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @staticmethod
    def decode(data: bytes) -> Incident:
        """Read what `encode` gave. It is read once: lists of very many incidents are asked for again and again."""
        return _decoded(data)


@lru_cache(maxsize=4096)
def _decoded(data: bytes) -> Incident:
    return Incident.model_validate_json(data)


class Incidents:
    """The projector: one state for each incident, by its name."""

    name: Final = "incidents/1"

    def empty(self) -> bytes:
        """An incident that the log does not have."""
        return Incident().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about the incident touches it, and so does everything that a person does in it."""
        touches = entry.kind in _FOLDS or entry.actor.kind == "person"
        return entry.inc or None if touches else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the state after an entry."""
        was = Incident.decode(state)
        now = after(was, entry)
        return state if now is was else now.encode()


def incident_in(view: Store | View, name: str) -> Incident:
    """Read how an incident stands; one without a name where there is no such incident."""
    return Incident.decode(view.projection(Incidents.name, name))


def after(was: Incident, entry: LogEntry) -> Incident:
    """Give an incident as it is after one more of its entries."""
    changes = _FOLDS[entry.kind](was, entry) if entry.kind in _FOLDS else {}
    if entry.actor.kind == "person" and not was.clocks.acknowledged:
        clocks: Clocks = changes.get("clocks", was.clocks)
        changes = {**changes, "clocks": clocks.model_copy(update={"acknowledged": _now(entry)})}
    return was.model_copy(update=changes) if changes else was


Changes: TypeAlias = dict[str, Any]


def _now(entry: LogEntry) -> Clock:
    return Clock(at=write_moment(entry.ts), source="event", seq=entry.seq)


def _set(was: Incident, **clocks: Clock) -> Clocks:
    return was.clocks.model_copy(update=clocks)


def _opened(was: Incident, entry: LogEntry) -> Changes:
    assert isinstance(entry.body, kinds.IncidentOpened)
    if was.opened:
        return {}
    return {
        "name": entry.inc,
        "title": entry.body.title,
        "opened": entry.seq,
        "opened_at": write_moment(entry.ts),
        "opened_by": entry.actor.id,
    }


def _assessed(was: Incident, entry: LogEntry) -> Changes:
    body = entry.body
    assert isinstance(body, kinds.IncidentAssessed)
    said = body.model_dump(include={"impact", "urgency", "priority", "severity", "services", "flags"})
    return {**said, "assessed": entry.seq, **_declared(was, entry)}


def _declared(was: Incident, entry: LogEntry) -> Changes:
    return {} if was.clocks.declared else {"clocks": _set(was, declared=_now(entry))}


def _assigned(was: Incident, entry: LogEntry) -> Changes:
    body = entry.body
    assert isinstance(body, kinds.IncidentAssigned)
    roles = {role: person for role, person in was.roles.items() if role != body.role}
    return {"roles": roles | {body.role: body.person} if body.person else roles}


def _staged(was: Incident, entry: LogEntry) -> Changes:
    body = entry.body
    assert isinstance(body, kinds.IncidentStaged)
    if not is_contained(body.stage):
        # What was said to be contained was not, or is not any more.
        return {
            "stage": body.stage,
            "verified": 0,
            "uncontained": "",
            "clocks": _set(was, contained=UNKNOWN),
        }
    if body.stage == "maintenance" or (is_contained(was.stage) and not body.verified):
        return {"stage": body.stage}
    contained = Clock(at=body.contained_at, source="event", seq=body.verified) if body.verified else UNKNOWN
    return {
        "stage": body.stage,
        "verified": body.verified,
        "uncontained": "" if body.verified else body.reason,
        "clocks": _set(was, contained=contained),
    }


def _resolved(was: Incident, entry: LogEntry) -> Changes:
    body = entry.body
    assert isinstance(body, kinds.IncidentResolved)
    said = was.clocks.restored if was.clocks.restored.at == body.restored_at else None
    restored = Clock(at=body.restored_at, source="seen", seq=entry.seq) if body.restored_at else UNKNOWN
    clocks = _set(was, resolved=_now(entry), restored=said or restored)
    return {"status": "resolved", "how": body.how, "cause": body.cause, "clocks": clocks}


def _closed(was: Incident, entry: LogEntry) -> Changes:
    return {"status": "closed", "clocks": _set(was, closed=_now(entry))}


def _reopened(was: Incident, _: LogEntry) -> Changes:
    clocks = _set(was, restored=UNKNOWN, resolved=UNKNOWN, closed=UNKNOWN)
    begun = {"status": "open", "how": "", "cause": "", "reviewed": 0}
    return {**begun, "clocks": clocks, "reopened": was.reopened + 1}


def _timed(was: Incident, entry: LogEntry) -> Changes:
    body = entry.body
    assert isinstance(body, kinds.IncidentTimed)
    return {"clocks": _set(was, **{body.what: Clock(at=body.at, source=body.source, seq=entry.seq)})}


def _linked(was: Incident, entry: LogEntry) -> Changes:
    body = entry.body
    assert isinstance(body, kinds.IncidentLinked)
    link = Link(relation=body.relation, to=body.to)
    if link in was.links:
        return {}
    changes: Changes = {"links": (*was.links, link)}
    if body.relation == "parent":
        changes["parent"] = body.to
    if body.relation == "child":
        changes["children"] = (*was.children, body.to)
    return changes


def _fired(was: Incident, entry: LogEntry) -> Changes:
    assert isinstance(entry.body, kinds.RuleFired)
    alerts = entry.body.alerts
    return {"alerted": min(alerts)} if alerts and not was.alerted else {}


def _run(was: Incident, entry: LogEntry) -> Changes:
    changes: Changes = {"runs": was.runs + 1}
    if entry.actor.kind == "system" and not was.clocks.automated:
        changes["clocks"] = _set(was, automated=_now(entry))
    return changes


def _reviewed(_: Incident, entry: LogEntry) -> Changes:
    return {"reviewed": entry.seq}


_FOLDS: Final = {
    kinds.Kind.INCIDENT_OPENED: _opened,
    kinds.Kind.INCIDENT_ASSESSED: _assessed,
    kinds.Kind.INCIDENT_PRIORITIZED: _declared,
    kinds.Kind.INCIDENT_ASSIGNED: _assigned,
    kinds.Kind.INCIDENT_STAGED: _staged,
    kinds.Kind.INCIDENT_RESOLVED: _resolved,
    kinds.Kind.INCIDENT_CLOSED: _closed,
    kinds.Kind.INCIDENT_REOPENED: _reopened,
    kinds.Kind.INCIDENT_TIMED: _timed,
    kinds.Kind.INCIDENT_LINKED: _linked,
    kinds.Kind.RULE_FIRED: _fired,
    kinds.Kind.RUN_CREATED: _run,
    kinds.Kind.REVIEW_PUBLISHED: _reviewed,
}
"""What each kind of entry says about the incident it belongs to."""
