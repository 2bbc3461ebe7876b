"""`mimrun run | resume | cancel`: the commands of the responder."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mimrun.app.decisions import request_cancel
from mimrun.app.execution import execute_run
from mimrun.app.home import lay_home, open_home
from mimrun.app.identity import identify
from mimrun.app.launching import find_launcher, wake
from mimrun.app.plans import prepare_plan, require_secrets
from mimrun.app.runs import create_run, find_run, load_plan, require_incident
from mimrun.cli.driving import EXITS, Wishes, drive
from mimrun.cli.options import (
    AsOption,
    HomeOption,
    InputsArgument,
    InventoryOption,
    JsonOption,
    RunArgument,
    RunbookArgument,
    YesOption,
    command,
    settings_of,
)
from mimrun.cli.plan_view import print_plan
from mimrun.cli.status import print_needs
from mimrun.cli.terminal import ask, console, print_json
from mimrun.errors import InputError, LeaseError
from mimrun.run.transitions import TERMINAL, RunStatus

DirectOption = Annotated[
    bool, typer.Option("--direct", help="Leave Prefect out: this process executes the run, at once.")
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Do not stay when the run waits for a person; end with 3.")
]


def run(
    runbook: RunbookArgument,
    inputs: InputsArgument = None,
    *,
    inventories: InventoryOption = None,
    incident: Annotated[
        str | None,
        typer.Option("--incident", metavar="INC", help="The incident it belongs to; else it opens one."),
    ] = None,
    direct: DirectOption = False,
    detach: DetachOption = False,
    yes: YesOption = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the plan of a runbook, ask, then execute it and follow it live.

    While you read the plan, Prefect wakes in the background. If it is not ready five seconds after the
    go, the run starts without it. At a gate the run waits in the log; this command stays and goes on
    when people have agreed (with --detach, --json or no terminal it ends with 3 instead).
    """
    settings = settings_of(home)
    lay_home(settings)
    with open_home(settings) as opened:
        identity = identify(opened.people(), claimed)
        plan = prepare_plan(opened, runbook, inputs or [], inventories or [])
        require_secrets(plan)
        if incident is not None:
            require_incident(opened, incident)
        launcher = None if direct else wake(settings)
        if not as_json:
            print_plan(console(), plan)
        confirm_go(yes=yes)
        name = create_run(opened, plan, identity, incident=incident, direct=direct)
        stay = not (detach or as_json) and sys.stdout.isatty()
        code = drive(opened, name, Wishes(launcher, settings.engine_patience_ms, stay, as_json))
    raise typer.Exit(code)


def resume(
    run: RunArgument = "latest",
    direct: DirectOption = False,
    detach: DetachOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a run where the log ends: after a crash, an approval or a settled doubt.

    Finished steps are not done again. A step that was under way is settled by what its effect class
    allows: repeated, probed, or put before a person.
    """
    settings = settings_of(home)
    with open_home(settings) as opened:
        view = find_run(opened, run)
        name = view.summary.run
        if view.summary.status in TERMINAL:
            raise LeaseError(f"{name} is over already: {view.status}; nothing is left to do")
        if view.held:
            raise LeaseError(f"{name} is being executed; follow it with `mimrun status {name} --follow`")
        require_secrets(load_plan(opened, name))
        stay = not (detach or as_json) and sys.stdout.isatty()
        launcher = None if direct else find_launcher(settings)
        code = drive(opened, name, Wishes(launcher, stay=stay, as_json=as_json))
    raise typer.Exit(code)


def cancel(
    run: RunArgument = "latest",
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; a reviewer will read it.")
    ] = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a run. The step that is under way is finished, nothing new is begun."""
    settings = settings_of(home)
    with open_home(settings) as opened:
        view = request_cancel(opened, run, identify(opened.people(), claimed), reason)
        name = view.summary.run
        if not view.held:
            execute_run(settings, name)
        now = find_run(opened, name)
        if as_json:
            print_json(now.as_json())
            return
        under_way = "; the step that is under way is finished first" if view.held else ""
        typer.echo(f"{name}: {now.status}{under_way}")
        print_needs(console(), opened, name)


def confirm_go(*, yes: bool) -> None:
    """Ask for the go, unless it was given already.

    Raises:
        InputError: it was not given, and nobody is there to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("nobody is there to ask: give --yes to run without a question")
    if not ask("Go?"):
        typer.echo("nothing was done", err=True)
        raise typer.Exit(EXITS[RunStatus.CANCELLED])


COMMANDS = {
    "run": command(
        "run",
        run,
        "mimrun run postgres-failover -i inventory.yaml cluster=orders",
        "mimrun run ./my-runbook.yaml -i hosts.ini --yes --json",
    ),
    "resume": command("resume", resume, "mimrun resume latest"),
    "cancel": command("cancel", cancel, 'mimrun cancel run-7k2q --reason "wrong cluster"'),
}
