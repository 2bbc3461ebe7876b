"""How a run that goes past its gates is shown: in red, until the change that tells why is settled."""

from __future__ import annotations

import typer
from rich.text import Text

from mimrun.app.breakglass.glass import GlassView, agree, glass_view
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.runs import find_run
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.run.record.breakglass import BrokenGlass, glass_of
from mimrun.runbook.node import PlannedGate
from mimrun.runbook.plan import Plan


def warn_of_broken_glass(plan: Plan) -> None:
    """Say on standard error which gates are about to be skipped."""
    out = console(stderr=True)
    gates = [node for node in plan.walk() if isinstance(node, PlannedGate)]
    out.print(Text("BREAK-GLASS: nobody's approval is waited for at", "bold red"))
    for gate in gates:
        out.print(Text(safe_line(f"  {gate.path}. {gate.name}"), "red"))
    out.print(Text("The log, the locks, the limits and the kill switch stay. A change must tell why.", "red"))


def break_the_glass(home: Home, run: str, identity: Identity, *, as_json: bool) -> bool:
    """Open the gates of a new run where one person may; says whether they are open."""
    glass = glass_of(home.store, run)
    if not glass.missing:
        glass = agree(home, run, identity)
        tell_opened(glass)
        return True
    if as_json:
        print_json({"run": run, "status": "created", "waits_on": "breakglass", "missing": glass.missing})
    else:
        typer.echo(f"{run} waits: another person must want it, too: mimrun breakglass agree {run}")
    return False


def tell_opened(glass: BrokenGlass) -> None:
    """Say on standard error that the gates are open, and what must follow."""
    due = glass.due_at[:16].replace("T", " ")
    words = f"BREAK-GLASS: the gates of {glass.run} are open; close {glass.change} until {due} UTC"
    console(stderr=True).print(Text(words, "bold red"))


def glass_line(view: GlassView) -> Text:
    """Give the line that says how a run's glass stands; red until it is settled."""
    glass = view.glass
    style = "dim" if view.settled else "bold red"
    return Text(safe_line(f"BREAK-GLASS by {glass.by}: {glass.reason}; {view.words}", 500), style)


def run_glass(home: Home, run: str) -> Text | None:
    """Give that line for a run; None where nobody touched its glass."""
    view = glass_view(home, find_run(home, run).summary.run)
    return glass_line(view) if view is not None else None
