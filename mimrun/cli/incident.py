"""`mimrun incident`: what incidents there are, how urgent each is, and its runs."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.incident.closing import blocks_closing
from mimrun.app.incident.view import IncidentView, find_incident, list_incidents
from mimrun.app.priority import prioritize, read_priority
from mimrun.cli.options import AsOption, HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.gate.policy import PRIORITIES

IncidentArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="INC", help="An incident's name, the beginning of it, or `latest`.")
]
_STYLE = {"P1": "bold red", "P2": "red", "P3": "yellow"}


def list_all(
    everything: Annotated[bool, typer.Option("--all", help="Sealed packs, too.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List incidents, the newest first: how urgent each is, and how many runs it has."""
    with open_home(settings_of(home)) as opened:
        shown = [one for one in list_incidents(opened) if everything or not one.is_pack]
    if as_json:
        print_json([one.as_json() for one in shown])
        return
    if not shown:
        typer.echo("the log has no incident; a run opens one")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("INCIDENT", "PRIORITY", "OPENED (UTC)", "BY", "RUNS", "TITLE"):
        table.add_column(head, overflow="fold")
    for one in shown:
        runs = f"{len(one.runs)}" + (f", {one.busy} not over" if one.busy else "")
        opened_at = one.opened_at[:19].replace("T", " ")
        table.add_row(
            Text(one.name, "bold"),
            _priority(one),
            opened_at,
            safe_line(one.opened_by),
            runs,
            safe_line(one.title),
        )
    console().print(table)


def show(incident: IncidentArgument = "latest", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show an incident: how urgent it is and who said so, its runs, and what keeps it from being closed."""
    with open_home(settings_of(home)) as opened:
        one = find_incident(opened, incident)
        blocks = blocks_closing(opened, one.name)
    if as_json:
        print_json({**one.as_json(), "blocks_closing": list(blocks)})
        return
    out = console()
    out.print(Text(one.name, "bold").append(f"  {safe_line(one.title)}"))
    out.print(Text(f"  opened {one.opened_at[:19].replace('T', ' ')} UTC by {safe_line(one.opened_by)}"))
    line = Text("  priority ").append(_priority(one))
    if one.declared.seq:
        line.append(f", declared by {safe_line(one.declared.by)}: {safe_line(one.declared.reason)}")
    out.print(line)
    for why in blocks:
        out.print(Text(f"  cannot be closed: {safe_line(why, 300)}", "bold red"))
    for run in one.runs:
        out.print(
            Text(f"  {run.run}  ", "bold").append(f"{run.status.value:<10}  {safe_line(run.title)}", "")
        )


def priority(
    incident: IncidentArgument,
    urgency: Annotated[str, typer.Argument(metavar="PRIORITY", help=f"One of {', '.join(PRIORITIES)}.")],
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; a reviewer will read it.")
    ] = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Declare how urgent an incident is. The policy says who may, and asks for more or less accordingly.

    Gates that ask for something else then are void, and are asked anew.
    """
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        name = find_incident(opened, incident).name
        wanted = read_priority(urgency)
        was = prioritize(opened, identity, name, wanted, reason)
    if as_json:
        print_json({"incident": name, "priority": wanted, "before": was.priority, "by": identity.person.id})
        return
    before = f" (before: {was.priority})" if was.priority else ""
    typer.echo(
        f"{name} is {wanted} from now on{before}; `mimrun policy explain RUN` says what its gates ask for"
    )


def _priority(one: IncidentView) -> Text:
    declared = one.declared.priority
    return Text(declared, _STYLE.get(declared, "")) if declared else Text("not declared", "dim")


COMMANDS = {
    "incident": group(
        "incident",
        "List and show incidents, and say how urgent one is.",
        {
            "list": (list_all, "mimrun incident list"),
            "show": (show, "mimrun incident show INC-20261122-7K2Q"),
            "priority": (
                priority,
                'mimrun incident priority INC-20261122-7K2Q P1 --reason "nobody can pay"',
            ),
        },
    )
}
