"""Making the review of an incident from the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Final

from mimrun.app.home import Home
from mimrun.app.incident.timeline import Line, timeline
from mimrun.app.incident.view import find_state, with_alert
from mimrun.app.runs import load_plan
from mimrun.errors import MimrunError
from mimrun.incident.course_fold import course_of
from mimrun.incident.metrics import figures_of
from mimrun.incident.review import GAP, Event, Review, moment_of, with_gaps, without
from mimrun.incident.review_item import items_of
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind, StepOutcome

DETAILS: Final = frozenset(
    {
        Kind.PLAN_FROZEN,
        Kind.RUN_MODE,
        Kind.RUN_WAITING,
        Kind.STEP_INTENT,
        Kind.STEP_CAPTURED,
        Kind.STEP_COMPARED,
        Kind.STEP_PROBED,
        Kind.LOOP_EXPANDED,
        Kind.LOCK_TAKEN,
        Kind.LOCK_RELEASED,
        Kind.NOTICE_SENDING,
        Kind.CHANGE_READ,
        Kind.CHANGE_WRITING,
        Kind.SHELL_RECORDED,
        Kind.MANUAL_CHECKED,
        Kind.EXPORT_MADE,
    }
)
"""Kinds of entries that a review leaves out of its timeline unless somebody wants all of it."""
AFTERWARDS: Final = frozenset(
    {Kind.REVIEW_ITEM_OPENED, Kind.REVIEW_ITEM_CLOSED, Kind.REVIEW_PUBLISHED, Kind.INCIDENT_CLOSED}
)
"""What is done about an incident when it is over; it is not part of it."""


def make_review(home: Home, incident: str, *, gap: timedelta = GAP, full: bool = False) -> Review:
    """Give the review of an incident, as the log is now.

    Arguments:
        incident: its name, the beginning of it, or `latest`.
        gap: after so long without an entry the timeline says so.
        full: leave nothing out of the timeline.

    Raises:
        InputError: there is no such incident.
        TamperError: an entry is not what was recorded; `mimrun log verify` says more.
    """
    state = with_alert(home, find_state(home, incident))
    entries = [entry for entry in home.store.entries(inc=state.name) if entry.kind not in AFTERWARDS]
    course, now = course_of(entries, _names(home, entries)), home.clock()
    lines = [line for line in timeline(home, state.name) if line.kind not in AFTERWARDS]
    details = frozenset[int]() if full else frozenset(entry.seq for entry in entries if _is_detail(entry))
    every = with_gaps(
        [_event(line) for line in lines],
        gap,
        moment_of(state.clocks.resolved),
        since=moment_of(state.clocks.detected),
    )
    rows = without(every, details)
    texts = _texts(home, entries)
    return Review(
        incident=state,
        upto=max((entry.seq for entry in entries), default=state.opened),
        now=now,
        rows=tuple(rows),
        figures=figures_of(state.clocks, course, now),
        course=course,
        items=tuple(items_of(home.store, state.name)),
        assessed=texts.get(Kind.INCIDENT_ASSESSED, ""),
        resolved=texts.get(Kind.INCIDENT_RESOLVED, ""),
        left_out=len(every) - len(rows),
    )


def _is_detail(entry: LogEntry) -> bool:
    """Say whether an entry tells of how a step was done, and not of what came of it."""
    if isinstance(entry.body, StepOutcome):
        return entry.body.status == "ok"
    return entry.kind in DETAILS


def _event(line: Line) -> Event:
    return Event(line.seq, line.at, line.source, line.actor, line.text, line.entered_later)


def _names(home: Home, entries: Iterable[LogEntry]) -> Mapping[tuple[str, str], str]:
    """Give what the manual steps of runs are called, which only their plans say."""
    names: dict[tuple[str, str], str] = {}
    for run in {entry.run for entry in entries if entry.kind is Kind.MANUAL_REQUESTED}:
        # A plan that was erased takes the names along.
        with suppress(MimrunError):
            names |= {(run, node.path): node.name for node in load_plan(home, run).walk()}
    return names


def _texts(home: Home, entries: Iterable[LogEntry]) -> dict[Kind, str]:
    """Give what people wrote last, by what they wrote about."""
    found: dict[Kind, str] = {}
    for entry in entries:
        if entry.kind in (Kind.INCIDENT_ASSESSED, Kind.INCIDENT_RESOLVED):
            with suppress(MimrunError):
                text = (home.store.blob(entry, "text") or b"").decode("utf-8", "backslashreplace").strip()
                found[entry.kind] = text or found.get(entry.kind, "")
    return found
