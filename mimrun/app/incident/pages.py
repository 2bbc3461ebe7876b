"""The timeline of an incident by the page, from its end back: a long one is not read as a whole.

The log has what happened in the order of time, but for two things: work by hand, which stands where it was done and not
where it was entered, and alerts, which came before a rule attached them. Of these there are few: they are read by their
kinds, and put in where they belong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Final, TypeAlias

from mimrun.app.home import Home
from mimrun.app.incident.sentence import Words
from mimrun.app.incident.timeline import Line, Source, line_of, source_of, unreadable_line
from mimrun.app.incident.view import find_state
from mimrun.errors import LogError
from mimrun.log.chain import Unreadable
from mimrun.log.export.telling import TEACH
from mimrun.log.kinds import Kind, RuleFired

PAGE: Final = 200
"""So many lines are given at once."""
_WINDOW: Final = 1_000
_WIDEST: Final = 32_000
"""Places of the log that are looked at together: few at first, and twice as many each time that they are not enough."""

Wanted: TypeAlias = Callable[[Kind | None, Source], bool]
"""Says whether a line is wanted, by its kind (None where it cannot be read) and its source."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a timeline: everything before it is earlier than what was given already.

    Arguments:
        at, seq: of the line that was given last.
        end: entries from this one on were looked at already; work by hand and alerts apart.
    """

    at: datetime
    seq: int
    end: int


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """Some lines of a timeline.

    Arguments:
        lines: the newest first.
        before: where to go on; None where nothing is before them.
    """

    lines: tuple[Line, ...]
    before: Place | None = None


def timeline_page(
    home: Home,
    incident: str,
    wanted: Wanted,
    *,
    upto: int,
    before: Place | None = None,
    size: int = PAGE,
    window: int = _WINDOW,
) -> TimelinePage:
    """Give the last lines of a timeline, or the last before a place.

    Arguments:
        upto: only what was recorded up to this entry.
        size: so many lines.
        window: so many places of the log are looked at together, at first.

    Raises:
        InputError: there is no such incident.
    """
    return _reader(home, incident, wanted, upto).page(before, size, window)


def timeline_news(home: Home, incident: str, wanted: Wanted, *, after: int, upto: int) -> tuple[Line, ...]:
    """Give what was recorded behind an entry, in the order of time; alerts that were attached since are part of it.

    Raises:
        InputError: there is no such incident.
    """
    return tuple(_reader(home, incident, wanted, upto).news(after))


def _reader(home: Home, incident: str, wanted: Wanted, upto: int) -> _Reader:
    name = find_state(home, incident).name
    # What an action is called is told by the entries about it alone; of a long run these are very many.
    taught = TEACH if wanted(Kind.STEP_OUTCOME, "step") else TEACH - {Kind.STEP_INTENT}
    return _Reader(home, name, wanted, upto, Words(home, taught))


@dataclass(frozen=True, slots=True)
class _Reader:
    home: Home
    incident: str
    wanted: Wanted
    upto: int
    words: Words

    def page(self, before: Place | None, size: int, window: int) -> TimelinePage:
        last = (before.at, before.seq) if before is not None else None
        aside = [line for line in self._aside() if last is None or _time(line) < last]
        start = before.end if before is not None else self.upto + 1
        found: list[Line] = []
        end = start
        while end > 1 and len(found) <= size:
            begin = max(end - window, 1)
            found = self._window(begin, end) + found
            end, window = begin, min(window * 2, _WIDEST)
        # What was not looked at yet may be later than what stands aside: that has to wait until it was.
        since = _time(found[0]) if found and end > 1 else None
        lines = sorted([*found, *(line for line in aside if since is None or _time(line) > since)], key=_time)
        given = lines[-size:]
        page = tuple(reversed(given))
        if end == 1 and len(given) == len(lines):
            return TimelinePage(page)
        of_window = {line.seq for line in found}
        looked = min((line.seq for line in given if line.seq in of_window), default=start)
        return TimelinePage(page, Place(*_time(given[0]), looked))

    def news(self, after: int) -> list[Line]:
        return sorted([*self._window(after + 1, self.upto + 1), *self._aside(after)], key=_time)

    def _aside(self, after: int = 0) -> Iterator[Line]:
        """Give what does not stand in the log where it stands in time, where an entry behind `after` says so."""
        alerts: dict[int, int] = {}
        with suppress(LogError):  # what cannot be read is told by the window that it is in
            for entry in self.home.store.entries(
                inc=self.incident, kinds={Kind.MANUAL_REPORTED, Kind.RULE_FIRED}
            ):
                if entry.seq > self.upto:
                    break
                if isinstance(entry.body, RuleFired):
                    for seq in entry.body.alerts:
                        alerts.setdefault(seq, entry.seq)
                elif entry.seq > after and self.wanted(entry.kind, source_of(entry.kind)):
                    yield line_of(self.words, entry)
        for seq, attached in sorted(alerts.items()):
            if attached > after and self.wanted(Kind.ALERT_RECEIVED, source_of(Kind.ALERT_RECEIVED)):
                with suppress(LogError):
                    yield line_of(self.words, self.home.store.entry(seq))

    def _window(self, begin: int, end: int) -> list[Line]:
        """Give the lines of a part of the log, in order; what cannot be read stands where its neighbour does."""
        rows = self.home.store.readable(inc=self.incident, after=begin - 1)
        entries = list(takewhile(lambda one: one.seq < end, rows))
        readable = (entry.ts for entry in entries if not isinstance(entry, Unreadable))
        at, lines = next(readable, self.home.clock()), list[Line]()
        for entry in entries:
            if isinstance(entry, Unreadable):
                lines += [unreadable_line(entry, at, self.incident)] if self.wanted(None, "other") else []
                continue
            at = entry.ts
            if entry.kind is not Kind.MANUAL_REPORTED and self.wanted(entry.kind, source_of(entry.kind)):
                lines.append(line_of(self.words, entry))
            else:
                self.words.pass_over(entry)
        return lines


def _time(line: Line) -> tuple[datetime, int]:
    return line.at, line.seq
