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
from mimrun.log.proof.report import Report
from mimrun.log.proof.standalone import verifier as program
from mimrun.settings import Settings

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

SignersOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--allowed-signers",
        metavar="FILE",
        help="Whose keys sign decisions, as ssh-keygen has it. Default: the file of this home.",
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
    signers: SignersOption = None,
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

    Decisions that people signed with their SSH keys are checked by OpenSSH. It ends with 6 where a signature is not one
    of its decision, and with 1 where --allowed-signers gives the key to somebody else.
    """
    brought = Brought(noted, root, key or (), witness or (), checkpoint or (), unsigned, signers)
    silent: tuple[str, ...] = ()
    if file is not None and anchors:
        raise InputError("--anchors is about this home's log; compare a bundle by --checkpoint FILE")
    if file is not None and states:
        raise InputError("--states is about this home's log; a bundle holds no states")
    if file is not None:
        report = verify_file(file, brought)
    else:
        report, silent = _verify_own(settings_of(home), brought, anchors=anchors, states=states)
    if as_json:
        print_json(report.as_json())
    else:
        style = "bold red" if report.flaws else "green" if report.ok else "yellow"
        console().print(Text(safe(str(report)), style))
    _end(report, silent=bool(silent), named=signers is not None)


def _verify_own(
    settings: Settings, brought: Brought, *, anchors: bool, states: bool
) -> tuple[Report, tuple[str, ...]]:
    """Check the log of this home; give which places outside were silent, too."""
    with Counting() as counting:
        folded = counting.folded if states else None
        if anchors:
            return verify_with_anchors(settings, brought, progress=counting.checked, folded=folded)
        return verify_log(settings, brought=brought, progress=counting.checked, folded=folded), ()


def _end(report: Report, *, silent: bool, named: bool) -> None:
    """End as what was found asks for; `named` says that somebody named the file of signers."""
    if report.flaws or any(one.state == "wrong" for one in report.decisions):
        raise typer.Exit(6)
    if silent or not report.ok or (named and any(one.state == "foreign" for one in report.decisions)):
        raise typer.Exit(1)


def verifier() -> None:
    """Print a program that checks bundles and needs nothing but Python: one file, without mimrun.

    Give it to whoever is to check a bundle, on another way than the bundle.
    """
    typer.echo(program(), nl=False)
