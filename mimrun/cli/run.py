"""`mimrun run | resume`: the commands of the responder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

import typer

from mimrun.app.breakglass import ask_for
from mimrun.app.change_linking import find_record, link_change
from mimrun.app.explaining import Wanted, explain_plan
from mimrun.app.home import Home, lay_home, open_home
from mimrun.app.identity import identify
from mimrun.app.killswitch import refuse_while_pulled
from mimrun.app.launching import find_launcher, wake
from mimrun.app.plans import prepare_plan, require_secrets
from mimrun.app.policies import asks_at_launch
from mimrun.app.priority import priority_drafts, read_priority
from mimrun.app.runs import check_launch, create_run, find_run, load_plan, require_incident
from mimrun.app.stopping import SEEN_S, Asked, await_rest, await_seen, request_resume
from mimrun.cli.broken_glass import break_the_glass, warn_of_broken_glass
from mimrun.cli.change_options import UnderOption
from mimrun.cli.driving import EXITS, Wishes, drive, follow
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
from mimrun.cli.patience import WaitForLocksOption, lock_patience, when_free
from mimrun.cli.plan_view import print_plan
from mimrun.cli.policy import print_outlook
from mimrun.cli.revert_warning import warn_of_nobody
from mimrun.cli.terminal import ask, console
from mimrun.errors import InputError, LeaseError
from mimrun.log.entry import Draft
from mimrun.run.transitions import TERMINAL, RunStatus
from mimrun.run.wish import Level
from mimrun.runbook.plan import Plan

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
    wait_for_locks: WaitForLocksOption = None,
    break_glass: Annotated[
        str | None,
        typer.Option(
            "--break-glass",
            metavar="REASON",
            show_default=False,
            help="Go past the gates. Another person must want it too, or others are told; a change must tell why.",
        ),
    ] = None,
    priority: Annotated[
        str | None,
        typer.Option(
            "--priority",
            metavar="P1..P5",
            show_default=False,
            help="How urgent the incident is that the run opens; the policy says who may declare it.",
        ),
    ] = None,
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
        identity = identify(opened.people(), claimed)
        plan = prepare_plan(opened, runbook, inputs or [], inventories or [])
        require_secrets(plan)
        record = find_record(opened, change) if change else None
        if incident is not None:
            require_incident(opened, incident)
        check_launch(opened, plan, locks=not patience_ms)
        urgency = None if priority is None else read_priority(priority)
        wanted = Wanted(identity, incident or "", urgency)
        declared = _declared(opened, plan, wanted)
        glass = None if break_glass is None else ask_for(opened, plan, identity, break_glass)
        launcher = None if direct else wake(settings)
        _show(opened, plan, wanted, as_json=as_json)
        if glass is not None:
            warn_of_broken_glass(plan)
        confirm_go(yes=yes)
        name = when_free(
            lambda: create_run(
                opened, plan, identity, incident=incident, direct=direct, more=_both(declared, glass)
            ),
            patience_ms,
            console(stderr=as_json),
        )
        if record is not None:
            link_change(opened, name, record, identity)
        if glass is not None and not break_the_glass(opened, name, identity, as_json=as_json):
            raise typer.Exit(EXITS[RunStatus.WAITING])
        stay = not (detach or as_json) and sys.stdout.isatty()
        wishes = Wishes(launcher, settings.engine_patience_ms, stay, as_json, lock_patience_ms=patience_ms)
        code = drive(opened, name, wishes)
    raise typer.Exit(code)


More: TypeAlias = Callable[[str, str], Sequence[Draft]]


def _declared(home: Home, plan: Plan, wanted: Wanted) -> More | None:
    """Give what declares how urgent the incident is that a run opens."""
    if wanted.priority is None:
        return None
    if wanted.incident:
        cure = f"`mimrun incident priority {wanted.incident} {wanted.priority} --reason …` declares it"
        raise InputError(f"{wanted.incident} is open already: {cure}")
    reason = f"at the launch of {plan.runbook.name}@{plan.runbook.version}"
    return priority_drafts(home, wanted.identity, wanted.priority, reason)


def _both(first: More | None, second: More | None) -> More | None:
    if first is None or second is None:
        return first or second
    return lambda incident, run: [*first(incident, run), *second(incident, run)]


def _show(home: Home, plan: Plan, wanted: Wanted, *, as_json: bool) -> None:
    if not as_json:
        print_plan(console(), plan)
        if asks_at_launch(home.settings):
            print_outlook(console(), explain_plan(home, plan, wanted))
    warn_of_nobody(home.settings, plan)


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
        goes_on = paused and view.held and _goes_on(opened, name)
        require_secrets(load_plan(opened, name))
        stay = not (detach or as_json) and sys.stdout.isatty()
        launcher = None if direct else find_launcher(settings)
        wishes = Wishes(launcher, stay=stay, as_json=as_json, lock_patience_ms=patience_ms)
        code = follow(opened, name, wishes) if goes_on else drive(opened, name, wishes)
    raise typer.Exit(code)


def _goes_on(home: Home, run: str) -> bool:
    """Say whether a worker goes on with a run whose pause was taken back; else it had come to rest before."""
    await_seen(home, Asked(find_run(home, run), home.store.head().size))
    if find_run(home, run).summary.status is RunStatus.WAITING:
        await_rest(home, run, SEEN_S)
        return False
    return True


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
