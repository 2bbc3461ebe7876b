"""The figures of an incident: how long each part of it took, and how much of it people had to do. Pure.

A figure that cannot be reckoned is None and says why; it is never 0 for that. Every duration is a whole number of
milliseconds, and every share two whole numbers, so that two people who reckon get the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from pydantic import JsonValue

from mimrun.incident.course import Automated, ByHand, Course
from mimrun.incident.incident import Clock, Clocks
from mimrun.log.moment import read_moment, write_moment
from mimrun.runbook.duration import format_duration

Interval: TypeAlias = tuple[datetime, datetime]

HAPPENED: Final = {
    "started": "it began",
    "detected": "it was noticed",
    "acknowledged": "a person took it up",
    "automated": "automation acted",
    "declared": "it was declared",
    "assembled": "somebody led it and somebody who can mend it was there",
    "first_message": "the first message went out",
    "contained": "it was contained",
    "restored": "service was back",
    "resolved": "it was resolved",
}
"""What each moment is, as a sentence goes on."""
_SAYABLE: Final = frozenset({"started", "detected", "acknowledged", "restored"})
"""Moments that somebody may say afterwards, with `mimrun incident time`."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Arguments:
        name: as machines know it: `mttr_restore`.
        title: as people do.
        formula: what it is reckoned from.
        unit: milliseconds; a share of `of`; or so many.
        value: None where it cannot be reckoned.
        of: what the value is a share of.
        why: why it cannot be reckoned, or "".
        notes: what whoever reads it must know.
    """

    name: str
    title: str
    formula: str
    unit: Literal["ms", "share", "count"] = "ms"
    value: int | None = None
    of: int | None = None
    why: str = ""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, JsonValue]:
        """The figure for `--json`."""
        return {
            "name": self.name,
            "title": self.title,
            "formula": self.formula,
            "unit": self.unit,
            "value": self.value,
            "of": self.of,
            "why": self.why,
            "notes": list(self.notes),
        }


def figures_of(clocks: Clocks, course: Course, now: datetime) -> tuple[Figure, ...]:
    """Give every figure of an incident.

    Arguments:
        clocks: when things happened.
        course: what happened.
        now: until when is reckoned what is not over.
    """
    known = {
        **dict(clocks.items()),
        "assembled": _event(course.assembled),
        "first_message": _event(min((message.at for message in course.messages), default=None)),
    }
    times = [
        _between(known, name, title, begin, end)
        for name, title, end, begin in (
            ("mttd", "Time to detect (MTTD)", "detected", "started"),
            ("mtta", "Time to acknowledge (MTTA)", "acknowledged", "detected"),
            ("mtta_automated", "Time until automation acted", "automated", "detected"),
            ("time_to_declare", "Time to declare", "declared", "detected"),
            ("time_to_assemble", "Time to assemble", "assembled", "declared"),
            ("time_to_first_message", "Time to first message", "first_message", "declared"),
            ("mttc", "Time to contain (MTTC)", "contained", "detected"),
            ("mttc_declared", "Time to contain, once declared", "contained", "declared"),
            ("mttr_restore", "Time to restore (MTTR)", "restored", "detected"),
            ("mttr_resolve", "Time to resolve", "resolved", "detected"),
            ("downtime", "Downtime", "restored", "started"),
        )
    ]
    return (*times, *_waits(known, course, now), *_work(course), *_runs(course))


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Give the same time as intervals that neither overlap nor touch, in order; empty ones are left out."""
    found: list[Interval] = []
    for begin, end in sorted(intervals):
        if end <= begin:
            continue
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def total_ms(intervals: Iterable[Interval]) -> int:
    """Give how long intervals are together; time in which several run counts once."""
    return sum(_ms(end - begin) for begin, end in merged(intervals))


def clipped(intervals: Iterable[Interval], within: Interval) -> list[Interval]:
    """Give the part of intervals that lies within another one."""
    begin, end = within
    return merged((max(one, begin), min(other, end)) for one, other in intervals)


def _event(moment: datetime | None) -> Clock:
    return Clock() if moment is None else Clock(at=write_moment(moment), source="event")


def _between(known: dict[str, Clock], name: str, title: str, begin: str, end: str) -> Figure:
    figure = Figure(name, title, f"{end.replace('_', ' ')} - {begin.replace('_', ' ')}")
    for what in (begin, end):
        if not known[what]:
            cure = "; `mimrun incident time` says it" if what in _SAYABLE else ""
            return _with(figure, why=f"nobody recorded when {HAPPENED[what]}{cure}")
    first, last = (read_moment(known[what].at) for what in (begin, end))
    if last < first:
        early = format_duration(_ms(first - last))
        return _with(figure, why=f"{HAPPENED[end]} before {HAPPENED[begin]}, by {early}")
    guessed = [HAPPENED[what] for what in (begin, end) if known[what].source == "estimate"]
    notes = tuple(f"when {what} is an estimate" for what in guessed)
    return _with(figure, value=_ms(last - first), notes=notes)


