"""`mimrun locks | unlock`: who holds what, and taking it from a run that cannot end."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.locks import list_locks, unlock
from mimrun.cli.options import AsOption, HomeOption, JsonOption, command, settings_of
from mimrun.cli.terminal import console, print_json, safe_line


def locks(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show every resource that a run holds: which run, why it keeps it, since when, and what to do.

    A run holds the locks that its runbook names and those of the hosts that it may change, from its start
    to its end: also while it waits, is in doubt, or has lost its worker.
    """
    with open_home(settings_of(home)) as opened:
        shown = list_locks(opened)
    if as_json:
        print_json([lock.as_json() for lock in shown])
        return
    if not shown:
        typer.echo("no run holds a lock")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("RESOURCE", "RUN", "INCIDENT", "BY", "SINCE (UTC)", "KEPT BECAUSE", "NEXT"):
        table.add_column(head, overflow="fold")
    for lock in shown:
        summary = lock.run.summary
        since = lock.holding.at[:19].replace("T", " ")
        who = (summary.run, summary.incident, safe_line(summary.launched_by), since)
        table.add_row(Text(safe_line(lock.resource), "bold"), *who, lock.why, Text(lock.next, "cyan"))
    console().print(table)


def unlock_resource(
    resource: Annotated[
        str, typer.Argument(metavar="RESOURCE", help="As `mimrun locks` shows it: host/db1, orders.")
    ],
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; a reviewer will read it.")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Also while a process executes the run that holds it.")
    ] = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a lock from a run that cannot end. Look first what that run may have left half done.

    Resuming, settling or cancelling the run is the better way, and frees its locks when it ends. The run
    begins no further change on this resource. Where its risk is high, two people are needed: the first
    one proposes, the second one does it.
    """
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        free = unlock(opened, identity, resource, reason, force=force)
    who = identity.person.id
    if as_json:
        print_json({"resource": resource, "free": free, "by": who})
    elif free:
        typer.echo(f"{who} took the lock {safe_line(resource)}; it is free")
    else:
        typer.echo(f"{who} proposed it; the risk is high, so a second person does it with the same command")


COMMANDS = {
    "locks": command("locks", locks, "mimrun locks", "mimrun locks --json"),
    "unlock": command(
        "unlock",
        unlock_resource,
        'mimrun unlock host/db1 --reason "its run is lost with the machine that executed it"',
    ),
}
