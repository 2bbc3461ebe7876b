"""A manual step as people are shown it: what is to be done, who does it since when, what is ticked, who has signed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.shown.text import safe, safe_line
from mimrun.app.shown.tone import Tone
from mimrun.log.kinds import ManualField, ManualRequested
from mimrun.log.moment import write_moment
from mimrun.run.record.manual_state import ManualState, ManualStatus, active_time
from mimrun.runbook.node import PlannedManual


def by_hand(node: PlannedManual) -> Iterator[str]:
    """Give what a person is to do, and who signs it."""
    yield from safe(node.instructions.strip()).split("\n")
    yield from (f"[ ] {safe_line(item)}" for item in node.checklist)
    if node.second:
        yield f"confirmed by another person ({node.second})"


def instructions_of(home: Home, state: ManualState) -> str:
    """Give what is to be done, as it was asked."""
    return (home.store.blob(home.store.entry(state.request), "instructions") or b"").decode().strip()


def fields_of(home: Home, state: ManualState) -> tuple[ManualField, ...]:
    """Give what a person leaves as evidence."""
    body = home.store.entry(state.request).body
    return body.fields if isinstance(body, ManualRequested) else ()


def evidence_lines(home: Home, state: ManualState) -> Iterator[str]:
    """Give what a person leaves as evidence, a line each."""
    for field in fields_of(home, state):
        yield f"{field.name} ({field.type}{'' if field.required else ', optional'})"


def standing(state: ManualState, now: datetime) -> Iterator[tuple[str, Tone]]:
    """Give who does it since when, and who has signed, a line each with its tone."""
    if state.status is ManualStatus.ASKED and state.reason:
        yield f"disputed: {safe_line(state.reason)}; it is to be done again", "danger"
    if state.holder and state.at_work_since is not None:
        yield f"{state.holder} does it since {_clock(state.at_work_since)}", "calm"
    elif state.holder and state.since is not None:
        yield f"handed to {state.holder} at {_clock(state.since)}, who has not taken it up", "care"
    elif state.status is ManualStatus.ASKED and state.since is not None:
        yield f"nobody has taken it up since {_clock(state.since)}", "care"
    if state.attested:
        how = "could not do it" if state.status is ManualStatus.FAILED else "attested it"
        took = active_time(state, now)
        yield f"{state.by} {how}" + (f", after {_span(took)} of work" if took else ""), "good"
    if state.status is ManualStatus.ATTESTED and state.second:
        yield f"another person ({state.second}) has to confirm it", "care"


def is_free(state: ManualState) -> bool:
    """Say whether nobody does it, and nobody was asked by name."""
    return state.status is ManualStatus.ASKED and not state.holder and state.since is not None


def manual_json(state: ManualState, now: datetime) -> dict[str, JsonValue]:
    """Give all of it for programs."""
    return {
        "status": state.status.value,
        "role": state.role,
        "holder": state.holder,
        "since": write_moment(state.since) if state.since else "",
        "checklist": [
            {"item": number, "text": item, "done": number in state.ticked}
            for number, item in enumerate(state.checklist, 1)
        ],
        "second": state.second,
        "attested": bool(state.attested),
        "by": state.by,
        "confirmed_by": state.confirmed_by,
        "reason": state.reason,
        "active_ms": int(active_time(state, now) / timedelta(milliseconds=1)),
    }


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _span(took: timedelta) -> str:
    seconds = int(took.total_seconds())
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"
