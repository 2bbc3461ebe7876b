"""What is worth a second look in a people file that can be used. Pure; the file itself is read elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from mimrun.gate.oncall import SOON
from mimrun.gate.people import People, Person
from mimrun.gate.role import CONSULTANT, DECIDING, unknown_role
from mimrun.runbook.document import Document, ValuePath
from mimrun.runbook.finding import Finding, Level

ENDS_SOON: Final = timedelta(days=30)
"""So long before a role ends, people are told of it."""


def lint_people(document: Document, people: People, at: datetime) -> tuple[Finding, ...]:
    """Say what somebody may regret, or has written wrongly.

    Arguments:
        document: the file that the people were read from, for the places.
        at: the moment, UTC.

    Returns:
        errors first: words that mean nothing. Warnings: what ends soon, what nobody does.
    """
    found = [*_roles(people), *_persons(people, at), *_teams(people, at), *_process(people, at)]
    findings = [
        Finding(document.problem(where, message, hint), level) for level, where, message, hint in found
    ]
    return tuple(sorted(findings, key=lambda one: (one.level is not Level.ERROR, one.problem)))


_Found = tuple[Level, ValuePath, str, str]


def _roles(people: People) -> Iterator[_Found]:
    """Name roles that are neither of the process nor declared."""
    for person in people.by_id.values():
        for role in sorted({*person.roles, *(a.role for a in person.assigned)}):
            hint = unknown_role(role, people.roles, people.teams)
            if hint is not None:
                message = f"no role {role!r}; roles of your own are declared under `roles`"
                yield Level.ERROR, ("people", person.id, "roles"), message, hint


def _persons(people: People, at: datetime) -> Iterator[_Found]:
    for person in people.by_id.values():
        where = ("people", person.id)
        for one in person.assigned:
            roles = (*where, "roles")
            if one.until is not None and one.until <= at:
                yield Level.WARNING, roles, f"{one.role} has ended on {_last(one.until)}", "take it out"
            elif one.until is not None and one.until <= at + ENDS_SOON:
                yield Level.WARNING, roles, f"{one.role} ends on {_last(one.until)}", ""
        held = {a.role for a in person.assigned}
        if CONSULTANT in held and held & DECIDING:
            which = ", ".join(sorted(held & DECIDING))
            yield Level.WARNING, where, f"somebody from outside has {which}", "let one of your own decide"
        if not person.active and any(person.id in team.members for team in people.teams.values()):
            yield Level.WARNING, where, f"{person.id} is not active and still in a team", "take them out"


def _last(until: datetime) -> str:
    """Give the last day on which something holds that holds up to a moment."""
    return f"{until - timedelta(seconds=1):%Y-%m-%d}"


def _teams(people: People, at: datetime) -> Iterator[_Found]:
    """Name teams that nobody is on call for, or will not be soon."""
    for team in people.teams.values():
        where, rota = ("teams", team.id), people.rotas.get(team.id)
        again = f"mimrun people oncall import --team {team.id}"
        if rota is None:
            if team.oncall:
                yield Level.WARNING, where, "nobody is on call: its plan was never imported", again
            continue
        if rota.until <= at + SOON:
            yield Level.WARNING, where, f"the on-call plan ends on {rota.until:%Y-%m-%d}", again
        strangers = sorted({shift.person for shift in rota.shifts if shift.end > at} - people.by_id.keys())
        if strangers:
            yield Level.ERROR, where, f"on call are {', '.join(strangers)}, whom nobody knows", again
        for start, end in rota.gaps(at, min(at + SOON, rota.until))[:3]:
            yield (
                Level.WARNING,
                where,
                f"nobody is on call from {start:%Y-%m-%d %H:%MZ} to {end:%Y-%m-%d %H:%MZ}",
                "",
            )


def _process(people: People, at: datetime) -> Iterator[_Found]:
    """Name what only one person could do."""
    now: dict[str, Person] = dict(people.at(at).by_id)
    active = [person for person in now.values() if person.active]
    if len(active) < 2:
        yield Level.WARNING, ("people",), "a gate needs a second person", ""
    if not any("change_manager" in person.roles for person in active):
        yield Level.WARNING, ("people",), "nobody has the role change_manager now", ""
