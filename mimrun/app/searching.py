"""Searching the log: the newest entries first that somebody looks for, by what they belong to and by what they say.

A log may be long, so that a search looks at so many entries at a time, and says how far it has looked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from mimrun.app.home import Home
from mimrun.app.incident.sentence import Words
from mimrun.app.incident.view import find_state
from mimrun.app.runs import find_run
from mimrun.errors import InputError
from mimrun.log.chain import Unreadable
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.runbook.suggestion import suggest

PAGE: Final = 100
"""So many entries are found at a time."""
_FIRST: Final = 250
_WIDEST: Final = 4_000
_SPREAD: Final = 12
"""Places of the log that are looked at together: few at first, then twice as many each time, so many at most; and so
many times as many where only what belongs to a run or an incident is read of them."""
_WINDOWS: Final = 10
"""So many windows are looked at in one search."""


@dataclass(frozen=True, slots=True)
class Sought:
    """What somebody looks for; what is empty is all the same.

    Arguments:
        run, incident: by name, or the beginning of it.
        kind: of the entries, or the beginning of it with a dot at its end: `step.`.
        actor: who caused them.
        text: in what the entry says, whatever the case of its letters.
        before: only what is before this entry; 0 for the end of the log.
    """

    run: str = ""
    incident: str = ""
    kind: str = ""
    actor: str = ""
    text: str = ""
    before: int = 0

    @property
    def is_narrow(self) -> bool:
        """Say whether only some entries of the log are read at all."""
        return bool(self.run or self.incident)


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that was found.

    Arguments:
        entry: or why it cannot be read.
        sentence: what it says.
    """

    entry: LogEntry | Unreadable
    sentence: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found.

    Arguments:
        hits: the newest first.
        looked_from: it has looked at everything from this entry on, up to where it began.
        before: where to go on; 0 where the beginning of the log is reached.
    """

    hits: tuple[Hit, ...]
    looked_from: int
    before: int


def search_log(home: Home, sought: Sought, *, window: int = 0) -> Found:
    """Look for entries, from the newest back, until there are enough or enough was looked at.

    Arguments:
        window: so many places of the log are looked at together; 0 for what suits the search.

    Raises:
        InputError: there is no such run, incident or kind.
        StoreError: the log cannot be read.
    """
    run = find_run(home, sought.run).summary.run if sought.run else None
    incident = find_state(home, sought.incident).name if sought.incident else None
    _check_kind(sought.kind)
    size, spread = home.store.head().size, _SPREAD if sought.is_narrow else 1
    first, widest = (window, window) if window else (_FIRST * spread, _WIDEST * spread)
    end, window = min(sought.before or size + 1, size + 1), first
    hits: list[Hit] = []
    for _ in range(_WINDOWS):
        begin = max(end - window, 1)
        rows = home.store.readable(run=run, inc=incident, after=begin - 1)
        inside = list(_matching(home, takewhile(lambda one: one.seq < end, rows), sought))  # noqa: B023 - read at once
        hits += reversed(inside)
        end, window = begin, min(window * 2, widest)
        if len(hits) >= PAGE or end == 1:
            break
    shown = tuple(_told(home, hits[:PAGE]))
    if len(hits) > PAGE:
        last = hits[PAGE - 1].entry.seq
        return Found(shown, last, last)
    return Found(shown, end, end if end > 1 else 0)


def _told(home: Home, hits: list[Hit]) -> list[Hit]:
    """Give hits with what they say, where nobody had to read it to find them."""
    words = Words(home)
    told = [
        hit if hit.sentence or isinstance(hit.entry, Unreadable) else Hit(hit.entry, words.of(hit.entry))
        for hit in reversed(hits)
    ]
    return told[::-1]


def _check_kind(kind: str) -> None:
    if kind and not any(known.value == kind or _is_part(kind, known) for known in Kind):
        raise InputError(f"no entry is of kind {kind!r}; {suggest(kind, [known.value for known in Kind])}")


def _is_part(kind: str, known: Kind) -> bool:
    return kind.endswith(".") and known.value.startswith(kind)


def _matching(home: Home, rows: Iterator[LogEntry | Unreadable], sought: Sought) -> Iterator[Hit]:
    words, text = Words(home), sought.text.casefold()
    for entry in rows:
        if isinstance(entry, Unreadable):
            # What cannot be read may be what is looked for.
            yield Hit(entry, f"unreadable: {entry.why}")
            continue
        if sought.kind and not (entry.kind.value == sought.kind or _is_part(sought.kind, entry.kind)):
            continue
        if sought.actor and sought.actor.casefold() not in entry.actor.id.casefold():
            continue
        if not text:
            yield Hit(entry, "")
            continue
        sentence = words.of(entry)
        said = (entry.kind.value, entry.inc, entry.run, entry.target, entry.actor.id, sentence)
        if text in "\n".join(said).casefold():
            yield Hit(entry, sentence)
