"""`mimrun log redact`: two people erase content from the log."""

from __future__ import annotations

from typing import Annotated

import typer

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.redacting import Erased, redact_entry, redact_incident
from mimrun.cli.options import AsOption, HomeOption, JsonOption, settings_of
from mimrun.cli.terminal import print_json
from mimrun.errors import InputError


def redact(
    entry: Annotated[
        int | None,
        typer.Argument(
            metavar="ENTRY", show_default=False, help="The entry's number, or that of the proposal."
        ),
    ] = None,
    *,
    blob: Annotated[
        list[str] | None,
        typer.Option("--blob", metavar="NAME", help="stdout, text, content, ...; all where none is named."),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it stays on record, so name no person.")
    ] = "",
    incident: Annotated[
        str | None, typer.Option("--incident", metavar="INC", help="With --all: this incident.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every output, text and file of an incident, and its key.")
    ] = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase output, texts or files from the log for good. Two people: one asks, another says the same.

    The entry stays and proves what it proved; in the place of the content stands who erased it, when and why.
    Backups, bundles that were handed out and Prefect's database are not reached: see docs/explanation/erasure.md.
    """
    whole = _whole(entry, incident, everything=everything, named=bool(blob))
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        if whole:
            erased, what = redact_incident(opened, identity, whole, reason), f"--all --incident {whole}"
        else:
            assert entry is not None
            erased, what = redact_entry(opened, identity, entry, reason, blob or ()), str(entry)
    if as_json:
        print_json(erased.as_json())
        return
    _tell(erased, identity.person.id, what)


def _whole(entry: int | None, incident: str | None, *, everything: bool, named: bool) -> str:
    """Give the incident that is to be erased as a whole, or "" for one entry."""
    if everything and incident and entry is None and not named:
        return incident
    if entry is None or everything or incident:
        raise InputError("name an entry, with --blob if not all of it, or give --all --incident INC")
    return ""


def _tell(erased: Erased, who: str, what: str) -> None:
    blobs = f"{erased.blobs} blob{'s' if erased.blobs != 1 else ''}"
    of = f"{erased.entries} entries" if erased.entries > 1 else "one entry"
    if not erased.done:
        typer.echo(f"{who} asked to erase {blobs} of {of} (entry {erased.first}); nothing is erased yet")
        typer.echo(f"next: another person agrees with `mimrun log redact {what} --reason ...`")
        return
    typer.echo(f"{who} erased {blobs} of {of}; entry {erased.first} says so")
    if erased.left:
        typer.echo(f"{erased.left} more were not asked for by another person, and are still there")
    typer.echo("not reached: backups, bundles that were handed out, and what other programs keep")
