"""The timeline of an incident on its page: the newest first, a page at a time, and only what is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, get_args

from mimrun.app.incident.timeline import Line, Source
from mimrun.errors import InputError
from mimrun.log.kinds import Kind
from mimrun.log.moment import read_moment, write_moment

PAGE: Final = 200
"""So many lines are shown at once."""

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
    kind.value
    for kind in (
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


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines, the newest first.

    Arguments:
        earlier: names the place behind the last of them, to ask for those before; "" where there are none.
    """

    lines: tuple[Line, ...]
    earlier: str = ""


def page_of(lines: Iterable[Line], *, shown: str, before: str, seen: int) -> Page:
    """Give a page of a timeline.

    Arguments:
        lines: in the order of time.
        shown: what is asked for, of `SHOWN`; "" for the story.
        before: a place as `Page.earlier` names it; "" for the end.
        seen: only what was recorded up to this entry: what comes later is told as news.

    Raises:
        InputError: that is no place, or there is no such thing to be asked for.
    """
    sources, end = _sources(shown), _place(before)
    wanted = [
        line
        for line in lines
        if line.seq <= seen
        and (line.kind not in DETAILS if sources is None else line.source in sources)
        and (end is None or (line.at, line.seq) < end)
    ]
    last = wanted[-PAGE:]
    more = len(wanted) > len(last)
    return Page(tuple(reversed(last)), f"{write_moment(last[0].at)},{last[0].seq}" if more else "")


def _sources(shown: str) -> frozenset[Source] | None:
    if not shown:
        return None
    if shown not in SHOWN:
        raise InputError(f"a timeline cannot be asked for {shown!r}; it has {', '.join(SHOWN)}")
    return SHOWN[shown][1]


def _place(text: str) -> tuple[datetime, int] | None:
    if not text:
        return None
    at, _, seq = text.partition(",")
    try:
        return read_moment(at), int(seq)
    except ValueError as exc:
        raise InputError(f"{text!r} is no place in a timeline; go back, and load the page again") from exc


def chips_of(path: str, shown: str) -> Sequence[tuple[str, str, bool]]:
    """Give the filters, as links."""
    story = (f"{path}#timeline", "The story", not shown)
    return [story, *((f"{path}?shown={key}#timeline", SHOWN[key][0], shown == key) for key in SHOWN)]
