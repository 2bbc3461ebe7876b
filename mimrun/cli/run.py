"""`mimrun run | resume | cancel`: the commands of the responder."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from mimrun.app.decisions import request_cancel
from mimrun.app.execution import Verdict, execute_run
from mimrun.app.following import RESTING, Follower
from mimrun.app.home import Home, lay_home, open_home
from mimrun.app.identity import identify
from mimrun.app.launching import Launched, Launcher, find_launcher, hand_over, wake
from mimrun.app.plans import prepare_plan
from mimrun.app.runs import create_run, find_run, load_plan
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
from mimrun.cli.progress import Progress, recap_json
from mimrun.cli.status import print_needs
from mimrun.cli.terminal import console, print_json
from mimrun.errors import InputError
from mimrun.log.kinds import Kind
from mimrun.run.transitions import TERMINAL, RunStatus

DirectOption = Annotated[
    bool, typer.Option("--direct", help="Leave Prefect out: this process executes the run, at once.")
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Do not stay when the run waits for a person; end with 3.")
]

EXITS = {
    RunStatus.SUCCEEDED: 0,
    RunStatus.FAILED: 1,
    RunStatus.WAITING: 3,
    RunStatus.IN_DOUBT: 4,
    RunStatus.CANCELLED: 7,
}

_DECISIONS = frozenset({Kind.GATE_DECIDED, Kind.MANUAL_ATTESTED, Kind.RUN_CANCEL_REQUESTED})


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
    launcher = None if direct else wake(settings)
    with open_home(settings) as opened:
        identity = identify(opened.people(), claimed)
        plan = prepare_plan(opened, runbook, inputs or [], inventories or [])
        if not as_json:
            print_plan(console(), plan)
        confirm_go(yes=yes)
        name = create_run(opened, plan, identity, incident=incident, direct=direct)
        stay = not (detach or as_json) and sys.stdout.isatty()
        code = drive(opened, name, launcher, direct=direct, stay=stay, as_json=as_json)
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
        name = find_run(opened, run).summary.run
        launcher = None if direct else find_launcher(settings)
        ready = launcher is not None and launcher.ready()
        stay = not (detach or as_json) and sys.stdout.isatty()
        code = drive(opened, name, launcher if ready else None, direct=direct, stay=stay, as_json=as_json)
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


def confirm_go(*, yes: bool) -> None:
    """Ask for the go, unless it was given already.

    Raises:
        InputError: it was not given, and nobody is there to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("nobody is there to ask: give --yes to run without a question")
    typer.confirm("Go?", abort=True)


def drive(home: Home, run: str, launcher: Launcher | None, *, direct: bool, stay: bool, as_json: bool) -> int:
    """Have a run executed, show it, and stay with it for as long as somebody watches."""
    out = console(stderr=as_json)
    progress = Progress(out, {node.path: node.name for node in load_plan(home, run).walk()})
    follower = Follower(home, run)
    follower.catch_up()
    while True:
        patience = home.settings.engine_patience_ms
        launched = hand_over(launcher, run, direct=direct, patience_ms=patience if launcher else 0)
        refused = _follow(home, follower, progress, launched)
        if refused is not None:
            typer.echo(refused.detail, err=True)
            return refused.exit_code
        if not stay or not _wait_for_people(home, follower, progress, out):
            break
    return _conclude(home, follower, progress, as_json=as_json)


def _follow(home: Home, follower: Follower, progress: Progress, launched: Launched) -> Verdict | None:
    """Show a run until it rests. Gives a verdict only when this process was refused to execute it."""
    if launched.mode == "prefect":
        with _cancelling(home, follower.run):
            for seen in follower.until_rest():
                progress.show(seen)
        return None
    verdicts: list[Verdict] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            verdicts.append(execute_run(home.settings, follower.run, reason=launched.reason))
        except BaseException as exc:  # noqa: BLE001 - raised again below, in the thread that is watched
            errors.append(exc)

    worker = threading.Thread(target=work, name="executor")
    worker.start()
    with _cancelling(home, follower.run):
        for seen in follower.until_rest(worker.is_alive):
            progress.show(seen)
        worker.join()
    if errors:
        raise errors[0]
    return verdicts[0] if verdicts and verdicts[0].status == "refused" else None


@contextmanager
def _cancelling(home: Home, run: str) -> Iterator[None]:
    """The first Ctrl-C asks and cancels the run in order; the second leaves at once."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\n{run} goes on. Ctrl-C again leaves it alone.", err=True)
        if sys.stdin.isatty() and typer.confirm("Cancel the run when its step is finished?", err=True):
            request_cancel(home, run, identify(home.people(), None), "Ctrl-C at the keyboard")
            follower = Follower(home, run)
            for _ in follower.until_rest():
                pass
        raise


def _wait_for_people(home: Home, follower: Follower, progress: Progress, out: Console) -> bool:
    """Stay at a gate or a manual step until people have decided; says whether to go on."""
    if follower.state.status is not RunStatus.WAITING:
        return False
    print_needs(out, home, follower.run)
    with out.status("waiting for people; Ctrl-C leaves, the run stays"):
        while find_run(home, follower.run).summary.status is RunStatus.WAITING:
            for seen in follower.news(0.25):
                progress.show(seen)
                if seen.entry.kind in _DECISIONS:
                    return True
    # Somebody else goes on with it; there may be more to see.
    return find_run(home, follower.run).summary.status not in TERMINAL


def _conclude(home: Home, follower: Follower, progress: Progress, *, as_json: bool) -> int:
    state = follower.state
    if as_json:
        print_json(recap_json(state, interrupted=follower.interrupted))
    else:
        progress.recap(state)
        head = home.store.head()
        console().print(f"  log: {head.size} entries, root {head.root[:16]}", style="dim")
        print_needs(console(), home, follower.run)
    if state.status not in RESTING:
        typer.echo(f"{state.run} was interrupted; go on with: mimrun resume {state.run}", err=True)
        return 1
    return EXITS[state.status]


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
