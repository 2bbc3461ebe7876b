"""One group of a rule: which of its alerts burn, since when they are enough for the rule, and until when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from mimrun.incident.alert import Alert
from mimrun.incident.rule import Rule, facet_of

REST: Final = ""
"""Stands for everything that burns and is not kept one by one."""


class _Mark(NamedTuple):
    """When something was heard of last, and the entry that it was heard of in first."""

    at: datetime
    seq: int


class Track:
    """What burns of a group.

    It is enough for the rule from the moment at which something burns, and as many alerts have come as the rule asks
    for. It is enough no more when nothing burns, or when the alerts that count are too old.

    Arguments:
        rule: says how long and how many.
    """

    def __init__(self, rule: Rule) -> None:
        self._for = timedelta(milliseconds=rule.for_)
        self._ends_after = timedelta(milliseconds=rule.ends_after)
        self._count = rule.count
        self._within = timedelta(milliseconds=rule.count.within if rule.count else 0)
        self._burning: dict[str, _Mark] = {}  # what was heard of longest ago comes first
        self._latest: dict[str, _Mark] = {}  # likewise; never more than the rule asks for
        self._since: datetime | None = None
        self.why = "nothing of it burns any more"

    def add(self, thing: str, seq: int, at: datetime, alert: Alert) -> None:
        """Take up an alert."""
        self._settle(at)
        before = self._burning.pop(thing, None)
        self._burning[thing] = _Mark(at, before.seq if before is not None else seq)
        if self._count is not None:
            by = self._count.distinct_by
            key = "\0".join(facet_of(alert, name) for name in by) if by else str(seq)
            counted = self._latest.pop(key, None)
            self._latest[key] = _Mark(at, counted.seq if counted is not None else seq)
            if len(self._latest) > self._count.at_least:
                del self._latest[next(iter(self._latest))]
        if self._since is None and self._is_enough():
            self._since = at

    def remove(self, thing: str, at: datetime) -> None:
        """Take note that something does not burn any more."""
        self._settle(at)
        if self._burning.pop(thing, None) is not None and not self._burning:
            self._since, self.why = None, "its alerts were resolved"

    def forget(self, thing: str) -> None:
        """Keep something no longer by itself; that something burns is kept."""
        mark = self._burning.pop(thing, None)
        if mark is not None:
            rest = self._burning.get(REST, mark)
            self._burning = {REST: _Mark(max(mark.at, rest.at), min(mark.seq, rest.seq)), **self._burning}

    def burns(self, now: datetime) -> bool:
        """Say whether something burns."""
        self._settle(now)
        return bool(self._burning)

    def ripe_at(self, now: datetime) -> datetime | None:
        """Give when it has gone on for as long as the rule asks for; None where it is not enough for it at all."""
        self._settle(now)
        return None if self._since is None else self._since + self._for

    def stale_at(self) -> datetime | None:
        """Give when it is over although nothing is resolved: the first moment at which something changes."""
        end = self._end()
        oldest = next(iter(self._burning.values()), None)
        stale = oldest.at + self._ends_after if oldest is not None else None
        return min((at for at in (end, stale) if at is not None), default=None)

    def forgotten_at(self) -> datetime | None:
        """Give when nothing of what has come counts any more."""
        newest = next(reversed(self._latest.values()), None)
        return newest.at + self._within if newest is not None else None

    def alerts(self) -> list[int]:
        """Give the entries of the alerts that count, in order."""
        return sorted({mark.seq for marks in (self._burning, self._latest) for mark in marks.values()})

    def _is_enough(self) -> bool:
        return bool(self._burning) and (self._count is None or len(self._latest) >= self._count.at_least)

    def _end(self) -> datetime | None:
        """Give when it stops being enough by itself."""
        if self._since is None:
            return None
        ends = [next(reversed(self._burning.values())).at + self._ends_after]
        if self._count is not None:
            ends.append(next(iter(self._latest.values())).at + self._within)
        return min(ends)

    def _settle(self, now: datetime) -> None:
        """Let go of what is over by a moment. Doing it earlier, or more often, changes nothing."""
        end = self._end()
        if end is not None and end <= now:
            self._since = None
        while self._burning:
            thing, mark = next(iter(self._burning.items()))
            if mark.at + self._ends_after > now:
                break
            del self._burning[thing]
            self.why = "nothing came of it any more, and nobody resolved it"
        while self._latest:
            key, mark = next(iter(self._latest.items()))
            if mark.at + self._within > now:
                break
            del self._latest[key]
