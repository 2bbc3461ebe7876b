"""What somebody says of an incident that the log cannot see: when things happened, and what it belongs together with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.incident.recording import record, said_by
from mimrun.app.incident.view import find_state, with_alert
from mimrun.app.masking import masking
from mimrun.app.persons import require_present
from mimrun.errors import InputError, RefusedError
from mimrun.incident.incident import Incident, incident_in
from mimrun.log.kinds import IncidentLinked, IncidentTimed
from mimrun.log.moment import read_moment, write_moment

Timed: TypeAlias = Literal["started", "detected", "acknowledged", "restored"]
TIMED: Final[tuple[Timed, ...]] = get_args(Timed)
Relation: TypeAlias = Literal["parent", "child", "duplicate", "record"]
RELATIONS: Final[tuple[Relation, ...]] = get_args(Relation)

_ORDER: Final[tuple[Timed, ...]] = ("started", "detected", "restored")
"""What cannot be before what stands before it."""
_OTHER_END: Final[Mapping[Relation, Relation]] = MappingProxyType(
    {"parent": "child", "child": "parent", "duplicate": "duplicate"}
)


def set_time(
    home: Home,
    identity: Identity,
    incident: str,
    what: Timed,
    at: datetime,
    *,
    source: Literal["seen", "estimate"] = "seen",
    reason: str = "",
) -> Incident:
    """Say when something happened that the log could not see by itself; also of an incident that is closed.

    Arguments:
        source: `estimate` where it is a guess.

    Raises:
        InputError: there is no such incident, or it cannot have been then.
        GateError: this person decides nothing.
    """
    require_present(home, identity, "say when something happened")
    was = find_state(home, incident)
    check_moment(home, was, what, at)
    body = {"what": what, "at": at, "source": source, "reason": masking(home)(reason)}
    return record(home, identity, was, [said_by(identity, was, IncidentTimed.model_validate(body))])


def check_moment(home: Home, was: Incident, what: Timed, at: datetime) -> None:
    """See that something can have happened then.

    Raises:
        InputError: it is yet to come, or was before what must have been before it.
    """
    if at > home.clock():
        raise InputError(f"{what} at {write_moment(at)}: that is yet to come")
    if what not in _ORDER:
        return
    clocks = dict(with_alert(home, was).clocks.items())
    for other in _ORDER:
        known = clocks[other]
        if other == what or not known:
            continue
        before = _ORDER.index(other) < _ORDER.index(what)
        if (before and at < read_moment(known.at)) or (not before and at > read_moment(known.at)):
            raise InputError(
                f"{what} at {write_moment(at)}: that is {'before' if before else 'after'} it was {other}, at"
                f" {known.at}; if that is wrong, mend it first: `mimrun incident time {was.name} {other} MOMENT`"
            )


def link(home: Home, identity: Identity, incident: str, relation: Relation, to: str) -> Incident:
    """Say that an incident belongs together with another one, in the logs of both; or with a record elsewhere.

    Arguments:
        to: the other incident; of a `record` its number or address.

    Raises:
        InputError: there is no such incident, or it is the same.
        GateError: this person decides nothing.
        RefusedError: it is so already, or it is part of another incident, or would be part of itself.
    """
    require_present(home, identity, "link incidents")
    was = find_state(home, incident)
    ends: list[tuple[Incident, Relation, str]]
    if relation == "record":
        if not to.strip() or len(to) > 200:
            raise InputError("say which record, in at most 200 characters: its number, or its address")
        ends = [(was, relation, masking(home)(to.strip()))]
    else:
        other = find_state(home, to)
        _check_link(home, was, relation, other)
        ends = [(was, relation, other.name), (other, _OTHER_END[relation], was.name)]
    if any((one.relation, one.to) == ends[0][1:] for one in was.links):
        raise RefusedError(f"{was.name} is linked with {ends[0][2]} already")
    drafts = [said_by(identity, one, IncidentLinked(relation=kind, to=name)) for one, kind, name in ends]
    return record(home, identity, was, drafts)


def _check_link(home: Home, was: Incident, relation: Relation, other: Incident) -> None:
    if other.name == was.name:
        raise InputError(f"{was.name} cannot be linked with itself")
    if relation == "duplicate":
        return
    child, parent = (was, other) if relation == "parent" else (other, was)
    if child.parent and child.parent != parent.name:
        raise RefusedError(f"{child.name} is part of {child.parent} already")
    above, seen = parent, {child.name}
    while above.name not in seen:
        seen.add(above.name)
        if not above.parent:
            return
        above = incident_in(home.store, above.parent)
    raise RefusedError(f"{child.name} would be part of itself: {parent.name} is part of it")
