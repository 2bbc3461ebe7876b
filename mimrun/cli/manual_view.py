"""A manual step, for people: what is to be done, who does it since when, what is ticked, who has signed."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text

from mimrun.app.home import Home
from mimrun.app.manual_steps import PendingManual
from mimrun.app.shown.manual import evidence_lines, fields_of, instructions_of, is_free, standing
from mimrun.cli.terminal import safe, safe_line
from mimrun.cli.tone import STYLES
from mimrun.run.record.manual_state import ManualState


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
    how = ": mimrun claim" if is_free(state) else ""
    for said, tone in standing(state, home.clock()):
        out.print(Text(f"  {said}{how if said.startswith('nobody has taken') else ''}", STYLES[tone]))


def manual_command(home: Home, run: str, state: ManualState) -> str:
    """Give the command that answers a manual step."""
    if state.attested:
        return f"mimrun confirm {run}   or   mimrun dispute {run} --reason ..."
    if state.unticked:
        return f"mimrun check {run} {state.unticked[0]}"
    fields = fields_of(home, state)
    asked = (f"--file {f.name}=PATH" if f.type == "file" else f"-e {f.name}=..." for f in fields)
    return " ".join([f"mimrun attest {run}", *asked])
