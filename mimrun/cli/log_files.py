"""`mimrun log attachment | cast`: what was kept in the log, as files again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mimrun.app.attachments import kept_attachment
from mimrun.app.home import open_home
from mimrun.app.shells import cast_of
from mimrun.cli.options import HomeOption, JsonOption, settings_of
from mimrun.cli.terminal import print_json, safe_line
from mimrun.errors import InputError

OutputOption = Annotated[
    Path, typer.Option("-o", "--output", metavar="FILE", help="The file to make; it must not be there yet.")
]


def attachment(
    entry: Annotated[int, typer.Argument(metavar="ENTRY", help="The number of the entry that attached it.")],
    *,
    output: OutputOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write an attached file out again, and check that it has the digest with which it was attached."""
    with open_home(settings_of(home)) as opened:
        kept = kept_attachment(opened.store, entry)
    write_new(output, kept.content)
    if as_json:
        print_json({"entry": kept.entry, "file": str(output), **kept.body.model_dump(mode="json")})
        return
    typer.echo(f"{output}: {safe_line(kept.body.name)}, {kept.body.size} bytes, {kept.body.digest}")


def cast(
    shell: Annotated[int, typer.Argument(metavar="SHELL", help="The number of the entry that opened it.")],
    *,
    output: OutputOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a recorded session as one asciicast v2 file, for `asciinema play FILE`.

    Playing it sends to your terminal what the host sent, whatever that does there; `mimrun log show --blobs` shows
    it harmlessly. A session that is open, or broke off, is written as far as it is on record.
    """
    with open_home(settings_of(home)) as opened:
        content = cast_of(opened, shell)
    write_new(output, content)
    events = content.count(b"\n") - 1
    if as_json:
        print_json({"shell": shell, "file": str(output), "events": events, "bytes": len(content)})
        return
    typer.echo(f"{output}: {events} events; play it with `asciinema play {output}`")


def write_new(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, and never over another one.

    Raises:
        InputError: it is there already, or cannot be written.
    """
    try:
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
        ) as file:
            file.write(content)
    except FileExistsError as exc:
        raise InputError(f"{path}: is there already; choose another name with -o") from exc
    except OSError as exc:
        raise InputError(f"{path}: cannot be written: {exc.strerror}") from exc