def _waits(known: dict[str, Clock], course: Course, now: datetime) -> list[Figure]:
    """Give how long people were waited for at gates, in all and as a share of the time until it was contained."""
    gates = [one for one in course.decisions if one.what == "gate"]
    open_ = sum(gate.decided is None for gate in gates)
    intervals = [(gate.asked, gate.decided or now) for gate in gates]
    notes = (
        f"{open_} of them is still waited for" if open_ == 1 else f"{open_} of them are still waited for",
    )
    wait = Figure(
        "approval_wait",
        "Waiting for approvals",
        "sum of (decided - requested) over gates, overlaps counted once",
        value=total_ms(intervals),
        notes=notes if open_ else () if gates else ("no gate was reached",),
    )
    share = Figure("approval_share", "Its share of the time to contain", "waiting within it / MTTC", "share")
    begin, end = known["detected"], known["contained"]
    if not begin or not end:
        return [wait, _with(share, why="there is no time to contain")]
    within = (read_moment(begin.at), read_moment(end.at))
    if within[1] <= within[0]:
        return [wait, _with(share, why="there is no time to contain")]
    waited = total_ms(clipped(intervals, within))
    return [wait, _with(share, value=waited, of=_ms(within[1] - within[0]))]


def _work(course: Course) -> list[Figure]:
    """Give how much was done by automation, and how long people worked."""
    automated = [step for step in course.automated if step.executed]
    by_hand = [work for work in course.by_hand if work.what == "step" and work.outcome]
    rate = Figure(
        "automation_rate", "Automation rate", "automated steps that are ok / executed steps", "share"
    )
    weighted = Figure(
        "automation_rate_by_target",
        "Automation rate by target",
        "the same, each step as often as it has targets",
        "share",
    )
    if not automated and not by_hand:
        return [*(_with(one, why="no step was executed") for one in (rate, weighted)), *_toil(course)]
    good = [step for step in automated if step.status == "ok"]
    return [
        _with(rate, value=len(good), of=len(automated) + len(by_hand)),
        _with(weighted, value=_targets(good), of=_targets(automated) + len(by_hand)),
        *_toil(course),
    ]


def _targets(steps: Sequence[Automated]) -> int:
    return sum(step.targets for step in steps)


def _toil(course: Course) -> list[Figure]:
    steps = [work for work in course.by_hand if work.what == "step" and work.outcome]
    toil = Figure(
        "toil", "Work in manual steps", "sum of active time; where nobody said it, that from claim to end"
    )
    shells = [work.active_ms for work in course.by_hand if work.what == "shell"]
    shell = Figure(
        "shells",
        "Time in shells",
        "sum of (closed - opened)",
        value=sum(ms for ms in shells if ms is not None),
        notes=("one that nobody closed is not counted",) if None in shells else (),
    )
    known = [ms for work in steps if (ms := _active(work)) is not None]
    if steps and not known:
        return [_with(toil, why="nobody said how long it took, and nobody claimed a step"), shell]
    notes = []
    if reckoned := sum(work.active_ms is None and bool(work.held_ms) for work in steps):
        notes.append(f"of {reckoned} it is the time from claim to end")
    if missing := len(steps) - len(known):
        notes.append(f"of {missing} nobody knows how long it took")
    if open_ := sum(work.what == "step" and not work.outcome for work in course.by_hand):
        notes.append(f"{open_} not over")
    if reported := sum(work.what == "reported" for work in course.by_hand):
        notes.append(f"what was reported besides ({reported}) says no time")
    return [_with(toil, value=sum(known), notes=tuple(notes)), shell]


def _active(work: ByHand) -> int | None:
    return work.active_ms if work.active_ms is not None else work.held_ms or None


def _runs(course: Course) -> list[Figure]:
    runs = list(course.runs.values())
    ended = [run for run in runs if run.status]
    success = Figure("runbook_success", "Runs that succeeded", "succeeded / ended", "share")
    bypass = Figure(
        "gate_bypass", "Runs past their gates", "break-glass and overridden freezes / runs", "share"
    )
    automatic = Figure(
        "automatic_runs", "Runs that no person launched", "launched by rules and timers / runs", "share"
    )
    if not runs:
        return [_with(one, why="there was no run") for one in (success, bypass, automatic)]
    return [
        _with(success, value=sum(run.status == "succeeded" for run in ended), of=len(ended))
        if ended
        else _with(success, why="no run is over"),
        _with(bypass, value=sum(bool(run.bypass) for run in runs), of=len(runs)),
        _with(automatic, value=sum(run.automatic for run in runs), of=len(runs)),
    ]


def _with(
    figure: Figure,
    *,
    value: int | None = None,
    of: int | None = None,
    why: str = "",
    notes: tuple[str, ...] = (),
) -> Figure:
    return Figure(figure.name, figure.title, figure.formula, figure.unit, value, of, why, notes)


def _ms(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)
