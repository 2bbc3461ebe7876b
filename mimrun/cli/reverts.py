"""`mimrun reverts`: what was done for a time only, and when it is taken back."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.presence import nobody_stays
from mimrun.app.reverts import OPEN, WAITING, RevertView, cancel_reverts, list_reverts
from mimrun.cli.options import AsOption, HomeOption, JsonOption, RunArgument, group, settings_of
from mimrun.cli.terminal import console, print_json, safe_line

STYLES = {
    "scheduled": "blue",
    "overdue": "bold red",
    "under_way": "bold blue",
    "tried": "bold magenta",
    "done": "green",
    "cancelled": "cyan",
}


def list_(
    everything: Annotated[
        bool, typer.Option("--all", help="Also what has been taken back, or stands for good.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was done for a time only, what is due next first."""
    settings = settings_of(home)
    with open_home(settings) as opened:
        views = [view for view in list_reverts(opened) if everything or view.status in OPEN]
    if as_json:
        print_json([view.as_json() for view in views])
        return
    if not views:
        typer.echo("nothing is to be taken back")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("DUE (UTC)", "STATUS", "RUN", "STEP", "ON", "BY"):
        table.add_column(head, overflow="fold")
    for view in views:
        revert = view.revert
        status = Text(view.status.value, STYLES[view.status])
        table.add_row(
            moment(view), status, revert.run, revert.step, safe_line(revert.target), view.by or revert.by
        )
    console().print(table)
    for why in dict.fromkeys(f"{view.by or view.revert.run}: {view.why}" for view in views if view.why):
        console().print(Text(safe_line(why, 500), "yellow"))
    if any(view.status in WAITING for view in views) and (alone := nobody_stays(settings)):
        console(stderr=True).print(Text(alone, "yellow"))


def moment(view: RevertView) -> str:
    """Give the moment at which something is due, for people."""
    return view.revert.due_at[:19].replace("T", " ")


def cancel(
    run: RunArgument,
    step: Annotated[
        str, typer.Argument(metavar="STEP", show_default=False, help="The step, as `mimrun status` has it.")
    ],
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why it stays; a reviewer will read it.")
    ] = "",
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="HOST", show_default=False, help="Only on this host."),
    ] = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let stand for good what a step did for a time only: nobody takes it back when its time is up."""
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        stays = cancel_reverts(opened, run, identity, step=step, target=target, reason=reason)
    if as_json:
        print_json([revert.model_dump(mode="json", exclude={"cancelled", "by"}) for revert in stays])
        return
    for revert in stays:
        typer.echo(safe_line(f"{revert.run}: step {revert.step} on {revert.target} stands for good"))


COMMANDS = {
    "reverts": group(
        "reverts",
        "What was done for a time only, and when it is taken back.",
        {
            "list": (list_, "mimrun reverts list --json"),
            "cancel": (cancel, 'mimrun reverts cancel run-7k2q 3 --reason "the new limit proved itself"'),
        },
    )
}
