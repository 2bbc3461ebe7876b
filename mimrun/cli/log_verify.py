"""`mimrun log verify` and `mimrun log verifier`: the proof that this is what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.text import Text

from mimrun.app.records import Brought, verify_file, verify_log, verify_with_anchors
from mimrun.cli.counting import Counting
from mimrun.cli.options import HomeOption, JsonOption, settings_of
from mimrun.cli.terminal import console, print_json, safe
from mimrun.errors import InputError
from mimrun.log.proof.standalone import verifier as program

NotedOption: TypeAlias = Annotated[
    str | None, typer.Option("--noted", metavar="SIZE:ROOT", help="What was noted earlier, somewhere else.")
]
CheckpointOption: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="Signed checkpoints that were kept elsewhere. May be given several times.",
    ),
]
RootOption: TypeAlias = Annotated[
    str | None, typer.Option("--root", metavar="VKEY", help="The root key that certifies the log's keys.")
]
KeyOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--key", metavar="VKEY", help="A key of the log that you trust. May be given several times."
    ),
]
WitnessOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--witness",
        metavar="VKEY",
        help="A witness that must have signed the last checkpoint. May be given several times.",
    ),
]


def verify(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A bundle; the log of this home if left out.")
    ] = None,
    *,
    noted: NotedOption = None,
    checkpoint: CheckpointOption = None,
    root: RootOption = None,
    key: KeyOption = None,
    witness: WitnessOption = None,
    anchors: Annotated[
        bool, typer.Option("--anchors", help="Compare with what the places in anchors.yaml have.")
    ] = False,
    states: Annotated[
        bool,
        typer.Option("--states", help="Fold the log anew, and compare what lists and locks are read from."),
    ] = False,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="A bundle that nobody signed will do.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that nothing was changed, removed or put in, and say what that proves. Ends with 6 and what is wrong.

    Without the key of the log's blobs every entry is checked, and their contents are not: it ends with 1 and says so.

    A log that was rewritten by somebody who has its key, or cut at its end, only shows against a checkpoint or
    SIZE:ROOT that was kept somewhere else. With --anchors it ends with 1 where such a place could not be asked.

    Lists of runs, locks and breakers are read from states that are folded from the entries. With --states these are
    compared, too, which takes three times as long; nothing is changed: `mimrun log rebuild` puts right what differs.
    """
    brought = Brought(noted, root, key or (), witness or (), checkpoint or (), unsigned)
    silent: tuple[str, ...] = ()
    if file is not None and anchors:
        raise InputError("--anchors is about this home's log; compare a bundle by --checkpoint FILE")
    if file is not None and states:
        raise InputError("--states is about this home's log; a bundle holds no states")
    if file is not None:
        report = verify_file(file, brought)
    else:
        with Counting() as counting:
            folded = counting.folded if states else None
            if anchors:
                report, silent = verify_with_anchors(
                    settings_of(home), brought, progress=counting.checked, folded=folded
                )
            else:
                report = verify_log(
                    settings_of(home), brought=brought, progress=counting.checked, folded=folded
                )
    if as_json:
        print_json(report.as_json())
    else:
        style = "bold red" if report.flaws else "green" if report.ok else "yellow"
        console().print(Text(safe(str(report)), style))
    if report.flaws:
        raise typer.Exit(6)
    if silent or not report.ok:
        raise typer.Exit(1)


def verifier() -> None:
    """Print a program that checks bundles and needs nothing but Python: one file, without mimrun.

    Give it to whoever is to check a bundle, on another way than the bundle.
    """
    typer.echo(program(), nl=False)
