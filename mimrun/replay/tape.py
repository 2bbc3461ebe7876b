"""The tape: the record of a run, cut into what each of its workers wrote, and what came from elsewhere meanwhile.

What a worker wrote are decisions: a replay makes them again, and compares. Everything else (what people said,
which lock was had, what came too late) is the world around it, and is taken as it was.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from mimrun.log import kinds
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import Kind
from mimrun.replay.board import step_of

_TAKING: Final = frozenset({Kind.RUN_STARTED, Kind.LOCK_TAKEN, Kind.RUN_MODE})
"""With what a worker takes a run over: which locks are free is no decision of the run."""
FOLLOWS: Final = frozenset({Kind.LOCK_RELEASED})
"""What follows from the end of a run by itself, from what it holds by then."""
_WORLD: Final = _TAKING | FOLLOWS | {Kind.STEP_EVIDENCE}
RESTS: Final = frozenset({Kind.RUN_WAITING, Kind.RUN_ENDED})
"""What a worker writes last that leaves a run in order."""


GUARDED: Final = "(guard)"
"""The target of the lane of a step whose guard tripped: whichever host it was for is not on record."""


class Lane(NamedTuple):
    """What happens one after the other: a step on a target, a step as a whole, or the run ("" twice)."""

    step: str
    target: str


def lane_of(entry: LogEntry | Draft) -> Lane:
    """Say to which lane an entry belongs. The looks before and after a step, and its items, are in its lane."""
    if entry.kind in RESTS:
        return Lane("", "")
    if entry.kind is Kind.GUARD_TRIPPED:
        return Lane(entry.step, GUARDED)
    return Lane(step_of(entry.step), entry.target)


@dataclass(slots=True)
class Session:
    """What one worker did with the run, from its takeover to its rest, or to its death.

    Arguments:
        epoch: of its lease.
        first, end: the places of its entries on the tape, behind the takeover and before the next one.
        places: of those that are its decisions, in order.
        began: its takeover took place; else it waits for a lock, and did nothing.
    """

    epoch: int
    first: int
    end: int
    places: list[int] = field(default_factory=list)
    began: bool = True


class Tape:
    """The record of one run.

    Arguments:
        entries: the run's, and those of the kill switch meanwhile, in order.
    """

    def __init__(self, entries: Sequence[LogEntry]) -> None:
        self.entries = tuple(entries)
        self.sessions = tuple(self._cut())

    def __len__(self) -> int:
        return len(self.entries)

    def _cut(self) -> Iterator[Session]:
        starts = [n for n, entry in enumerate(self.entries) if entry.kind is Kind.RUN_STARTED]
        for start, end in pairwise((*starts, len(self.entries))):
            yield self._session(start, end)

    def _session(self, start: int, end: int) -> Session:
        epoch, first = self.entries[start].epoch, start + 1
        while first < end and self._takes(first, epoch):
            first += 1
        session = Session(epoch, first, end)
        if first < end and first == start + 1 and _waits_for_lock(self.entries[first]):
            session.began = False
            return session
        decided = (n for n in range(first, end) if self._decides(n, epoch))
        session.places = [n for n in decided if not self._froze(n, end)]
        return session

    def _takes(self, place: int, epoch: int) -> bool:
        entry = self.entries[place]
        return entry.kind in _TAKING and entry.epoch == epoch and entry.actor.kind == "worker"

    def _decides(self, place: int, epoch: int) -> bool:
        entry = self.entries[place]
        return entry.actor.kind == "worker" and entry.epoch == epoch and entry.kind not in _WORLD

    def _froze(self, place: int, end: int) -> bool:
        """Say whether a guard tripped between an intent and the act: the machine was frozen in between."""
        entry = self.entries[place]
        if entry.kind is not Kind.GUARD_TRIPPED:
            return False
        for later in self.entries[place + 1 : end]:
            if later.step and step_of(later.step) == entry.step:
                return isinstance(later.body, kinds.StepOutcome) and not later.body.performed
        return False


def _waits_for_lock(entry: LogEntry) -> bool:
    return isinstance(entry.body, kinds.RunWaiting) and entry.body.on == "lock"


class Cursor:
    """How far a session has been replayed: what is to come, as a whole and in each lane.

    Arguments:
        tape, session: what is replayed.
    """

    def __init__(self, tape: Tape, session: Session) -> None:
        self._entries, self.session = tape.entries, session
        self._places = deque(session.places)
        self._lanes: dict[Lane, deque[int]] = defaultdict(deque)
        for place in session.places:
            self._lanes[lane_of(self._entries[place])].append(place)

    @property
    def place(self) -> int:
        """The place of the next decision on the tape; that of the session's end where there is none."""
        return self._places[0] if self._places else self.session.end

    @property
    def is_over(self) -> bool:
        """Whether no decision is left."""
        return not self._places

    def next(self) -> LogEntry | None:
        """Give the next decision; None where there is none."""
        return self._entries[self._places[0]] if self._places else None

    def last(self) -> LogEntry | None:
        """Give the last decision of the whole session."""
        return self._entries[self.session.places[-1]] if self.session.places else None

    def left(self) -> Iterator[LogEntry]:
        """Give every decision that is to come."""
        return (self._entries[place] for place in self._places)

    def expected(self, lane: Lane) -> int | None:
        """Give the place of the next decision in a lane; None where none is to come."""
        places = self._lanes.get(lane)
        return places[0] if places else None

    def coming(self, lane: Lane) -> Iterator[LogEntry]:
        """Give the decisions that are to come in a lane."""
        return (self._entries[place] for place in self._lanes.get(lane, ()))

    def take(self) -> LogEntry:
        """Take the next decision off the tape."""
        entry = self._entries[self._places.popleft()]
        self._lanes[lane_of(entry)].popleft()
        return entry
