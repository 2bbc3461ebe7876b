"""Parting: where today's code takes another course than the record, and what tells one decision from another."""

from __future__ import annotations

from dataclasses import dataclass

from mimrun.log import kinds
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import Kind
from mimrun.replay.difference import Difference


@dataclass(frozen=True, slots=True)
class Parting:
    """Where today's code takes another course.

    Arguments:
        recorded: the entry that stands there; None where none does.
        today: what today's code wants to write; None where it writes nothing.
        differences: what is different in an entry of the same kind.
        said: what today's code does instead, where it wants to write nothing; "" for nothing.
    """

    recorded: LogEntry | None
    today: Draft | None
    differences: tuple[Difference, ...] = ()
    said: str = ""


@dataclass(slots=True, eq=False)
class Wanting:
    """A thread that wants to write something.

    Arguments:
        place: of the next entry in the same lane; None where none is to come.
        fits: that entry is of the same kind.
        halted: people asked to stop, and this was not begun any more.
        heard: so many entries of others were on record when it asked last.
    """

    draft: Draft
    place: int | None = None
    fits: bool = False
    halted: bool = False
    heard: int = 0


def likeness(entry: LogEntry | Draft) -> tuple[Kind, str]:
    """Give what two entries have in common of which one may stand for the other."""
    on = entry.body.on if isinstance(entry.body, kinds.RunWaiting) else ""
    # Which of several reasons for a rest was noticed first is no decision.
    return entry.kind, "rest" if on in ("pause", "killswitch", "lock") else on


def ends_with_an_abort(intent: kinds.StepIntent, body: kinds.StepOutcome, *, doubted: bool) -> bool:
    """Say whether an abort ended an attempt, by what was recorded of it: a probe was not asked any further.

    Arguments:
        body: an outcome that nobody knows.
        doubted: a person was asked.
    """
    match intent.effect.value:
        case "idempotent":
            return doubted
        case "probe":
            return "; a probe " not in body.reason
        case _:
            return False
