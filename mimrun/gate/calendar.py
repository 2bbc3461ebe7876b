"""Calendars of freezes and maintenance windows: whether something may be changed at a moment.

They are combined with AND: something is open where every calendar that is about it is open. A calendar that cannot
be read is closed, and says so by name. Pure: moments are arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final

from mimrun.gate.calendar_time import Span, TooMany, complement, merged
from mimrun.runbook.launch import RiskRow
from mimrun.runbook.pattern import Names, select_hosts

HORIZON: Final = timedelta(days=400)
"""So far ahead it is said until when something is closed; behind that, nobody is told."""
_LOOKS: Final = (timedelta(days=2), timedelta(days=40), HORIZON)
"""How far is looked, each time that nothing was found nearer."""
OUTSIDE: Final = "outside of its maintenance windows"
_HOPS: Final = 200
"""So many times that calendars take over from each other are followed until all are open."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What a plan touches, as far as the scope of calendars asks.

    Arguments:
        stage: of its runbook.
        runbooks: its name, and those of the runbooks that it includes.
        hosts: its targets; `groups` those of the inventory, cut down to them.
    """

    stage: str
    risk: RiskRow
    runbooks: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a calendar is about: where several are given, all of them must fit; without any, everything.

    Arguments:
        hosts: a host pattern; one target that it names is enough.
        runbooks: names, or patterns such as `postgres-*`.
    """

    stages: frozenset[str] = frozenset()
    risks: frozenset[str] = frozenset()
    hosts: str = ""
    runbooks: tuple[str, ...] = ()

    def covers(self, touched: Touched) -> bool:
        """Say whether a plan is among it."""
        names = Names(touched.hosts, touched.groups)
        return (
            (not self.stages or touched.stage in self.stages)
            and (not self.risks or touched.risk in self.risks)
            and (not self.hosts or bool(select_hosts(names, self.hosts)))
            and (not self.runbooks or any(fnmatchcase(n, p) for n in touched.runbooks for p in self.runbooks))
        )

    @property
    def words(self) -> str:
        """The scope for people; "" where it is everything."""
        parts = (
            ("stage", " or ".join(sorted(self.stages))),
            ("risk", " or ".join(sorted(self.risks))),
            ("hosts", self.hosts),
            ("runbook", " or ".join(self.runbooks)),
        )
        return ", ".join(f"{name} {said}" for name, said in parts if said)


@dataclass(frozen=True, slots=True)
class Closure:
    """That a calendar is closed, why, and from when until when.

    Arguments:
        since, until: UTC; None where it is not known, or farther away than the horizon.
    """

    name: str
    reason: str
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Calendar:
    """One calendar.

    Arguments:
        file: where it was read from.
        closed_inside: True for a freeze calendar, closed while one of its times lasts; False for one of maintenance
            windows, closed all the rest of the time.
        wrong: what cannot be understood of it; then it is always closed.
    """

    name: str
    file: str
    spans: tuple[Span, ...] = ()
    closed_inside: bool = True
    scope: Scope = Scope()
    wrong: tuple[str, ...] = ()

    def closed(self, at: datetime) -> Closure | None:
        """Give the closure at a moment, UTC; None where it is open."""
        if self.wrong:
            return self._unreadable(self.wrong[0])
        try:
            return self._inside(at) if self.closed_inside else self._outside(at)
        except (TooMany, OverflowError) as exc:
            return self._unreadable(str(exc))

    def closures(self, low: datetime, high: datetime) -> Iterator[Closure]:
        """Give every closure that has something of low to high in it, the first one first; UTC."""
        try:
            times = [] if self.wrong else self._times(low, high)
        except (TooMany, OverflowError) as exc:
            yield self._unreadable(str(exc))
            return
        if self.wrong:
            yield self._unreadable(self.wrong[0])
        elif self.closed_inside:
            yield from (Closure(self.name, reason, start, end) for start, end, reason in times)
        else:
            for start, end in complement(times, low, high):
                since, until = (None if start == low else start), (None if end == high else end)
                yield Closure(self.name, OUTSIDE, since, until)

    def next_change(self, at: datetime, within: timedelta) -> datetime:
        """Give a moment before which it is certainly as it is now: the next border, or the end of that time."""
        try:
            times = [] if self.wrong else self._times(at, at + within)
        except (TooMany, OverflowError):
            times = []
        borders = [border for start, end, _ in times for border in (start, end) if border > at]
        return min([at + within, *borders])

    def _times(self, low: datetime, high: datetime) -> list[tuple[datetime, datetime, str]]:
        wide = self.closed_inside
        return merged((*t, span.reason) for span in self.spans for t in span.between(low, high, wide=wide))

    def _inside(self, at: datetime) -> Closure | None:
        inside = [(start, end, reason) for start, end, reason in self._times(at, at) if start <= at < end]
        if not inside:
            return None
        start, end, reason = inside[0]
        while end - at < HORIZON:
            later = [last for first, last, _ in self._times(end, end) if first <= end < last]
            if not later:
                return Closure(self.name, reason, start, end)
            end = max(later)
        return Closure(self.name, reason, start)

    def _outside(self, at: datetime) -> Closure | None:
        if any(start <= at < end for start, end, _ in self._times(at, at)):
            return None
        for far in _LOOKS:
            later = [start for start, _, _ in self._times(at, at + far) if start > at]
            if later:
                return Closure(self.name, OUTSIDE, until=min(later))
        return Closure(self.name, OUTSIDE)

    def _unreadable(self, why: str) -> Closure:
        return Closure(self.name, f"cannot be understood, so it is closed: {why}")


@dataclass(frozen=True, slots=True)
class Calendars:
    """All calendars of an installation."""

    all: tuple[Calendar, ...] = ()

    def about(self, touched: Touched | None) -> tuple[Calendar, ...]:
        """Give the calendars that are about a plan; all of them without one.

        What only reads is never held up: no calendar is about it.
        """
        if touched is None:
            return self.all
        if touched.risk == "read_only":
            return ()
        return tuple(one for one in self.all if one.wrong or one.scope.covers(touched))

    def closed(self, at: datetime, touched: Touched | None = None) -> tuple[Closure, ...]:
        """Give every closure at a moment, UTC, the one that lasts longest last; none where all are open."""
        found = [closure for one in self.about(touched) if (closure := one.closed(at)) is not None]
        return tuple(sorted(found, key=lambda c: (c.until is None, c.until or at, c.name)))

    def opens(self, at: datetime, touched: Touched | None = None) -> datetime | None:
        """Give the first moment from now on at which all are open; None where nobody can tell."""
        when: datetime | None = at
        for _ in range(_HOPS):
            closed = self.closed(when, touched) if when is not None else ()
            if when is None or not closed:
                return when
            when = closed[-1].until
        return None

    def next_change(self, at: datetime, within: timedelta) -> datetime:
        """Give a moment before which everything is certainly as it is now."""
        return min([one.next_change(at, within) for one in self.all], default=at + within)
