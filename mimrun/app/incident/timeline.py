"""The timeline of an incident: alerts, runs, steps, decisions, notes and messages of the one log, in time order.

Everything that belongs to the incident is a line, and so is each alert that a rule attached to it. What somebody did by
hand stands where it was done, and says how much later it was entered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Final, Literal, TypeAlias

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.incident.sentence import Words
from mimrun.app.incident.view import find_state
from mimrun.errors import LogError
from mimrun.incident.incident import Incident
from mimrun.log.chain import Unreadable
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind, ManualReported, RuleFired
from mimrun.log.moment import read_moment, write_moment

Source: TypeAlias = Literal[
    "alert", "rule", "run", "step", "decision", "manual", "note", "message", "incident", "change", "other"
]

_NOUNS: Final[dict[str, Source]] = {
    "alert": "alert",
    "rule": "rule",
    "proposal": "rule",
    "storm": "rule",
    "run": "run",
    "plan": "run",
    "step": "step",
    "loop": "step",
    "guard": "step",
    "gate": "decision",
    "breakglass": "decision",
    "killswitch": "decision",
    "manual": "manual",
    "shell": "manual",
    "notice": "message",
    "incident": "incident",
    "review": "incident",
    "change": "change",
}
"""The noun of a kind → what the line is about."""
_KINDS: Final[dict[Kind, Source]] = {
    Kind.INCIDENT_NOTE: "note",
    Kind.INCIDENT_ATTACHED: "note",
    Kind.INCIDENT_PRIORITIZED: "decision",
    Kind.STEP_RESOLVED: "decision",
    Kind.STEP_RESOLUTION_PROPOSED: "decision",
    Kind.RUN_PAUSE_REQUESTED: "decision",
    Kind.RUN_RESUME_REQUESTED: "decision",
    Kind.RUN_CANCEL_REQUESTED: "decision",
    Kind.RUN_ABORT_REQUESTED: "decision",
    Kind.PROPOSAL_TAKEN: "decision",
    Kind.PROPOSAL_DISMISSED: "decision",
}
"""Kinds that are about something else than their noun says."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened.

    Arguments:
        seq: the entry that says so.
        at: when it happened; of work by hand when it was done, of everything else when it was recorded.
        inc: the incident that the entry belongs to; "" for an alert.
        source: what it is about.
        kind: of the entry.
        actor, via: who caused it, and through which door.
        run, step, target: where, or "".
        text: a sentence. It may hold what a target or a stranger said: show it as text, and as nothing else.
        entered_later: when it was recorded, where that is long after it was done.
    """

    seq: int
    at: datetime
    inc: str
    source: Source
    kind: str
    actor: str
    via: str
    run: str
    step: str
    target: str
    text: str
    entered_later: datetime | None = None

    def as_json(self) -> dict[str, JsonValue]:
        """The line for `--json`."""
        return {
            "seq": self.seq,
            "at": write_moment(self.at),
            "incident": self.inc,
            "source": self.source,
            "kind": self.kind,
            "actor": self.actor,
            "via": self.via,
            "run": self.run,
            "step": self.step,
            "target": self.target,
            "text": self.text,
            "entered_later": write_moment(self.entered_later) if self.entered_later else None,
        }


def timeline(home: Home, incident: str, *, after: int = 0) -> list[Line]:
    """Give what happened in an incident, in time order.

    Arguments:
        after: only what was recorded behind this entry, and the alerts that a rule behind it attached, which themselves
            came before.

    Returns:
        the lines; one of the kind `unreadable` for each entry that is not what was recorded.

    Raises:
        InputError: there is no such incident.
    """
    state = find_state(home, incident)
    return sorted(
        _lines(home, state, _entries(home, state.name, after)), key=lambda line: (line.at, line.seq)
    )


def _lines(home: Home, state: Incident, entries: Iterable[LogEntry | Unreadable]) -> Iterator[Line]:
    """Give the line of each entry; one that cannot be read stands where the one before it does."""
    words, last = Words(home), read_moment(state.opened_at)
    for entry in entries:
        if isinstance(entry, Unreadable):
            yield unreadable_line(entry, last, state.name)
            continue
        last = max(last, entry.ts)
        yield line_of(words, entry)


def _entries(home: Home, incident: str, after: int) -> Iterator[LogEntry | Unreadable]:
    """Give the entries of an incident, and the alerts that its rules heeded."""
    known: set[int] = set()
    for entry in home.store.readable(inc=incident, after=after):
        if not isinstance(entry, Unreadable) and isinstance(entry.body, RuleFired):
            for seq in entry.body.alerts:
                if seq not in known:
                    known.add(seq)
                    with suppress(LogError):
                        yield home.store.entry(seq)
        yield entry


def recorded(home: Home, incident: str, *, after: int, limit: int) -> list[Line]:
    """Give what was recorded behind an entry, in the order of the log; no more is read than is given.

    Arguments:
        after: only what was recorded behind this entry; of alerts, too, whichever rule attached them.
        limit: so many lines at most.

    Raises:
        InputError: there is no such incident.
    """
    state = find_state(home, incident)
    own, alerts = home.store.readable(inc=state.name, after=after), _attached(home, state.name, after)
    return [*_lines(home, state, islice(merge(own, alerts, key=_seq), limit))]


def _attached(home: Home, incident: str, after: int) -> Iterator[LogEntry]:
    """Give the alerts that rules attached to an incident, in order, behind an entry."""
    found: set[int] = set()
    with suppress(LogError):  # what cannot be read is told where it stands
        for entry in home.store.entries(inc=incident, kinds={Kind.RULE_FIRED}):
            found |= {*entry.body.alerts} if isinstance(entry.body, RuleFired) else set()
    for seq in sorted(seq for seq in found if seq > after):
        with suppress(LogError):
            yield home.store.entry(seq)


def _seq(entry: LogEntry | Unreadable) -> int:
    return entry.seq


def unreadable_line(entry: Unreadable, at: datetime, incident: str) -> Line:
    """Give the line of an entry that cannot be read, where it stands in the log."""
    return Line(entry.seq, at, incident, "other", "unreadable", "", "", "", "", "", entry.why)


def source_of(kind: Kind) -> Source:
    """Say what a line about an entry of a kind is about."""
    return _KINDS.get(kind) or _NOUNS.get(kind.value.split(".", 1)[0], "other")


def line_of(words: Words, entry: LogEntry) -> Line:
    """Give the line of an entry."""
    at, later = entry.ts, None
    if isinstance(entry.body, ManualReported):
        with suppress(ValueError):
            at = read_moment(entry.body.at)
            later = entry.ts if (entry.ts - at).total_seconds() >= 60 else None
    return Line(
        seq=entry.seq,
        at=at,
        inc=entry.inc,
        source=source_of(entry.kind),
        kind=entry.kind.value,
        actor=entry.actor.id,
        via=entry.actor.via,
        run=entry.run,
        step=entry.step,
        target=entry.target,
        text=words.of(entry),
        entered_later=later,
    )
