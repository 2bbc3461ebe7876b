"""How an incident looks on a terminal: in a list, and by itself with its stages, clocks and what is to be done next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mimrun.app.incident.closing import UNRESOLVED
from mimrun.app.incident.view import IncidentView
from mimrun.cli.terminal import safe_line
from mimrun.incident.incident import Clocks
from mimrun.incident.stage import MEANING, STAGES
from mimrun.log.moment import read_moment

PRIORITY_STYLE: Final = {"P1": "bold red", "P2": "red", "P3": "yellow"}
SEVERITY_STYLE: Final = {"SEV1": "bold white on red", "SEV2": "bold red", "SEV3": "yellow", "SEV4": "dim"}
STATUS_STYLE: Final = {"open": "bold yellow", "resolved": "green", "closed": "dim"}
_WIDE: Final = 110
"""Columns from which on a list also says when and by whom an incident was opened."""
_CLOCKS: Final = {
    "started": "it began",
    "detected": "it was noticed",
    "acknowledged": "a person took it up",
    "automated": "automation acted",
    "declared": "it was declared",
    "contained": "it was contained",
    "restored": "service was back",
    "resolved": "it was resolved",
    "closed": "it was closed",
}
_SAID: Final = {"event": "", "seen": "as somebody saw", "estimate": "an estimate"}


def print_list(out: Console, incidents: Sequence[IncidentView]) -> None:
    """Print a table of incidents; without what there is no room for."""
    wide = out.width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in ("INCIDENT", "SEV", "PRIO", "STANDS", *(("OPENED (UTC)", "BY") if wide else ()), "RUNS"):
        table.add_column(head, no_wrap=True)
    table.add_column("TITLE", overflow="fold", min_width=16)
    for one in incidents:
        busy = f" ({one.busy} not over)" if one.busy else ""
        opened = (one.opened_at[:16].replace("T", " "), Text(safe_line(one.opened_by, 20)))
        table.add_row(
            Text(one.name, "bold" if one.is_open else "dim"),
            severity(one),
            priority(one),
            stands(one),
            *(opened if wide else ()),
            f"{len(one.runs)}{busy}",
            Text(safe_line(one.title)),
        )
    out.print(table)


def priority(one: IncidentView) -> Text:
    """Give the priority that counts at gates, or what was assessed where nobody declared one."""
    declared = one.declared.priority
    if declared:
        return Text(declared, PRIORITY_STYLE.get(declared, ""))
    if one.state.priority:
        return Text(f"({one.state.priority})", PRIORITY_STYLE.get(one.state.priority, ""))
    return Text("none", "dim")


def severity(one: IncidentView) -> Text:
    """Give the severity, or that nobody said one."""
    found = one.state.severity
    return Text(found, SEVERITY_STYLE[found]) if found else Text("none", "dim")


def stands(one: IncidentView) -> Text:
    """Give where an incident stands: its stage while it is open, else that it is over."""
    state = one.state
    if one.is_quiet and state.status == "open":
        return Text("its runs went well", "dim")
    words = state.stage if state.status == "open" else state.status
    return Text(words, STATUS_STYLE[state.status])


def print_incident(
    out: Console, one: IncidentView, blocks: Sequence[str], who_may: str, steps: Sequence[str]
) -> None:
    """Print everything about an incident.

    Arguments:
        blocks: what keeps it from being closed.
        who_may: who may declare its priority.
        steps: the commands that come next.
    """
    state = one.state
    out.print(Text(one.name, "bold").append(f"  {safe_line(one.title)}"))
    opened = f"  opened {one.opened_at[:19].replace('T', ' ')} UTC by {safe_line(one.opened_by)}"
    again = f", reopened {state.reopened} x" if state.reopened else ""
    out.print(Text(opened + again, "dim"))
    out.print(_rail(one))
    for line in _about(one, who_may):
        out.print(line)
    if state.roles:
        out.print(Text("  roles", "bold"))
        for role, person in sorted(state.roles.items()):
            out.print(Text(f"    {role:<24}").append(safe_line(person)))
    _print_clocks(out, state.clocks, over=state.status != "open")
    _print_runs(out, one)
    for why in blocks:
        if not why.startswith(UNRESOLVED):
            out.print(Text(f"  cannot be closed: {safe_line(why, 400)}", "bold red"))
    for step in steps:
        out.print(Text("  next: ", "bold cyan").append(step, "cyan"))


def _print_runs(out: Console, one: IncidentView) -> None:
    if one.runs:
        out.print(Text("  runs", "bold"))
    for run in one.runs:
        who = "" if run.launched_by == one.opened_by else f"  by {safe_line(run.launched_by)}"
        line = Text(f"    {run.run}  ").append(f"{run.status.value:<10}", _run_style(run.status.value))
        out.print(line.append(f"  {safe_line(run.title)}").append(who, "dim"))


def _rail(one: IncidentView) -> Text:
    """Give the four stages in a line, with the one that it is in."""
    state, line = one.state, Text("  ")
    here = STAGES.index(state.stage)
    for number, stage in enumerate(STAGES):
        if number:
            line.append(" ─ ", "dim")
        if number < here or state.status == "closed":
            line.append(f"● {stage}", "green")
        elif number == here:
            line.append(f"◉ {stage}", "bold yellow" if state.status == "open" else "bold green")
        else:
            line.append(f"○ {stage}", "dim")
    return line.append(f"   {state.status}", STATUS_STYLE[state.status])


def _about(one: IncidentView, who_may: str) -> Iterator[Text]:
    state = one.state
    line = Text("  severity ").append_text(severity(one)).append(", priority ").append_text(priority(one))
    if one.declared.seq:
        line.append(f", declared by {safe_line(one.declared.by)}: {safe_line(one.declared.reason)}")
    elif state.priority:
        line.append(f", assessed and not declared; {safe_line(who_may)}", "yellow")
    yield line
    if state.assessed:
        about = [f"impact {state.impact}", f"urgency {state.urgency}", *state.services, *state.flags]
        yield Text(f"  {safe_line(', '.join(about))}")
    yield Text(f"  {state.stage}: {MEANING[state.stage]}", "dim")
    if state.uncontained:
        yield Text(f"  nothing had to be contained: {safe_line(state.uncontained)}")
    if state.how:
        cause = f", cause {safe_line(state.cause)}" if state.cause else ""
        yield Text(f"  resolved: {state.how.replace('_', ' ')}{cause}", "green")
    words = {"parent": "part of", "child": "with", "duplicate": "the same as", "record": "record"}
    for link in state.links:
        yield Text(f"  {words[link.relation]} {safe_line(link.to)}")


def _print_clocks(out: Console, clocks: Clocks, *, over: bool) -> None:
    """Print each moment, and how long after it was noticed that was."""
    out.print(Text("  clocks (UTC)", "bold"))
    zero = read_moment(clocks.detected.at) if clocks.detected else None
    for name, clock in clocks.items():
        line = Text(f"    {name:<14}")
        if not clock:
            if name == "automated" or (name in ("restored", "resolved", "closed") and not over):
                continue
            out.print(line.append("not known" if name in ("started", "detected") else "not yet", "dim"))
            continue
        at = read_moment(clock.at)
        line.append(f"{at:%Y-%m-%d %H:%M:%S}")
        line.append(f"  {_after(at - zero):>10}" if zero and name != "detected" else " " * 12, "cyan")
        said = f", {_SAID[clock.source]}" if _SAID.get(clock.source) else ""
        out.print(line.append(f"  {_CLOCKS[name]}{said} (entry {clock.seq})", "dim"))


def _after(span: timedelta) -> str:
    seconds = int(abs(span).total_seconds())
    hours, minutes = divmod(seconds // 60, 60)
    sign = "-" if span < timedelta() else "+"
    return f"{sign}{hours}:{minutes:02}:{seconds % 60:02}"


def _run_style(status: str) -> str:
    return {"succeeded": "green", "failed": "red", "running": "cyan", "waiting": "yellow"}.get(status, "dim")
