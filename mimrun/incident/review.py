"""The review of an incident: everything that can be said of it from the log, and nothing that cannot. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from mimrun.incident.course import Course, Decision
from mimrun.incident.incident import Clock, Incident
from mimrun.incident.metrics import Figure
from mimrun.incident.review_item import ReviewItem
from mimrun.log.moment import read_moment, write_moment

GAP: Final = timedelta(minutes=10)
"""So long nothing is recorded before it is said so, unless somebody wants it otherwise."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Arguments:
        source: what it is about: `alert`, `step`, `decision`, ...
        actor: who caused it.
        text: a sentence. It may hold what a target or a stranger said.
        later: when it was recorded, where that is long after it was done.
    """

    seq: int
    at: datetime
    source: str
    actor: str
    text: str
    later: datetime | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Time in which nothing was recorded."""

    begin: datetime
    end: datetime

    @property
    def ms(self) -> int:
        """How long it is."""
        return (self.end - self.begin) // timedelta(milliseconds=1)


Row: TypeAlias = Event | Gap


def with_gaps(
    events: Sequence[Event], at_least: timedelta, until: datetime | None, *, since: datetime | None = None
) -> list[Row]:
    """Give events in the order of time, and between them the times in which nothing was recorded.

    Arguments:
        at_least: shorter ones are none.
        until: when the incident was resolved: what is not recorded afterwards is missed by nobody. None: it is not.
        since: when it was noticed; from then on something could have been recorded.
    """
    rows: list[Row] = []
    first = min((event.at for event in events), default=None)
    if since is not None and first is not None and first - since >= at_least:
        rows.append(Gap(since, first))
    for event in sorted(events, key=lambda one: (one.at, one.seq)):
        last = rows[-1] if rows else None
        if isinstance(last, Event) and event.at - last.at >= at_least and (until is None or last.at < until):
            rows.append(Gap(last.at, event.at))
        rows.append(event)
    return rows


def without(rows: Sequence[Row], details: Collection[int]) -> list[Row]:
    """Leave details out, but for those next to a gap: they are what was recorded last before it, and first after it.

    Arguments:
        details: by entry.
    """
    beside = [*rows[1:], None], [None, *rows[:-1]]
    return [
        row
        for row, after, before in zip(rows, *beside, strict=True)
        if isinstance(row, Gap) or row.seq not in details or Gap in (type(before), type(after))
    ]


@dataclass(frozen=True, slots=True)
class Review:
    """Everything that the log says of an incident.

    Arguments:
        incident: how it stands.
        upto: the last entry that was looked at.
        now: until when is reckoned what is not over.
        assessed, resolved: what was written when it was assessed and resolved, or "".
        left_out: so many entries of the log are not in the timeline, since they are details of steps.
    """

    incident: Incident
    upto: int
    now: datetime
    rows: tuple[Row, ...]
    figures: tuple[Figure, ...]
    course: Course
    items: tuple[ReviewItem, ...]
    assessed: str = ""
    resolved: str = ""
    left_out: int = 0

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The times in which nothing was recorded."""
        return tuple(row for row in self.rows if isinstance(row, Gap))

    def waited_ms(self, decision: Decision) -> int:
        """How long a decision was waited for, until now where it still is."""
        return ((decision.decided or self.now) - decision.asked) // timedelta(milliseconds=1)

    def as_json(self) -> dict[str, Any]:
        """The review for `--json`."""
        course = self.course
        return {
            "incident": self.incident.model_dump(mode="json"),
            "upto": self.upto,
            "assessed": self.assessed,
            "resolved": self.resolved,
            "figures": {figure.name: figure.as_json() for figure in self.figures},
            "timeline": [_row(row) for row in self.rows],
            "left_out": self.left_out,
            "runs": [_plain(run) for run in course.runs.values()],
            "automated": [_plain(step) for step in course.automated],
            "by_hand": [_plain(work) for work in course.by_hand],
            "decisions": [{**_plain(one), "waited_ms": self.waited_ms(one)} for one in course.decisions],
            "messages": [_plain(message) for message in course.messages],
            "items": [item.as_json() for item in self.items],
        }


def moment_of(clock: Clock) -> datetime | None:
    """Give when something happened; None where nobody knows."""
    return read_moment(clock.at) if clock else None


def _row(row: Row) -> dict[str, Any]:
    if isinstance(row, Gap):
        return {"gap_ms": row.ms, "from": write_moment(row.begin), "to": write_moment(row.end)}
    return {name: value for name, value in _plain(row).items() if name != "later" or value is not None}


def _plain(value: Any) -> Any:
    """Give a record of the review as JSON."""
    if isinstance(value, datetime):
        return write_moment(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    fields = getattr(type(value), "__dataclass_fields__", None)
    return {name: _plain(getattr(value, name)) for name in fields} if fields else value
