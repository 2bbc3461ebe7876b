"""On call: importing a team's plan into the home, and saying who is on call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from mimrun import canonical
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.errors import InputError, SettingsError
from mimrun.gate.oncall import Rota
from mimrun.gate.oncall_plan import HORIZON, Span, read_plan
from mimrun.gate.people import People, Person
from mimrun.gate.people_oncall import write_rota
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import RulesRecorded
from mimrun.runbook.document import read_bytes
from mimrun.runbook.suggestion import suggest

BEHIND = timedelta(days=1)
"""So far back a plan is read, for the shift that is under way."""


@dataclass(frozen=True, slots=True)
class OnCall:
    """Who is on call for a team at a moment.

    Arguments:
        persons: nobody where the plan has a gap, or was never imported.
        next_change: when that changes; None where the plan says no more.
        until: up to when the plan was read; None where there is none.
    """

    team: str
    persons: tuple[Person, ...]
    next_change: datetime | None
    until: datetime | None


def who_is_on_call(people: People, at: datetime, team: str | None = None) -> tuple[OnCall, ...]:
    """Say who is on call at a moment, by team.

    Raises:
        InputError: there is no such team.
    """
    if team is not None and team not in people.teams:
        raise InputError(f"{people.file}: no team {team!r}; {suggest(team, people.teams)}")
    teams = [team] if team is not None else sorted(people.teams)
    return tuple(_on_call(people, name, at) for name in teams)


def _on_call(people: People, team: str, at: datetime) -> OnCall:
    rota = people.rotas.get(team)
    change = rota.next_change(at) if rota else None
    return OnCall(team, people.on_call(team, at), change, rota.until if rota else None)


def import_plan(
    home: Home, identity: Identity, team: str, file: Path | None, *, zone: str = "", names: Mapping[str, str]
) -> Rota:
    """Read a plan, record it, and put it in force.

    Arguments:
        file: iCalendar, or CSV; None for the one that the people file names for the team.
        zone: in which times are meant that have none of their own; "" for UTC.
        names: what the plan calls somebody → their id, beside what the people file says.

    Raises:
        InputError: there is no such team, or the plan cannot be read, or names somebody whom nobody knows.
        StoreError: it cannot be recorded; then it is not in force either.
    """
    people = home.people()
    if team not in people.teams:
        raise InputError(f"{people.file}: no team {team!r}; {suggest(team, people.teams)}")
    if file is None and not people.teams[team].oncall:
        raise InputError(f"{people.file}: team {team} names no plan under `oncall`; give the file")
    path = file if file is not None else home.settings.home / people.teams[team].oncall
    for id_ in names.values():
        people.person(id_)
    try:
        span = Span(home.clock() - BEHIND, home.clock() + HORIZON, ZoneInfo(zone or "UTC"))
    except (ValueError, OSError, KeyError) as exc:
        raise InputError(f"no time zone {zone!r}; such as Europe/Berlin") from exc
    rota = read_plan(read_bytes(path, error=InputError), path.name, people, span, team=team, names=names)
    text = write_rota(rota).encode()
    body = RulesRecorded(file=f"oncall/{team}", digest=canonical.digest_bytes(text), size=len(text))
    home.store.append([Draft(identity.actor(), body, blobs=(Blob("content", text, "text"),))])
    _write(home.settings.home / "oncall", team, text)
    return rota


def _write(folder: Path, team: str, text: bytes) -> None:
    """Put a plan in its place so that nobody ever reads half of it."""
    draft = folder / f".{team}.{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        draft.write_bytes(text)
        draft.replace(folder / f"{team}.yaml")
    except OSError as exc:
        raise SettingsError(f"{folder}: cannot be written: {exc.strerror}; import the plan again") from exc
