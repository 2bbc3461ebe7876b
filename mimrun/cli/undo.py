"""`mimrun undo`: the way back, shown before it is gone."""

from __future__ import annotations

import json
import sys

import typer
from rich.text import Text

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.launching import find_launcher
from mimrun.app.plans import require_secrets
from mimrun.app.runs import create_run, find_run
from mimrun.app.undo import left_standing, plan_undo
from mimrun.cli.driving import Wishes, drive
from mimrun.cli.options import AsOption, HomeOption, JsonOption, RunArgument, YesOption, command, settings_of
from mimrun.cli.plan_view import print_plan
from mimrun.cli.run import DirectOption, confirm_go
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import RefusedError


def undo(
    run: RunArgument = "latest",
    *,
    show: bool = typer.Option(False, "--show", help="Only show what would be taken back."),
    direct: DirectOption = False,
    yes: YesOption = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back what a run did: its undo actions in reverse order, from the state that was captured.

    The way back is a plan of its own, with its own digest, and a run of its own in the same incident.
    """
    settings = settings_of(home)
    with open_home(settings) as opened:
        identity = identify(opened.people(), claimed)
        summary = find_run(opened, run).summary
        plan, standing = plan_undo(opened, run), left_standing(opened, run)
        if as_json and show:
            print_json(
                {"digest": plan.digest, "plan": json.loads(plan.encode()), "left_standing": [*standing]}
            )
            return
        if not as_json:
            print_plan(console(), plan)
            for line in standing:
                console().print(Text(f"  stays as it is: {safe_line(line)}", "red"))
        if show:
            return
        require_secrets(plan)
        confirm_go(yes=yes)
        if plan_undo(opened, run).digest != plan.digest:
            raise RefusedError(f"{summary.run} has changed since you looked; look at the way back again")
        name = create_run(opened, plan, identity, incident=summary.incident, direct=direct)
        launcher = None if direct else find_launcher(settings)
        stay = not as_json and sys.stdout.isatty()
        code = drive(opened, name, Wishes(launcher, stay=stay, as_json=as_json))
    raise typer.Exit(code)


COMMANDS = {"undo": command("undo", undo, "mimrun undo run-7k2q --show", "mimrun undo latest")}
