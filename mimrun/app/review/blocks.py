"""A review as sections of facts, tables and prose: one content for Markdown, HTML and the console.

Every text in here may be somebody else's. Whoever writes it somewhere makes it harmless there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from mimrun.incident.course import Automated, ByHand, Decision
from mimrun.incident.metrics import HAPPENED, Figure
from mimrun.incident.review import Event, Gap, Review, Row
from mimrun.log.moment import read_moment
from mimrun.runbook.duration import format_duration

DRILL: Final = "drill"
"""The flag of an incident that is only played."""
_SOURCES: Final = {"event": "recorded", "seen": "as somebody saw", "estimate": "an estimate", "": ""}
_STATES: Final = {"open": "to do", "done": "done", "dropped": "dropped"}
_HOW: Final = {"change_backed_out": "by taking a change back", "no_fault": "nothing was wrong"}


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with what stands for each."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Prose:
    """What somebody wrote, in their own words.

    Arguments:
        about: when they did, as a sentence goes on into it.
    """

    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head; a row with one cell goes over the whole width: it says that nothing was recorded.

    Arguments:
        empty: what stands there instead, where there is no row.
        dated: whether the first column is a moment.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = ""
    dated: bool = True


Block: TypeAlias = Facts | Prose | Table


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a review."""

    title: str
    blocks: tuple[Block, ...]


def title_of(review: Review) -> str:
    """Give the title of a review."""
    return f"Review of {review.incident.name}: {review.incident.title}"


def sections_of(review: Review) -> tuple[Section, ...]:
    """Give the sections of a review."""
    said = (("When it was assessed:", review.assessed), ("When it was resolved:", review.resolved))
    written = [Prose(about, text) for about, text in said if text]
    return (
        Section("In short", (Facts(tuple(_short(review))), *written)),
        Section("Figures", (_figures(review),)),
        Section("Moments", (_moments(review),)),
        Section("Action items", (_items(review),)),
        Section("Timeline", (_timeline(review),)),
        Section("Done by automation", (_automated(review),)),
        Section("Done by people", (_by_hand(review),)),
        Section("Decisions", (_decisions(review),)),
    )


