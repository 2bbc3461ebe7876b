"""`mimrun undo`: the way back, shown before it is gone."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.text import Text

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.launching import find_launcher
from mimrun.app.plans import require_secrets
from mimrun.app.runs import find_run
from mimrun.app.undo import WayBackWishes, create_undo, left_standing, plan_undo, steps_only
from mimrun.cli.driving import Wishes, drive
from mimrun.cli.options import AsOption, HomeOption, JsonOption, RunArgument, YesOption, command, settings_of
from mimrun.cli.plan_view import print_plan
from mimrun.cli.run import DirectOption, confirm_go
from mimrun.cli.terminal import console, print_json, safe_line


def undo(
    run: RunArgument = "latest",
    *,
    steps: Annotated[
        list[str] | None,
        typer.Option(
            "--step", metavar="STEP", show_default=False, help="Only this step. May be given several times."
        ),
    ] = None,
    show: bool = typer.Option(False, "--show", help="Only show what would be taken back."),
    direct: DirectOption = False,
    yes: YesOption = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back what a run did: its undo actions in reverse order, from the state that was captured.

    The way back is a plan of its own, with its own digest, and a run of its own in the same incident. Where
    somebody has changed since what the run had changed, and where an undo fails, it asks a person and goes
    on with `mimrun resolve`. It ends with 1 when something was left standing.
    """
    settings = settings_of(home)
    with open_home(settings) as opened:
        identity = identify(opened.people(), claimed)
        forward = find_run(opened, run).summary.run
        wishes = WayBackWishes(steps_only(opened, forward, steps or []), direct)
        plan, standing = plan_undo(opened, forward, wishes.wanted), left_standing(opened, forward)
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
        name = create_undo(opened, forward, plan, identity, wishes)
        launcher = None if direct else find_launcher(settings)
        stay = not as_json and sys.stdout.isatty()
        code = drive(opened, name, Wishes(launcher, stay=stay, as_json=as_json))
    raise typer.Exit(code)


COMMANDS = {
    "undo": command(
        "undo", undo, "mimrun undo run-7k2q --show", "mimrun undo latest", "mimrun undo run-7k2q --step 3"
    )
}
