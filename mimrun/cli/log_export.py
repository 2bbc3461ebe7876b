"""`mimrun log export`: the log's ways out: a bundle that proves itself, or lines for other programs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from mimrun.app.exports import Sink, Wanted, export_bundle, export_file, export_records, follow_records
from mimrun.app.home import Home, open_home
from mimrun.app.incident.view import incident_name
from mimrun.canonical import Json
from mimrun.cli.options import AsOption, HomeOption, JsonOption, settings_of
from mimrun.cli.terminal import print_json, safe_json
from mimrun.errors import InputError
from mimrun.log.entry import BlobClass
from mimrun.log.export.format import Format
from mimrun.log.proof.bundle import CLASSES


class Way(StrEnum):
    """What `--format` may be."""

    BUNDLE = "bundle"
    JSONL = "jsonl"
    CSV = "csv"
    OCSF = "ocsf"
    CLOUDEVENTS = "cloudevents"
    SYSLOG = "syslog"


OutputOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="The file to make; `-` for standard output, where lines go without it.",
    ),
]
FollowOption: TypeAlias = Annotated[
    bool, typer.Option("--follow", help="Go on with each new entry, until Ctrl-C. Lines only.")
]
OctetsOption: TypeAlias = Annotated[
    bool, typer.Option("--octets", help="Syslog with each message's length in front, for TCP.")
]
BlobsOption: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--blobs/--no-blobs",
        help="With output, plans and texts: a bundle unless told not to, jsonl if told to.",
    ),
]

ClassesOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        metavar="CLASS",
        help="Only blobs of this class in a bundle: plan, output, data or text. May be given several times.",
    ),
]


def export(
    incident: Annotated[
        str, typer.Argument(metavar="INC", help="The incident, or `latest`; `all` for the whole log.")
    ],
    *,
    way: Annotated[Way, typer.Option("--format", help="A bundle that proves itself, or lines.")] = Way.BUNDLE,
    output: OutputOption = None,
    after: Annotated[int, typer.Option("--after", metavar="ENTRY", help="Only entries behind this one.")] = 0,
    follow: FollowOption = False,
    octets: OctetsOption = False,
    blobs: BlobsOption = None,
    classes: ClassesOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write an incident for others: a bundle that anybody can check without this log, or lines for programs.

    What went out is recorded with its digest. A stream of --follow is not: it has no end. Without the key of the
    log's blobs entries go out with --no-blobs, unrecorded, and it says so.
    """
    with open_home(settings_of(home)) as opened:
        incident = incident if incident == "all" else incident_name(opened, incident)
        if way is Way.BUNDLE:
            if after or follow or octets or str(output) == "-":
                raise InputError(
                    "a bundle is a file that has everything: --after, --follow, --octets and `-o -` are for lines"
                )
            path = output or Path(f"{incident}.mimlog")
            _bundle(opened, path, incident, claimed, _classes(blobs, classes), as_json=as_json)
            return
        if classes:
            raise InputError("--class chooses what goes into a bundle; lines have all blobs, or none")
        wanted = Wanted(incident, Format(way), after=after, blobs=bool(blobs), octets=octets)
        _lines(opened, output, wanted, claimed, follow=follow, as_json=as_json)


def _tell_unrecorded(home: Home) -> None:
    if home.keyless:
        typer.echo(f"nothing about this is recorded: {home.keyless}", err=True)


def _lines(
    home: Home, output: Path | None, wanted: Wanted, claimed: str | None, *, follow: bool, as_json: bool
) -> None:
    path = None if str(output) == "-" else output
    if path is None and as_json:
        raise InputError("--json tells of a file; name one with --output, or leave --json out")
    if path is not None and follow:
        raise InputError("--follow writes to standard output; leave --output out")
    if follow:
        with _until_interrupted() as ends:
            follow_records(home, _out(), wanted, ends)
    elif path is None:
        export_records(home, _out(), wanted, claimed)
        _tell_unrecorded(home)
    else:
        _file(home, path, wanted, claimed, as_json=as_json)


def _file(home: Home, path: Path, wanted: Wanted, claimed: str | None, *, as_json: bool) -> None:
    made = export_file(home, path, wanted, claimed)
    _tell_unrecorded(home)
    if as_json:
        print_json({"file": str(path), "entries": made.entries, "digest": made.digest})
        return
    typer.echo(f"{path}: {made.entries} entries, {made.digest}")


def _bundle(
    home: Home, path: Path, incident: str, claimed: str | None, classes: list[BlobClass], *, as_json: bool
) -> None:
    manifest = export_bundle(home, path, incident, claimed, classes=classes)
    _tell_unrecorded(home)
    if as_json:
        made: dict[str, Json] = {"file": str(path), "entries": manifest.entries, "size": manifest.size}
        print_json({**made, "root": manifest.root, "signed": manifest.signed})
        return
    typer.echo(f"{path}: {manifest.entries} entries; check it with `mimrun log verify {path}`")
    if not manifest.signed:
        typer.echo(f"{path} is not signed: nobody signs this log here (see `mimrun doctor`)", err=True)


def _classes(blobs: bool | None, chosen: list[str] | None) -> list[BlobClass]:
    """Give the classes of blobs that go into a bundle."""
    if blobs is False and chosen:
        raise InputError("--no-blobs leaves all of them out; leave --class out, or --no-blobs")
    unknown = [name for name in chosen or [] if name not in CLASSES]
    if unknown:
        raise InputError(f"{unknown[0]!r} is no class of blobs; there are {', '.join(CLASSES)}")
    return [name for name in CLASSES if blobs is not False and (not chosen or name in chosen)]


class _Terminal:
    """A terminal instead of a program: what it would obey is shown as escapes."""

    def write(self, data: bytes) -> object:
        """Show what was to be written."""
        return sys.stdout.write(safe_json(data.decode("utf-8", "backslashreplace")))

    def flush(self) -> object:
        """Show it now."""
        return sys.stdout.flush()


def _out() -> Sink:
    return _Terminal() if sys.stdout.isatty() else sys.stdout.buffer


@contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Say whether somebody pressed Ctrl-C, or ended the service that this is; a second time breaks off."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    asked: list[int] = []

    def note(number: int, _: object) -> None:
        asked.append(number)
        for one, handler in before.items():
            signal.signal(one, handler)

    for number in numbers:
        signal.signal(number, note)
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
