"""What a changed runbook came to on a record, on a page: what is said of many hosts alike is said once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from mimrun.replay.comparison import CallNote, Comparison

NAMED: Final = 12
"""So many hosts of a step are named."""
MOST: Final = 200
"""So many lines are shown; the command line has all of them."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What is to be known of the calls of a step.

    Arguments:
        title: what became of them.
        first: one of them: its step, action and why are those of all.
        hosts: the first of their hosts, each with its item where there is a loop.
        more: how many are not named.
    """

    title: str
    first: CallNote
    hosts: tuple[str, ...]
    more: int


def calls_of(found: Comparison) -> tuple[Calls, ...]:
    """Give what is to be known of calls, step by step."""
    if found.changes is None:
        return ()
    # Behind the place where nobody knows how it goes on, what was done then was not left out: it was not reached.
    unused = "not reached" if found.replayed.status == "unknown" else "not done any more"
    titles = {
        "unmatched": "nobody knows what comes of it",
        "substituted": "answered by another",
        "unused": unused,
    }
    return tuple(
        one for word, title in titles.items() for one in _together(title, getattr(found.changes, word))
    )


def _together(title: str, notes: tuple[CallNote, ...]) -> Iterator[Calls]:
    for _, alike in groupby(notes, key=lambda note: (note.step, note.action, note.why)):
        of_step = tuple(alike)
        names = tuple(
            f"{note.target or 'this machine'}{f', item {note.item}' if note.item else ''}" for note in of_step
        )
        yield Calls(title, of_step[0], names[:NAMED], max(len(names) - NAMED, 0))
