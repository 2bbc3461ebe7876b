"""`mimrun log accept`: take a log that is not the one that was seen here, and say so in it."""

from __future__ import annotations

from typing import Annotated

import typer

from mimrun.app.accepting import accept_log
from mimrun.cli.options import AsOption, HomeOption, JsonOption, settings_of
from mimrun.cli.terminal import print_json, safe


def accept(
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why this log is right.")],
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the log as it is, although it is shorter or another one than was seen here: after a restore.

    It prints what was seen and is lost, and records that you said so. Every other account that has seen the
    log decides for itself.
    """
    accepted = accept_log(settings_of(home), claimed, reason)
    if as_json:
        print_json({"accepted": accepted is not None, **(accepted.as_json() if accepted else {})})
        return
    if accepted is None:
        typer.echo("nothing to accept: the log goes on from what was seen of it here")
        return
    before = accepted.before
    typer.echo(f"seen: {safe(before.log)} with {before.size} entries, at {before.at}")
    typer.echo(f"now:  {accepted.why}")
    typer.echo(f"recorded as entry {accepted.entry}; from here on this log is the one that is seen")
    if not accepted.signs:
        typer.echo(
            "next: the keys that sign here have signed what is lost and will not sign this log:"
            " `mimrun key rotate --anew --reason WHY`"
        )
