"""`mimrun retry`: only what failed, only where it failed."""

from __future__ import annotations

import json
import sys

import typer

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.launching import find_launcher
from mimrun.app.plans import require_secrets
from mimrun.app.retry import create_retry, plan_retry
from mimrun.app.runs import find_run
from mimrun.cli.driving import Wishes, drive
from mimrun.cli.options import AsOption, HomeOption, JsonOption, RunArgument, YesOption, command, settings_of
from mimrun.cli.plan_view import print_plan
from mimrun.cli.run import DirectOption, confirm_go
from mimrun.cli.terminal import console, print_json


def retry(
    run: RunArgument = "latest",
    *,
    show: bool = typer.Option(False, "--show", help="Only show what would be done."),
    direct: DirectOption = False,
    yes: YesOption = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do what a run has left: the steps that failed, where they failed, and those that were never begun.

    It is a run of its own in the same incident, from the plan of the first, with its own gates. What the
    first run has done is not done again; readings are made again. Refused where nothing failed, where a
    step is in doubt, and where the run was repeated or taken back already.
    """
    settings = settings_of(home)
    with open_home(settings) as opened:
        identity = identify(opened.people(), claimed)
        first = find_run(opened, run).summary.run
        plan = plan_retry(opened, first)
        if as_json and show:
            print_json({"digest": plan.digest, "plan": json.loads(plan.encode())})
            return
        if not as_json:
            print_plan(console(), plan)
        if show:
            return
        require_secrets(plan)
        confirm_go(yes=yes)
        name = create_retry(opened, first, plan, identity, direct=direct)
        launcher = None if direct else find_launcher(settings)
        stay = not as_json and sys.stdout.isatty()
        code = drive(opened, name, Wishes(launcher, stay=stay, as_json=as_json))
    raise typer.Exit(code)


COMMANDS = {"retry": command("retry", retry, "mimrun retry latest", "mimrun retry run-7k2q --show")}
