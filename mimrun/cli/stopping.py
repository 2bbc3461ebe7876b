"""`mimrun pause | cancel | abort`: three ways to stop a run, by how much of a hurry there is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from mimrun.app.execution import execute_run
from mimrun.app.home import Home, open_home
from mimrun.app.identity import identify
from mimrun.app.runs import RunView, find_run
from mimrun.app.stopping import await_rest, await_seen, kill_worker, request_stop
from mimrun.cli.driving import EXITS
from mimrun.cli.options import AsOption, HomeOption, JsonOption, RunArgument, command, settings_of
from mimrun.cli.status import can_be_undone, print_needs
from mimrun.cli.terminal import ask, console, print_json
from mimrun.cli.undo import undo
from mimrun.errors import LeaseError
from mimrun.run.hold.lease import Holder
from mimrun.run.record.transitions import TERMINAL, RunStatus
from mimrun.run.record.wish import Level

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; a reviewer will read it.")]

_REST_S: Final = {Level.PAUSE: 0.0, Level.CANCEL: 20.0, Level.ABORT: 6.0}
"""So long the command stays to see where the run is left."""

_UNDER_WAY: Final = {
    Level.PAUSE: "what is under way is finished first",
    Level.CANCEL: "what is under way is being ended where its connector can, and the log says what of that is proven",
    Level.ABORT: "it is being left as it is",
}


def pause(
    run: RunArgument = "latest",
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a run rest. What is under way finishes, no further target or step is begun.

    The run keeps its locks and waits until somebody resumes or cancels it; `mimrun resume RUN` goes on.
    """
    _stop(home, _Request(run, Level.PAUSE, reason, claimed), as_json=as_json)


def cancel(
    run: RunArgument = "latest",
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a run. Nothing new is begun; what is under way is ended, also where its worker is dead.

    A program here or over ssh, and a statement in PostgreSQL, are ended with proof; an HTTP request that was
    sent cannot be called back. Then the target is asked what happened; where it cannot say, the step is in
    doubt, a person must, and this ends with 4. What the run has done stays until `mimrun undo RUN`.
    """
    _stop(home, _Request(run, Level.CANCEL, reason, claimed), as_json=as_json)


def abort(
    run: RunArgument = "latest",
    reason: ReasonOption = "",
    *,
    kill_worker: Annotated[
        bool,
        typer.Option("--kill-worker", help="End the process that executes the run, where it does not react."),
    ] = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a run now, without waiting for any target. What is under way is left in doubt; this ends with 4 then.

    `mimrun cancel` is the better way wherever there are a few seconds. An answer that comes later is kept
    as evidence for whoever settles the doubt with `mimrun resolve`.
    """
    _stop(home, _Request(run, Level.ABORT, reason, claimed, kill=kill_worker), as_json=as_json)


class _Request:
    """What a person asked for."""

    def __init__(
        self, run: str, level: Level, reason: str, claimed: str | None, *, kill: bool = False
    ) -> None:
        self.run, self.level, self.reason, self.claimed, self.kill = run, level, reason, claimed, kill


def _stop(home: Path | None, request: _Request, *, as_json: bool) -> None:
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), request.claimed)
        asked = request_stop(opened, request.run, identity, request.level, request.reason)
        name = asked.view.summary.run
        frozen = await_seen(opened, asked)
        if frozen is not None:
            _unfreeze(opened, name, frozen, kill=request.kill)
        await_rest(opened, name, _REST_S[request.level])
        _take_effect(opened, name, request.level)
        now = find_run(opened, name)
        in_doubt = now.summary.status is RunStatus.IN_DOUBT and request.level > Level.PAUSE
        if as_json:
            print_json(now.as_json())
            raise typer.Exit(EXITS[RunStatus.IN_DOUBT] if in_doubt else 0)
        under_way = f"; {_UNDER_WAY[request.level]}" if now.held else ""
        typer.echo(f"{name}: {_standing(now)}{under_way}")
        print_needs(console(), opened, name)
        offer = _may_offer(opened, now)
    if in_doubt:
        raise typer.Exit(EXITS[RunStatus.IN_DOUBT])
    if offer and ask("Take back what it did? (shows first what that would do)"):
        undo(name, show=False, direct=False, yes=False, claimed=request.claimed, home=home, as_json=False)


def _take_effect(home: Home, run: str, level: Level) -> None:
    """Where nobody executes the run, settle what is open and end it; a pause settles what a dead worker left."""
    view = find_run(home, run)
    interrupted = view.summary.status is RunStatus.RUNNING
    if not view.held and view.summary.status not in TERMINAL and (level > Level.PAUSE or interrupted):
        execute_run(home.settings, run)


def _standing(view: RunView) -> str:
    level = view.summary.wish.level
    return f"{view.status}, {level.name.lower()} asked for" if level and view.held else view.status


def _unfreeze(home: Home, run: str, frozen: Holder, *, kill: bool) -> None:
    """Say that a worker does not react, or end it.

    Raises:
        LeaseError: it does not react, and nobody wants it ended.
    """
    state = "is stopped (SIGSTOP)" if frozen.is_stopped() else "does not react"
    if not kill:
        raise LeaseError(
            f"it is on record, but process {frozen.pid}, which executes {run}, {state}: it acts on it as soon as"
            f" it goes on (`kill -CONT {frozen.pid}`); or end it with `mimrun abort {run} --kill-worker`"
        )
    for other in kill_worker(home, run):
        typer.echo(
            f"{other} was executed by the same process and is interrupted: mimrun resume {other}", err=True
        )


def _may_offer(home: Home, view: RunView) -> bool:
    cancelled = view.summary.status is RunStatus.CANCELLED
    return cancelled and sys.stdin.isatty() and sys.stdout.isatty() and can_be_undone(home, view.summary.run)


COMMANDS = {
    "pause": command("pause", pause, 'mimrun pause run-7k2q --reason "the standby lags"'),
    "cancel": command("cancel", cancel, 'mimrun cancel run-7k2q --reason "wrong cluster"'),
    "abort": command("abort", abort, "mimrun abort latest", "mimrun abort run-7k2q --kill-worker"),
}
