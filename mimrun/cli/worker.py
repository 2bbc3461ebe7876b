"""`mimrun worker`: a process that stays and goes on with what nobody is there for."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from typing import Annotated

import typer

from mimrun.app.worker import Worked, Worker
from mimrun.cli.options import HomeOption, JsonOption, command, settings_of
from mimrun.cli.terminal import safe_line


def worker(
    once: Annotated[
        bool, typer.Option("--once", help="Look around once, see through what is due, and end; for cron.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stay, and go on with runs that nobody is there for.

    Those whose worker died, within five seconds; those behind a gate that was decided or a lock that came
    free; what was done for a time only, when its time is up; and what the rules ask for because of alerts. Never a paused run, one in doubt, or a
    manual step. Several workers may run at once. On SIGTERM or Ctrl-C it takes nothing new and ends when
    the steps that are under way are finished; another worker, or `mimrun resume`, goes on from there. What
    it does stands in the program log, and here, a line for each run.
    """

    def report(worked: Worked) -> None:
        if as_json:
            line = json.dumps(asdict(worked), ensure_ascii=True)
        else:
            line = safe_line(
                f"{worked.run}: {worked.status}, taken because {worked.why} {worked.detail}", 500
            )
        typer.echo(line.rstrip())

    one = Worker(settings_of(home), report=report)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: one.stop())
    if once:
        one.once()
        return
    if not as_json:
        typer.echo("watching for runs that nobody is there for; Ctrl-C ends it", err=True)
    one.stay()


COMMANDS = {"worker": command("worker", worker, "mimrun worker", "mimrun worker --once --json")}
