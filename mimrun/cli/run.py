"""`mimrun run | resume`: the commands of the responder."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mimrun.app.besides import as_wanted, besides
from mimrun.app.home import lay_home, open_home
from mimrun.app.identity import identify
from mimrun.app.killswitch import refuse_while_pulled
from mimrun.app.launching import find_launcher, wake
from mimrun.app.plans import prepare_plan, require_secrets
from mimrun.app.runs import check_launch, find_run, load_plan
from mimrun.app.stopping import goes_on, request_resume
from mimrun.cli.change_options import UnderOption
from mimrun.cli.driving import EXITS, Wishes, drive, follow
from mimrun.cli.launch import (
    BreakGlassOption,
    IncidentOption,
    PriorityOption,
    ask_for_run,
    follow_up,
    show_launch,
)
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
from mimrun.cli.patience import WaitForLocksOption, lock_patience
from mimrun.cli.terminal import ask
from mimrun.errors import InputError, LeaseError
from mimrun.run.record.transitions import TERMINAL, RunStatus
from mimrun.run.record.wish import Level

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
    incident: IncidentOption = None,
    direct: DirectOption = False,
    detach: DetachOption = False,
    wait_for_locks: WaitForLocksOption = None,
    break_glass: BreakGlassOption = None,
    priority: PriorityOption = None,
    change: UnderOption = None,
    yes: YesOption = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the plan of a runbook, ask, then execute it and follow it live.

    While you read the plan, Prefect wakes in the background. If it is not ready five seconds after the
    go, the run starts without it. At a gate the run waits in the log; this command stays and goes on
    when people have agreed (with --detach, --json or no terminal it ends with 3 instead). A resource that
    another run holds refuses it, unless you wait with --wait-for-locks. The first Ctrl-C asks, the second
    cancels the run, the third aborts it.
    """
    settings = settings_of(home)
    patience_ms = lock_patience(settings, wait_for_locks)
    lay_home(settings)
    with open_home(settings) as opened:
        opened.require_key()
        wanted = as_wanted(opened, claimed, incident, priority)
        plan = prepare_plan(opened, runbook, inputs or [], inventories or [])
        require_secrets(plan)
        check_launch(opened, plan, locks=not patience_ms)
        more = besides(opened, plan, wanted, change=change, break_glass=break_glass)
        launcher = None if direct else wake(settings)
        show_launch(opened, plan, more, as_json=as_json)
        confirm_go(yes=yes)
        name = ask_for_run(opened, plan, more, patience_ms, direct=direct, as_json=as_json)
        if not follow_up(opened, name, more, as_json=as_json):
            raise typer.Exit(EXITS[RunStatus.WAITING])
        stay = not (detach or as_json) and sys.stdout.isatty()
        wishes = Wishes(launcher, settings.engine_patience_ms, stay, as_json, lock_patience_ms=patience_ms)
        code = drive(opened, name, wishes)
    raise typer.Exit(code)


def resume(
    run: RunArgument = "latest",
    direct: DirectOption = False,
    detach: DetachOption = False,
    *,
    wait_for_locks: WaitForLocksOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a run where the log ends: after a pause, a crash, an approval or a settled doubt.

    Finished steps are not done again. A step that was under way is settled by what its effect class
    allows: repeated, probed, or put before a person.
    """
    settings = settings_of(home)
    patience_ms = lock_patience(settings, wait_for_locks)
    with open_home(settings) as opened:
        view = find_run(opened, run)
        name = view.summary.run
        if view.summary.status in TERMINAL:
            raise LeaseError(f"{name} is over already: {view.status}; nothing is left to do")
        opened.require_key()
        if view.summary.wish.level < Level.CANCEL:
            refuse_while_pulled(opened)
        paused = request_resume(opened, name, identify(opened.people(), claimed))
        if view.held and not paused:
            raise LeaseError(f"{name} is being executed; follow it with `mimrun status {name} --follow`")
        followed = paused and view.held and goes_on(opened, name)
        require_secrets(load_plan(opened, name))
        stay = not (detach or as_json) and sys.stdout.isatty()
        launcher = None if direct else find_launcher(settings)
        wishes = Wishes(launcher, stay=stay, as_json=as_json, lock_patience_ms=patience_ms)
        code = follow(opened, name, wishes) if followed else drive(opened, name, wishes)
    raise typer.Exit(code)


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
        "mimrun run service-restart service=api --wait-for-locks 10m",
    ),
    "resume": command(
        "resume", resume, "mimrun resume latest", "mimrun resume run-7k2q --wait-for-locks 10m"
    ),
}
