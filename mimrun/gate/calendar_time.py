"""Local times of calendars: which moments they mean, also on the days when the clock is put forward or back.

What a local time means is not always one moment. Where it occurs twice there are two readings, and where the clock
jumps over it there are two as well: the moment of the jump, and as long after it as the time would have been (RFC 5545,
3.3.5). A calendar takes the reading that keeps it closed for longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from dateutil.rrule import rruleset

DAY: Final = timedelta(days=1)
_NEAR: Final = timedelta(hours=4)
"""No clock is put forward or back by more."""
_MOST: Final = 20_000
"""So many occurrences of a rule are gone through; one that has more before a moment is not understood."""


class TooMany(ValueError):
    """A rule has more occurrences than anybody wants to go through."""


def readings(wall: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Give the earliest and the latest moment that a local time can mean, UTC; mostly they are the same.

    Arguments:
        wall: the local time, naive.
    """
    both = {_moment(wall, zone, fold) for fold in (0, 1)}
    real = {moment for moment in both if _wall(moment, zone) == wall}
    if real:
        return min(real), max(real)
    jump = _jump(wall, zone)
    before = jump - timedelta(seconds=1)
    return jump, (wall - (_wall(before, zone) - before.replace(tzinfo=None))).replace(tzinfo=UTC)


def _moment(wall: datetime, zone: tzinfo, fold: int) -> datetime:
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _jump(wall: datetime, zone: tzinfo) -> datetime:
    """Give the first moment, to the second, at which the local clock shows this time or a later one."""
    low, high = wall.replace(tzinfo=UTC) - DAY - _NEAR, wall.replace(tzinfo=UTC) + DAY + _NEAR
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        middle = middle.replace(microsecond=0)
        low, high = (low, middle) if _wall(middle, zone) >= wall else (middle, high)
    return high


class Starts(Protocol):
    """When something begins, again and again."""

    def between(self, low: datetime, high: datetime) -> Iterable[datetime]:
        """Give the local times from low to high at which it begins, both included."""
        ...


@dataclass(frozen=True, slots=True)
class Once:
    """Something that begins at certain local times."""

    at: tuple[datetime, ...]

    def between(self, low: datetime, high: datetime) -> Iterable[datetime]:
        """Give those of them that are from low to high."""
        return [at for at in self.at if low <= at <= high]


@dataclass(frozen=True, slots=True)
class Weekly:
    """Something that begins on some days of each week.

    Arguments:
        days: 0 is Monday.
    """

    days: frozenset[int]
    time: time

    def between(self, low: datetime, high: datetime) -> Iterator[datetime]:
        """Give its local times from low to high."""
        day = low.date()
        while day <= high.date():
            at = datetime.combine(day, self.time)
            if day.weekday() in self.days and low <= at <= high:
                yield at
            day += DAY


@dataclass(frozen=True, slots=True)
class Ruled:
    """Something that begins as a recurrence rule of RFC 5545 says.

    Arguments:
        rules: in local time, naive.
    """

    rules: rruleset = field(compare=False)

    def between(self, low: datetime, high: datetime) -> list[datetime]:
        """Give its local times from low to high.

        Raises:
            TooMany: there are more occurrences before it than are gone through.
        """
        found: list[datetime] = []
        for number, at in enumerate(self.rules):
            if at > high:
                break
            if number >= _MOST:
                raise TooMany(f"the rule has more than {_MOST} occurrences; let it begin later")
            if at >= low:
                found.append(at)
        return found


@dataclass(frozen=True, slots=True)
class Span:
    """Something that lasts from one local time to another, once or again and again.

    Arguments:
        reason: what people are told about it.
        wall: how long it lasts by the local clock.
        exact: how long it lasts in time that passes; None where only the local clock counts.
    """

    reason: str
    zone: tzinfo
    starts: Starts
    wall: timedelta
    exact: timedelta | None = None

    def between(self, low: datetime, high: datetime, *, wide: bool) -> Iterator[tuple[datetime, datetime]]:
        """Give the times that have something of low to high in them, from when until when, UTC.

        Arguments:
            low, high: UTC.
            wide: take the readings with which it lasts longest; else those with which it is shortest.

        Raises:
            TooMany: as for `Ruled.between`.
        """
        longest = max(self.wall, self.exact or self.wall)
        first = _wall(low, self.zone) - longest - DAY
        for wall in self.starts.between(first, _wall(high, self.zone) + DAY):
            start, end = self._moments(wall, wide=wide)
            if start < end and start <= high and end >= low:
                yield start, end

    def _moments(self, wall: datetime, *, wide: bool) -> tuple[datetime, datetime]:
        begins, ends = readings(wall, self.zone), readings(wall + self.wall, self.zone)
        if self.exact is not None:
            ends = (min(ends[0], begins[0] + self.exact), max(ends[1], begins[1] + self.exact))
        return (begins[0], ends[1]) if wide else (begins[1], ends[0])


def merged(times: Iterable[tuple[datetime, datetime, str]]) -> list[tuple[datetime, datetime, str]]:
    """Give times that touch or overlap as one, with the reason of the one that began first, sorted."""
    joined: list[tuple[datetime, datetime, str]] = []
    for start, end, reason in sorted(times):
        if joined and start <= joined[-1][1]:
            before = joined[-1]
            joined[-1] = (before[0], max(before[1], end), before[2])
        else:
            joined.append((start, end, reason))
    return joined


def complement(
    times: Sequence[tuple[datetime, datetime, str]], low: datetime, high: datetime
) -> list[tuple[datetime, datetime]]:
    """Give what is left of low to high without these times, which are merged."""
    left = []
    at = low
    for start, end, _ in times:
        if start > at:
            left.append((at, min(start, high)))
        at = max(at, end)
    if at < high:
        left.append((at, high))
    return [(start, end) for start, end in left if start < end]