def span(ms: int) -> str:
    """Say how long something took: no more exactly than anybody needs."""
    if 0 < ms < 1_000:
        return f"{ms}ms"
    if ms < 10_000:
        return f"{ms // 100 / 10:g}s"
    return format_duration(ms // 1_000 * 1_000)


def moment(at: datetime | None) -> str:
    """Say a moment in UTC; "" where there is none."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def figure_text(figure: Figure) -> str:
    """Say a figure; where it could not be reckoned, why."""
    if figure.value is None:
        return f"none: {figure.why}"
    if figure.unit != "share" or figure.of is None:
        return span(figure.value) if figure.unit == "ms" else str(figure.value)
    named = span if figure.name == "approval_share" else str
    return f"{round(100 * figure.value / figure.of)} % ({named(figure.value)} of {named(figure.of)})"


def _short(review: Review) -> Iterator[tuple[str, str]]:
    one = review.incident
    if DRILL in one.flags:
        yield "An exercise", "it counts in no figure over incidents"
    yield "Severity", ", ".join(filter(None, (one.severity, one.priority))) or "nobody assessed it"
    if one.services:
        yield "Services", ", ".join(one.services)
    if one.flags:
        yield "Marked as", ", ".join(one.flags)
    how = _HOW.get(one.how, one.how.replace("_", " "))
    yield "Stands", one.status + (f" ({how}{f': {one.cause}' if one.cause else ''})" if how else "")
    if one.uncontained:
        yield "Nothing was contained", one.uncontained
    yield "Opened", f"{moment(read_moment(one.opened_at))} by {one.opened_by}"
    for role, person in sorted(one.roles.items()):
        yield role.replace("_", " ").capitalize(), person
    for link in one.links:
        yield link.relation.capitalize(), link.to
    if one.reopened:
        yield "Reopened", f"{one.reopened} times" if one.reopened > 1 else "once"
    yield from _extent(review)


def _extent(review: Review) -> Iterator[tuple[str, str]]:
    runs = review.course.runs.values()
    yield "Runs", ", ".join(f"{run.run} ({run.status or 'not over'})" for run in runs) or "none"
    yield "Messages to people", str(len(review.course.messages))
    silent = sum(gap.ms for gap in review.gaps)
    if silent:
        yield "Nothing was recorded for", f"{span(silent)} in all; the timeline says when"
    if review.left_out:
        yield "Left out of the timeline", f"{review.left_out} details of steps"
    yield "Written from", f"the log up to entry {review.upto}; all times are UTC"


def _figures(review: Review) -> Table:
    rows = tuple(
        (figure.title, figure_text(figure), figure.formula, "; ".join(figure.notes))
        for figure in review.figures
    )
    return Table(("Figure", "Value", "Reckoned as", "Note"), rows, dated=False)


def _moments(review: Review) -> Table:
    rows = tuple(
        (
            _sentence(HAPPENED.get(name, "it was closed")),
            moment(read_moment(clock.at)),
            _SOURCES[clock.source],
        )
        for name, clock in review.incident.clocks.items()
        if clock and name != "closed"
    )
    return Table(("What", "When", "How it is known"), rows, "Nothing is known.", dated=False)


def _items(review: Review) -> Table:
    rows = tuple(
        (item.item, item.title, item.owner, item.due, _STATES[item.state], item.reason)
        for item in review.items
    )
    return Table(("Item", "What", "Who", "Until", "Stands", "Said"), rows, "None was agreed upon.")


def _timeline(review: Review) -> Table:
    rows = tuple(_row(row) for row in review.rows)
    return Table(("When", "Who", "About", "What happened"), rows, "Nothing was recorded.")


def _row(row: Row) -> tuple[str, ...]:
    if isinstance(row, Gap):
        return (f"Nothing was recorded for {span(row.ms)}",)
    return (moment(row.at), row.actor, row.source, _said(row))


def _said(event: Event) -> str:
    return f"{event.text} (entered at {moment(event.later)})" if event.later else event.text


def _automated(review: Review) -> Table:
    rows = tuple(_automated_row(step) for step in review.course.automated if step.status != "skipped")
    head = ("Began", "Run", "Step", "Action", "Targets", "Came out", "Took")
    return Table(head, rows, "Automation did nothing.")


def _automated_row(step: Automated) -> tuple[str, ...]:
    came = "changed" if step.status == "ok" and step.changed else step.status
    came = came or ("not over" if step.begun else "not done")
    took = _took(step.at, step.ended)
    return (moment(step.at), step.run, f"{step.step} {step.name}", step.action, str(step.targets), came, took)


def _by_hand(review: Review) -> Table:
    rows = tuple(_by_hand_row(work) for work in review.course.by_hand)
    head = ("Over", "Who", "What", "Where", "Came out", "Waited", "Worked")
    return Table(head, rows, "Nothing was done by hand.")


def _by_hand_row(work: ByHand) -> tuple[str, ...]:
    worked = work.active_ms if work.active_ms is not None else work.held_ms or None
    where = {
        "step": f"{work.run} step {work.step}",
        "shell": "in a shell",
        "reported": "outside of a runbook",
    }
    return (
        moment(work.done),
        work.who or "nobody yet",
        work.title,
        where[work.what],
        work.outcome or "not over",
        _took(work.asked, work.done),
        "not known" if worked is None else span(worked),
    )


def _decisions(review: Review) -> Table:
    rows = tuple(_decision_row(review, one) for one in review.course.decisions)
    head = ("Asked", "By", "About", "Came out", "Waited", "Who said what")
    return Table(head, rows, "Nothing was to be decided.")


def _decision_row(review: Review, one: Decision) -> tuple[str, ...]:
    votes = "; ".join(
        f"{vote.who}: {vote.decision}{f' as {vote.role}' if vote.role else ''}"
        f"{f' ({vote.reason})' if vote.reason else ''}"
        for vote in one.votes
    )
    place = f" ({one.run}{f' step {one.step}' if one.step else ''})" if one.run else ""
    waited = span(review.waited_ms(one)) + ("" if one.decided else ", until now")
    return (moment(one.asked), one.by, one.title + place, one.outcome or "not decided", waited, votes)


def _took(begin: datetime | None, end: datetime | None) -> str:
    if begin is None or end is None:
        return ""
    return span(max(0, int((end - begin).total_seconds() * 1000)))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
