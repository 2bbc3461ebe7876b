"""On call: who is there for a team, and from when until when. Values and questions; no file, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

SOON: Final = timedelta(days=14)
"""So long before its end a plan is called short."""


@dataclass(frozen=True, slots=True, order=True)
class Shift:
    """A time for which one person is on call.

    Arguments:
        start: the first moment, UTC.
        end: the first moment that is not part of it, UTC.
        person: their id in the people file.
    """

    start: datetime
    end: datetime
    person: str

    def covers(self, at: datetime) -> bool:
        """Say whether the moment is part of it."""
        return self.start <= at < self.end


@dataclass(frozen=True, slots=True)
class Rota:
    """The plan of one team.

    Arguments:
        shifts: sorted by their start; several may overlap, and then several persons are on call.
        until: up to when the plan was read; behind it nobody knows.
        source: the file that it was read from.
    """

    team: str
    shifts: tuple[Shift, ...]
    until: datetime
    source: str = ""

    def on_call(self, at: datetime) -> tuple[str, ...]:
        """Give the ids of those who are on call at a moment, sorted."""
        return tuple(sorted({shift.person for shift in self.shifts if shift.covers(at)}))

    def next_change(self, at: datetime) -> datetime | None:
        """Give the next moment at which somebody begins or ends; None where the plan says no more."""
        edges = [edge for shift in self.shifts for edge in (shift.start, shift.end) if edge > at]
        return min(edges, default=None)

    def gaps(self, at: datetime, until: datetime) -> tuple[tuple[datetime, datetime], ...]:
        """Give the times between two moments at which nobody is on call."""
        found, free_from = [], at
        for shift in sorted(self.shifts):
            if shift.end <= free_from:
                continue
            if shift.start >= until:
                break
            if shift.start > free_from:
                found.append((free_from, shift.start))
            free_from = shift.end
        if free_from < until:
            found.append((free_from, until))
        return tuple(found)


Rotas: TypeAlias = Mapping[str, Rota]
"""The plans, by team."""


def make_rota(team: str, shifts: Iterable[Shift], until: datetime, source: str = "") -> Rota:
    """Make a plan: sorted, without doubles, and with shifts of one person that follow each other made one."""
    by_person: dict[str, list[Shift]] = {}
    for shift in sorted(set(shifts)):
        own = by_person.setdefault(shift.person, [])
        if own and shift.start <= own[-1].end:
            own[-1] = Shift(own[-1].start, max(own[-1].end, shift.end), shift.person)
        else:
            own.append(shift)
    return Rota(team, tuple(sorted(shift for own in by_person.values() for shift in own)), until, source)
