"""The timeline of an incident on its page: what of it can be asked for, and how a place in it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, get_args

from mimrun.app.incident.pages import Place, Wanted
from mimrun.app.incident.timeline import Source
from mimrun.errors import InputError
from mimrun.log.kinds import Kind
from mimrun.log.moment import read_moment, write_moment

SHOWN: Final[Mapping[str, tuple[str, frozenset[Source]]]] = MappingProxyType(
    {
        "all": ("Everything", frozenset(get_args(Source))),
        "people": ("People", frozenset(("decision", "manual", "note", "incident"))),
        "decisions": ("Decisions", frozenset(("decision",))),
        "notes": ("Notes", frozenset(("note", "manual"))),
        "runs": ("Runs", frozenset(("run", "decision"))),
        "steps": ("Steps", frozenset(("step", "manual"))),
        "alerts": ("Alerts", frozenset(("alert", "rule"))),
        "messages": ("Messages", frozenset(("message",))),
        "changes": ("Changes", frozenset(("change",))),
    }
)
"""What of a timeline can be asked for: its name, and the sources that belong to it. Without any of it, its story is told."""

DETAILS: Final = frozenset(
    (
        *(Kind.PLAN_FROZEN, Kind.RUN_MODE, Kind.LOOP_EXPANDED, Kind.LOCK_TAKEN, Kind.LOCK_RELEASED),
        *(Kind.STEP_INTENT, Kind.STEP_OUTCOME, Kind.STEP_PROBED, Kind.STEP_EVIDENCE, Kind.STEP_VERIFIED),
        *(Kind.STEP_CAPTURED, Kind.STEP_COMPARED, Kind.SHELL_RECORDED, Kind.NOTICE_SENDING),
        *(Kind.CHANGE_READ, Kind.CHANGE_WRITING),
    )
)
"""Kinds that the story leaves out: what each host did, and what every step that is told was made of."""

SIGNS: Final[Mapping[Source, tuple[str, str]]] = MappingProxyType(
    {
        "alert": ("▲", "bad"),
        "rule": ("◆", "wait"),
        "run": ("▸", "busy"),
        "step": ("·", "calm"),
        "decision": ("✓", "good"),
        "manual": ("✚", "busy"),
        "note": ("✎", "calm"),
        "message": ("✉", "calm"),
        "incident": ("■", "doubt"),
        "change": ("§", "wait"),
        "other": ("·", "calm"),
    }
)
"""A sign and a tone for each source; the page says its name, too."""


def wanted_of(shown: str) -> Wanted:
    """Say which lines are asked for.

    Arguments:
        shown: one of `SHOWN`; "" for the story.

    Raises:
        InputError: there is no such thing to be asked for.
    """
    if not shown:
        return lambda kind, _: kind is None or kind not in DETAILS
    if shown not in SHOWN:
        raise InputError(f"a timeline cannot be asked for {shown!r}; it has {', '.join(SHOWN)}")
    sources = SHOWN[shown][1]
    return lambda _, source: source in sources


def write_place(place: Place | None) -> str:
    """Write a place for the address of a page; "" for none."""
    return f"{write_moment(place.at)},{place.seq},{place.end}" if place is not None else ""


def read_place(text: str) -> Place | None:
    """Read what `write_place` wrote.

    Raises:
        InputError: it wrote no such thing.
    """
    if not text:
        return None
    try:
        at, seq, end = text.split(",")
        return Place(read_moment(at), int(seq), int(end))
    except ValueError as exc:
        raise InputError(f"{text!r} is no place in a timeline; go back, and load the page again") from exc


def chips_of(path: str, shown: str) -> Sequence[tuple[str, str, bool]]:
    """Give the filters, as links."""
    story = (f"{path}#timeline", "The story", not shown)
    return [story, *((f"{path}?shown={key}#timeline", SHOWN[key][0], shown == key) for key in SHOWN)]
