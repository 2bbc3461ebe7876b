"""`mimrun replay`: a run told again, decided again by today's code, or tried with a changed runbook."""

from __future__ import annotations

import time
from typing import Annotated, TypeAlias

import typer

from mimrun.app.replaying import Given, against, narrate, open_record, redecide
from mimrun.cli.comparison_view import print_comparison
from mimrun.cli.options import (
    HomeOption,
    InputsArgument,
    InventoryOption,
    JsonOption,
    RunArgument,
    command,
    settings_of,
)
from mimrun.cli.replay_view import NarrationView
from mimrun.cli.terminal import console, print_json
from mimrun.errors import InputError
from mimrun.replay.comparison import Comparison
from mimrun.replay.narration import Narration

AgainOption: TypeAlias = Annotated[
    bool, typer.Option("--redecide", help="Let today's code decide it again over the recorded answers.")
]
AgainstOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="RUNBOOK",
        help="Try another runbook on the recorded answers: a file, a name or name@version.",
    ),
]
ApprovedOption: TypeAlias = Annotated[
    bool, typer.Option("--assume-approved", help="Go on at gates that nobody decided in the record; said so.")
]
ArgumentsOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--any-arguments",
        help="Answer a step whose arguments changed by what was said to it then; each is listed.",
    ),
]
SpeedOption: TypeAlias = Annotated[
    float | None,
    typer.Option("--speed", metavar="N", min=0.001, help="Tell it in time, N times as fast as it was."),
]
AllOption: TypeAlias = Annotated[
    bool, typer.Option("--all", help="Tell every entry, also what is of little news.")
]


def replay(
    run: RunArgument,
    inputs: InputsArgument = None,
    *,
    again: AgainOption = False,
    runbook: AgainstOption = None,
    inventory: InventoryOption = None,
    assume_approved: ApprovedOption = False,
    any_arguments: ArgumentsOption = False,
    speed: SpeedOption = None,
    every: AllOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell a run again, or see whether it would come to the same again. Nothing outside is touched.

    Without more it tells the timeline of the run: what was done where, who waited for whom, and who decided what.
    With --redecide today's code decides the run again, with the answers, clock and decisions of the record; with
    --against a changed runbook does. Both end with 0 where it comes to the same, with 1 where it does not, and with 5
    where the record does not have any more what would be needed to tell. No connector is loaded, and nothing is
    written.
    """
    _refuse_what_does_not_fit(
        runbook, inputs, inventory, again=again, options=assume_approved or any_arguments
    )
    with open_record(settings_of(home)) as opened:
        if runbook is not None:
            allowed = {"assume_approved": assume_approved, "any_arguments": any_arguments}
            given = Given(tuple(inputs or ()), tuple(inventory or ()))
            _end(against(opened, run, runbook, given, **allowed), as_json=as_json)
        if again:
            _end(redecide(opened, run), as_json=as_json)
        narration = narrate(opened, run)
    _tell(narration, speed, every=every, as_json=as_json)


def _refuse_what_does_not_fit(
    runbook: str | None, inputs: object, inventory: object, *, again: bool, options: bool
) -> None:
    if runbook is not None and again:
        raise InputError(
            "--redecide decides with the recorded plan, and --against with another; give one of them"
        )
    if runbook is None and (inputs or inventory or options):
        raise InputError("inputs, -i, --assume-approved and --any-arguments belong to --against RUNBOOK")


def _end(comparison: Comparison, *, as_json: bool) -> None:
    """Print what a replay came to, and end with its code."""
    if as_json:
        print_json(comparison.as_json())
    else:
        print_comparison(console(), comparison)
    raise typer.Exit(comparison.exit_code)


def _tell(narration: Narration, speed: float | None, *, every: bool, as_json: bool) -> None:
    """Print a narration at once, or in time."""
    if as_json:
        print_json(narration.as_json())
        return
    view = NarrationView(console(), narration, every=every)
    view.head()
    last = 0
    for frame in narration.frames:
        if speed is not None:
            time.sleep((frame.offset_ms - last) / 1000 / speed)
            last = frame.offset_ms
        view.show(frame)
    view.end()


COMMANDS = {
    "replay": command(
        "replay",
        replay,
        "mimrun replay latest --speed 60",
        "mimrun replay run-7k2q --redecide",
        "mimrun replay run-7k2q --against postgres-failover.yaml max_lag_bytes=0",
    )
}
