"""One line that says what an entry is about, for people: in the timeline, and in formats with a field for them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from mimrun.log.entry import LogEntry
from mimrun.log.kinds import (
    Body,
    IncidentAssessed,
    IncidentAssigned,
    IncidentAttached,
    IncidentLinked,
    IncidentResolved,
    IncidentStaged,
    IncidentTimed,
    Kind,
    ManualChecked,
    ManualReported,
    ShellClosed,
    ShellOpened,
    ShellRecorded,
)
from mimrun.log.moment import read_moment

LENGTH: Final = 300
"""Characters of a sentence."""

_WHAT: Final = ("title", "name", "action", "runbook", "resource", "anchor", "to", "person", "ref", "what")
_CAME: Final = (
    *("status", "decision", "resolution", "outcome", "finding", "found", "mode", "on", "guard", "ended"),
    *("priority", "state"),
)
_TOLD: Final = (*_WHAT, *_CAME, "detail", "reason")
"""Texts of a body that are told, in this order, where the body has them and they are not empty."""
_SAID: Final = {
    "passed": ("passed", "did not pass"),
    "done": ("done", "not done"),
    "changed": ("changed", ""),
}
"""What is told where such a fact is true, and where it is not."""
_OF_INCIDENTS: Final = frozenset(
    {
        Kind.INCIDENT_ASSESSED,
        Kind.INCIDENT_ASSIGNED,
        Kind.INCIDENT_STAGED,
        Kind.INCIDENT_RESOLVED,
        Kind.INCIDENT_TIMED,
        Kind.INCIDENT_LINKED,
    }
)
_LATE: Final = timedelta(minutes=1)


def sentence_of(entry: LogEntry, said: str = "") -> str:
    """Give the line: the kind, the step and target, and the facts that say most. Not inert yet.

    Arguments:
        said: what a person wrote about it, from a blob of the entry, where that is at hand.
    """
    place = " ".join(part for part in (entry.run, entry.step and f"step {entry.step}") if part)
    place += f" on {entry.target}" if entry.target else ""
    facts = "; ".join(part for part in (*facts_of(entry), said) if part)
    text = ": ".join(
        part for part in (f"{entry.kind.value} by {entry.actor.id}", place.strip(), facts) if part
    )
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"


def facts_of(entry: LogEntry) -> list[str]:
    """Give what an entry says besides who, what and where, each in a few words; some may be empty."""
    match entry.body:
        case ManualReported() as body:
            at = _moment(body.at)
            return [body.title, f"done at {at:%Y-%m-%d %H:%M:%S}" if at else "", late_by(entry)]
        case ManualChecked() as body:
            return [f"item {body.item}", "done" if body.done else "not done"]
        case IncidentAttached() as body:
            kept = "" if body.kept else "only the digest is kept"
            return [body.name, body.media_type, f"{body.size} bytes", body.digest[:19], kept]
        case ShellOpened() as body:
            window = f"{body.columns}x{body.rows}"
            return [f"as {body.account} on {body.address}", window, body.reason]
        case ShellRecorded() as body:
            return [
                f"shell {body.shell}, piece {body.part}: {body.events} events until {_span(body.until_ms)}"
            ]
        case body if entry.kind in _OF_INCIDENTS:
            return _of_incident(body)
        case ShellClosed() as body:
            how = {"exit": f"exit {body.status}", "left": "the person left", "lost": "lost"}[body.ended]
            return [f"shell {body.shell}: {how} after {_span(body.dur_ms)}", body.reason]
        case body:
            flags = [
                words[not value]
                for name, words in _SAID.items()
                if isinstance(value := getattr(body, name, None), bool)
            ]
            texts = {name: str(value) for name in _TOLD if isinstance(value := getattr(body, name, ""), str)}
            why = texts.pop("reason")
            return [*texts.values(), *flags, why]


def _of_incident(body: Body) -> list[str]:
    """Give what somebody says of an incident, in a few words each."""
    match body:
        case IncidentAssessed():
            grades = [f"impact {body.impact}", f"urgency {body.urgency}"]
            return [body.severity, body.priority, *grades, *body.services, *body.flags, body.reason]
        case IncidentAssigned():
            return [body.role, body.person or "nobody"]
        case IncidentStaged():
            return [body.stage, f"shown by entry {body.verified}" if body.verified else "", body.reason]
        case IncidentResolved():
            return [body.how, body.cause, f"service back at {body.restored_at}" if body.restored_at else ""]
        case IncidentTimed():
            return [body.what, body.at, body.source, body.reason]
        case IncidentLinked():
            return [body.relation, body.to]
        case _:
            return []


def late_by(entry: LogEntry) -> str:
    """Say how much later than it was done something was recorded; "" where that is no later."""
    if not isinstance(entry.body, ManualReported):
        return ""
    at = _moment(entry.body.at)
    late = entry.ts - at if at else timedelta()
    if late < _LATE:
        return ""
    minutes = int(late.total_seconds()) // 60
    days, hours = divmod(minutes // 60, 24)
    if minutes < 120:
        span = f"{minutes} min"
    else:
        span = f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"
    return f"entered {span} later"


def _moment(text: str) -> datetime | None:
    """Read a moment; one that no calendar has is none."""
    try:
        return read_moment(text)
    except ValueError:
        return None


def _span(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"
