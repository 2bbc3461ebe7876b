"""The state of a manual step: who does it, what is ticked, what was signed, and how long it took.

Folded from the entries of people and of the worker that asked. What can follow what is one table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from mimrun.errors import TamperError
from mimrun.gate.people import acted
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind

ANYBODY: Final = "anybody"
"""The role that the log names for a manual step that everybody may attest, or confirm."""


class ManualStatus(StrEnum):
    """Where a manual step stands."""

    NEW = "new"  #: nobody was asked yet
    ASKED = "asked"  #: nobody does it
    CLAIMED = "claimed"  #: somebody does it
    ATTESTED = "attested"  #: somebody signed that it is done; where a second person is needed, they are asked
    CONFIRMED = "confirmed"  #: a second person signed, too
    FAILED = "failed"  #: somebody signed that it cannot be done


class ManualEvent(StrEnum):
    """What happens to a manual step."""

    ASK = "ask"
    CLAIM = "claim"
    RELEASE = "release"
    HAND_OVER = "hand_over"
    CHECK = "check"
    ATTEST = "attest"
    FAIL = "fail"
    CONFIRM = "confirm"
    DISPUTE = "dispute"


NEXT_MANUAL: Final[Mapping[tuple[ManualStatus, ManualEvent], ManualStatus]] = {
    (ManualStatus.NEW, ManualEvent.ASK): ManualStatus.ASKED,
    (ManualStatus.ASKED, ManualEvent.CLAIM): ManualStatus.CLAIMED,
    (ManualStatus.ASKED, ManualEvent.HAND_OVER): ManualStatus.CLAIMED,
    (ManualStatus.ASKED, ManualEvent.CHECK): ManualStatus.ASKED,
    (ManualStatus.ASKED, ManualEvent.ATTEST): ManualStatus.ATTESTED,
    (ManualStatus.ASKED, ManualEvent.FAIL): ManualStatus.FAILED,
    # Whom it was handed to says so, and their time begins.
    (ManualStatus.CLAIMED, ManualEvent.CLAIM): ManualStatus.CLAIMED,
    (ManualStatus.CLAIMED, ManualEvent.RELEASE): ManualStatus.ASKED,
    (ManualStatus.CLAIMED, ManualEvent.HAND_OVER): ManualStatus.CLAIMED,
    (ManualStatus.CLAIMED, ManualEvent.CHECK): ManualStatus.CLAIMED,
    (ManualStatus.CLAIMED, ManualEvent.ATTEST): ManualStatus.ATTESTED,
    (ManualStatus.CLAIMED, ManualEvent.FAIL): ManualStatus.FAILED,
    (ManualStatus.ATTESTED, ManualEvent.CONFIRM): ManualStatus.CONFIRMED,
    # It is done again, from the beginning.
    (ManualStatus.ATTESTED, ManualEvent.DISPUTE): ManualStatus.ASKED,
}


@dataclass(slots=True)
class ManualState:
    """What is known about a manual step.

    Arguments:
        request: the entry that asked, 0 for none, and `fields` the names of the evidence.
        role: whose work it is, `checklist` what they tick, and `ticked` the items that are, counted from 1.
        second: the role of the second person who confirms, ANYBODY, or "" where none is needed.
        remind: how long after it was asked for, or taken up, people are reminded; nothing for never.
        holder: who does it, and `holder_names` every name behind them; "" for nobody.
        since: when it was asked for, taken up, put down or attested last.
        at_work_since: since when the holder is at work on it, None while nobody is; `worked` is the time before.
        attested: the entry with the word, 0 for none; `by` who gave it, and `by_names` every name behind them.
        reason: why it cannot be done, or what was disputed.
        given: how long it took, as whoever did it says; None where they did not say.
        confirmed_by: the second person.
    """

    status: ManualStatus = ManualStatus.NEW
    request: int = 0
    fields: tuple[str, ...] = ()
    role: str = ANYBODY
    checklist: tuple[str, ...] = ()
    ticked: set[int] = field(default_factory=set)
    second: str = ""
    remind: timedelta = timedelta()
    holder: str = ""
    holder_names: frozenset[str] = frozenset()
    since: datetime | None = None
    at_work_since: datetime | None = None
    worked: timedelta = timedelta()
    attested: int = 0
    by: str = ""
    by_names: frozenset[str] = frozenset()
    reason: str = ""
    given: timedelta | None = None
    confirmed_by: str = ""

    @property
    def is_done(self) -> bool:
        """Whether everybody has signed who has to."""
        return self.status is ManualStatus.CONFIRMED or (
            self.status is ManualStatus.ATTESTED and not self.second
        )

    @property
    def unticked(self) -> tuple[int, ...]:
        """The items of the checklist that are not done, counted from 1."""
        return tuple(n for n in range(1, len(self.checklist) + 1) if n not in self.ticked)


def active_time(manual: ManualState, now: datetime) -> timedelta:
    """Say how long people worked on a step: as they said, else while somebody had taken it up.

    Between being handed over and being taken up by the other it rests. What was done before a dispute counts.

    Arguments:
        now: the present moment, for a step that is under way.
    """
    if manual.given is not None:
        return manual.given
    under_way = max(now - manual.at_work_since, timedelta()) if manual.at_work_since else timedelta()
    return manual.worked + under_way


@dataclass(frozen=True, slots=True)
class Reminder:
    """That people are to be reminded of a manual step.

    Arguments:
        what: the work itself, or that a second person confirms it.
        person: who has taken it up, or "" where it is anybody's with `role`.
        since: since when it waits, and `number` the how manieth reminder of that wait is due; the first is 1.
    """

    step: str
    what: Literal["work", "second"]
    person: str
    role: str
    since: datetime
    number: int


def due_reminders(manuals: Mapping[str, ManualState], now: datetime) -> tuple[Reminder, ...]:
    """Give what people are to be reminded of, one reminder for each step that waits: the latest that is due.

    Arguments:
        manuals: of a run's state, by step.
        now: the present moment, UTC.
    """
    found = []
    for step, manual in manuals.items():
        work = manual.status in (ManualStatus.ASKED, ManualStatus.CLAIMED)
        second = manual.status is ManualStatus.ATTESTED and bool(manual.second)
        if not manual.remind or manual.since is None or not (work or second):
            continue
        number = int((now - manual.since) / manual.remind)
        if number < 1:
            continue
        role = manual.role if work else manual.second
        person = manual.holder if work else ""
        found.append(Reminder(step, "work" if work else "second", person, role, manual.since, number))
    return tuple(found)


def take_manual(manual: ManualState, entry: LogEntry) -> None:
    """Take an entry of a manual step into its state.

    Raises:
        TamperError: the entry cannot follow.
    """
    event = _event(entry.body)
    if event is None:
        return
    key = (manual.status, event)
    if key not in NEXT_MANUAL:
        raise TamperError(f"entry {entry.seq}: {event} cannot follow {manual.status} of the manual step")
    manual.status, manual.since = NEXT_MANUAL[key], manual.since if event is ManualEvent.CHECK else entry.ts
    if event in (ManualEvent.CONFIRM, ManualEvent.DISPUTE):
        _second(manual, entry)
    else:
        _first(manual, entry)


def _first(manual: ManualState, entry: LogEntry) -> None:
    """Take what is about the work itself."""
    match entry.body:
        case kinds.ManualRequested() as body:
            _asked(manual, body, entry)
        case kinds.ManualClaimed():
            _begin(manual, entry)
        case kinds.ManualReleased():
            _rest(manual, entry)
        case kinds.ManualHandedOver() as body:
            _rest(manual, entry)
            manual.holder, manual.holder_names = body.to, frozenset({body.to})
            if body.to == entry.actor.id:
                _begin(manual, entry)
        case kinds.ManualChecked() as body:
            _tick(manual, body, entry)
        case kinds.ManualAttested() as body:
            _sign(manual, body, entry)
        case _:
            pass


def _second(manual: ManualState, entry: LogEntry) -> None:
    """Take the word of a second person."""
    match entry.body:
        case kinds.ManualConfirmed() as confirmed:
            _same_word(manual, confirmed.attested, entry)
            manual.confirmed_by = entry.actor.id
        case kinds.ManualDisputed() as disputed:
            _same_word(manual, disputed.attested, entry)
            manual.attested, manual.by, manual.by_names, manual.given = 0, "", frozenset(), None
            manual.reason = disputed.reason
        case _:
            pass


def _event(body: kinds.Body) -> ManualEvent | None:
    if isinstance(body, kinds.ManualAttested):
        return ManualEvent.ATTEST if body.outcome == "done" else ManualEvent.FAIL
    return _EVENTS.get(type(body))


_EVENTS: Final[Mapping[type[kinds.Body], ManualEvent]] = {
    kinds.ManualRequested: ManualEvent.ASK,
    kinds.ManualClaimed: ManualEvent.CLAIM,
    kinds.ManualReleased: ManualEvent.RELEASE,
    kinds.ManualHandedOver: ManualEvent.HAND_OVER,
    kinds.ManualChecked: ManualEvent.CHECK,
    kinds.ManualConfirmed: ManualEvent.CONFIRM,
    kinds.ManualDisputed: ManualEvent.DISPUTE,
}


def _asked(manual: ManualState, body: kinds.ManualRequested, entry: LogEntry) -> None:
    manual.request, manual.fields = entry.seq, tuple(one.name for one in body.fields)
    manual.role, manual.checklist, manual.second = body.role, body.checklist, body.second
    manual.remind = timedelta(milliseconds=body.remind_ms)


def _begin(manual: ManualState, entry: LogEntry) -> None:
    if manual.at_work_since is None:
        manual.at_work_since = entry.ts
    manual.holder, manual.holder_names = entry.actor.id, acted(entry.actor.id, entry.actor.auth)


def _rest(manual: ManualState, entry: LogEntry) -> None:
    if manual.at_work_since is not None:
        manual.worked += entry.ts - manual.at_work_since
    manual.at_work_since, manual.holder, manual.holder_names = None, "", frozenset()


def _tick(manual: ManualState, body: kinds.ManualChecked, entry: LogEntry) -> None:
    if body.item > len(manual.checklist):
        raise TamperError(f"entry {entry.seq}: the checklist has no item {body.item}")
    if body.done:
        manual.ticked.add(body.item)
    else:
        manual.ticked.discard(body.item)
    if manual.holder and manual.at_work_since is None:
        manual.at_work_since = entry.ts  # whom it was handed to has begun


def _sign(manual: ManualState, body: kinds.ManualAttested, entry: LogEntry) -> None:
    _rest(manual, entry)
    manual.attested, manual.by = entry.seq, entry.actor.id
    manual.by_names = acted(entry.actor.id, entry.actor.auth)
    manual.reason = body.reason
    manual.given = timedelta(milliseconds=body.active_ms) if body.active_ms else None


def _same_word(manual: ManualState, attested: int, entry: LogEntry) -> None:
    if attested != manual.attested:
        raise TamperError(
            f"entry {entry.seq}: it is about the word in entry {attested}; the one that stands is {manual.attested}"
        )


TAKES: Final = frozenset(
    {
        Kind.MANUAL_REQUESTED,
        Kind.MANUAL_CLAIMED,
        Kind.MANUAL_RELEASED,
        Kind.MANUAL_HANDED_OVER,
        Kind.MANUAL_CHECKED,
        Kind.MANUAL_ATTESTED,
        Kind.MANUAL_CONFIRMED,
        Kind.MANUAL_DISPUTED,
    }
)
"""The kinds that `take_manual` takes."""
