"""`mimrun signer`: sign the log for others, as a user that they are not."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from mimrun.cli.options import HomeOption, command, settings_of
from mimrun.cli.terminal import safe_line
from mimrun.errors import InputError
from mimrun.log.proof.signer import FileSigner
from mimrun.log.proof.signer_server import Allowed, SignerServer

SocketOption = Annotated[
    Path | None,
    typer.Option("--socket", metavar="PATH", show_default=False, help="The Unix socket to listen on."),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="USER|@GROUP",
        show_default=False,
        help="Who may ask for signatures. May be given several times. Root is not allowed by itself.",
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        show_default=False,
        help="Where the keys are, and what each has signed. Default: signer/ in mimrun's home.",
    ),
]
OriginOption = Annotated[
    str,
    typer.Option(
        "--origin",
        metavar="NAME",
        show_default=False,
        help="The log that is signed. Default: $MIMRUN_ORIGIN, else mimrun.",
    ),
]
AnewOption = Annotated[
    bool,
    typer.Option(
        "--anew",
        help="Make a further key that does not go on from what was signed, and end: for a restored log.",
    ),
]


def signer(
    listen: SocketOption = None,
    allow: AllowOption = None,
    *,
    folder: FolderOption = None,
    origin: OriginOption = "",
    anew: AnewOption = False,
    home: HomeOption = None,
) -> None:
    """Sign the log for others, as a user that they are not.

    It keeps the log's keys and what each has signed, and signs only a log that goes on from there. So whoever
    takes over the account that writes the log cannot sign another history. Those who write the log set
    MIMRUN_SIGNER=unix:PATH. It ends on SIGTERM or Ctrl-C.
    """
    settings = settings_of(home)
    name = origin or settings.origin
    keeper = FileSigner(folder or settings.signer_folder, name)
    if anew:
        typer.echo(keeper.add_key(anew=True))
        return
    if listen is None or not allow:
        raise InputError("say where to listen with --socket PATH, and who may ask with --allow USER")
    server = SignerServer(keeper, name, listen.absolute(), Allowed.of(allow), _report)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    typer.echo(safe_line(f"signing the log {name} for {', '.join(allow)} at {listen}"), err=True)
    server.serve()


def _report(line: str) -> None:
    typer.echo(safe_line(line, 500), err=True)


COMMANDS = {
    "signer": command(
        "signer",
        signer,
        "mimrun signer --folder /var/lib/mimrun-signer --origin example.org/incidents"
        " --socket /run/mimrun-signer/socket --allow mimrun",
    )
}
