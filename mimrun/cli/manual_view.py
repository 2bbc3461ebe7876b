"""A manual step, for people: what is to be done, who does it since when, what is ticked, who has signed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta

from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from mimrun.app.home import Home
from mimrun.app.manual_steps import PendingManual
from mimrun.cli.terminal import safe, safe_line
from mimrun.log.kinds import ManualRequested
from mimrun.log.moment import write_moment
from mimrun.run.manual_state import ManualState, ManualStatus, active_time
from mimrun.runbook.node import PlannedManual


def by_hand(node: PlannedManual) -> Iterator[str]:
    """Give what a person is to do, and who signs it."""
    yield from safe(node.instructions.strip()).split("\n")
    yield from (f"[ ] {safe_line(item)}" for item in node.checklist)
    if node.second:
        yield f"confirmed by another person ({node.second})"


def print_manual(out: Console, home: Home, pending: PendingManual) -> None:
    """Print what is to be done, and how it stands."""
    state = pending.state
    out.print(Text("  to do:", "bold"))
    for line in instructions_of(home, state).splitlines():
        for part in textwrap.wrap(safe(line), 96) or [""]:
            out.print(Text(f"    {part}"))
    for number, item in enumerate(state.checklist, 1):
        mark, style = ("x", "green") if number in state.ticked else (" ", "yellow")
        out.print(Text(f"    [{mark}] {number} {safe_line(item)}", style))
    for line in evidence_lines(home, state):
        out.print(Text(f"    leaves as evidence: {line}", "dim"))
    if state.second and not state.attested:
        out.print(Text(f"    is confirmed then by another person ({state.second})", "dim"))
    for said, style in standing(state, home.clock()):
        out.print(Text(f"  {said}", style))


def instructions_of(home: Home, state: ManualState) -> str:
    """Give what is to be done, as it was asked."""
    return (home.store.blob(home.store.entry(state.request), "instructions") or b"").decode().strip()


def evidence_lines(home: Home, state: ManualState) -> Iterator[str]:
    """Give what a person leaves as evidence, a line each."""
    body = home.store.entry(state.request).body
    if isinstance(body, ManualRequested):
        for field in body.fields:
            yield f"{field.name} ({field.type}{'' if field.required else ', optional'})"


def manual_command(home: Home, run: str, state: ManualState) -> str:
    """Give the command that answers a manual step."""
    if state.attested:
        return f"mimrun confirm {run}   or   mimrun dispute {run} --reason ..."
    if state.unticked:
        return f"mimrun check {run} {state.unticked[0]}"
    body = home.store.entry(state.request).body
    fields = body.fields if isinstance(body, ManualRequested) else ()
    asked = (f"--file {f.name}=PATH" if f.type == "file" else f"-e {f.name}=..." for f in fields)
    return " ".join([f"mimrun attest {run}", *asked])


def standing(state: ManualState, now: datetime) -> Iterator[tuple[str, str]]:
    """Give who does it since when, and who has signed, a line each with its style."""
    if state.status is ManualStatus.ASKED and state.reason:
        yield f"disputed: {safe_line(state.reason)}; it is to be done again", "red"
    if state.holder and state.at_work_since is not None:
        yield f"{state.holder} does it since {_clock(state.at_work_since)}", "blue"
    elif state.holder and state.since is not None:
        yield f"handed to {state.holder} at {_clock(state.since)}, who has not taken it up", "yellow"
    elif state.status is ManualStatus.ASKED and state.since is not None:
        yield f"nobody has taken it up since {_clock(state.since)}: mimrun claim", "yellow"
    if state.attested:
        how = "could not do it" if state.status is ManualStatus.FAILED else "attested it"
        took = active_time(state, now)
        yield f"{state.by} {how}" + (f", after {_span(took)} of work" if took else ""), "green"
    if state.status is ManualStatus.ATTESTED and state.second:
        yield f"another person ({state.second}) has to confirm it", "yellow"


def manual_json(state: ManualState, now: datetime) -> dict[str, JsonValue]:
    """Give the same for `--json`."""
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
