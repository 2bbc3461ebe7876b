"""`mimrun log show`: the timeline, a sentence for each entry."""

from __future__ import annotations

import json
import os
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from mimrun.app.home import Home, open_home
from mimrun.app.records import select_entries
from mimrun.cli.counting import Counting
from mimrun.cli.entry_words import said_of
from mimrun.cli.options import HomeOption, JsonOption, settings_of
from mimrun.cli.terminal import console, safe, safe_json, safe_line
from mimrun.errors import BlobKeyError, ErasedError
from mimrun.log.chain import Unreadable
from mimrun.log.entry import LogEntry
from mimrun.log.export.sentence import LENGTH, sentence_of

IncidentOption = Annotated[str | None, typer.Option("--incident", metavar="INC", help="Only this incident.")]
_WIDTH: Final = 80
"""Columns where nobody says how wide it is."""
_NARROW: Final = 72
"""Columns below which a sentence has lines of its own."""
_INDENT: Final = 8


def show(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Only this run; `latest` for the last.")
    ] = None,
    *,
    incident: IncidentOption = None,
    after: Annotated[int, typer.Option("--after", metavar="ENTRY", help="Only entries behind this one.")] = 0,
    blobs: Annotated[bool, typer.Option("--blobs", help="Show output, plans and texts, too.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the timeline: every automated and manual step, decision and answer, in order.

    With --json each line is an entry; with --blobs, too, an object with `entry` and `blobs`. An entry that cannot be
    read is shown with why, and it ends with 6.
    """
    unreadable = False
    with open_home(settings_of(home)) as opened, Counting(aside=True) as counting:
        out = console()
        for count, entry in enumerate(select_entries(opened, run=run, incident=incident, after=after), 1):
            counting.show(count, "entries shown")
            if isinstance(entry, Unreadable):
                unreadable = True
                _tell_unreadable(out, entry, as_json=as_json)
                continue
            if as_json:
                typer.echo(safe_json(_json(opened, entry, blobs=blobs)))
                continue
            _line(out, opened, entry)
            if blobs:
                _blobs(out, opened, entry)
    if unreadable:
        raise typer.Exit(6)


def _width(out: Console) -> int:
    return out.width if out.is_terminal or os.environ.get("COLUMNS") else _WIDTH


def _line(out: Console, home: Home, entry: LogEntry) -> None:
    """Print an entry, folded to the width of the terminal; what follows stands under the sentence's beginning."""
    head = Text(f"{entry.seq:>6} {entry.ts:%Y-%m-%d %H:%M:%S}  ", "dim")
    sentence = Text(safe_line(sentence_of(entry, said_of(home, entry)), 2 * LENGTH))
    sentence.stylize("bold cyan", 0, len(entry.kind.value))
    width, indent = _width(out), len(head)
    if width < _NARROW:
        indent = _INDENT
        out.print(head)
        head = Text(" " * indent)
    for line in sentence.wrap(out, max(width - indent, _INDENT)):
        line.rstrip()
        out.print(head.append_text(line))
        head = Text(" " * indent)


def _tell_unreadable(out: Console, entry: Unreadable, *, as_json: bool) -> None:
    if as_json:
        typer.echo(safe_json(json.dumps({"seq": entry.seq, "unreadable": entry.why}, ensure_ascii=False)))
        return
    out.print(Text(f"{entry.seq:>6} ", "dim").append(f"unreadable: {safe(entry.why)}", "red"))


def _json(home: Home, entry: LogEntry, *, blobs: bool) -> str:
    if not blobs:
        return entry.encode().decode()
    texts: dict[str, str | None] = {}
    erased: dict[str, str] = {}
    unread: dict[str, str] = {}
    for ref in entry.blobs:
        try:
            texts[ref.n] = _text(home, entry, ref.n)
        except ErasedError as exc:
            texts[ref.n], erased[ref.n] = None, str(exc)
        except BlobKeyError as exc:
            texts[ref.n], unread[ref.n] = None, str(exc)
    why = {name: said for name, said in (("erased", erased), ("unread", unread)) if said}
    return json.dumps({"entry": entry.as_json(), "blobs": texts, **why}, ensure_ascii=False)


def _text(home: Home, entry: LogEntry, name: str) -> str:
    """Read a blob as a text.

    Raises:
        ErasedError: two people had it erased.
        BlobKeyError: the key of the log's blobs is missing, or is another log's.
    """
    return (home.store.blob(entry, name) or b"").decode("utf-8", "backslashreplace")


def _blobs(out: Console, home: Home, entry: LogEntry) -> None:
    for ref in entry.blobs:
        if ref.n == "content":  # a file, perhaps of many megabytes: `mimrun log attachment`
            continue
        begin = Text(f"         {ref.n:>12} | ", "dim")
        try:
            lines = _text(home, entry, ref.n).splitlines()[:200]
        except (ErasedError, BlobKeyError) as exc:
            out.print(begin.append(safe_line(str(exc), 500), "yellow"))
            continue
        for line in lines:
            out.print(begin.copy().append(safe(line)))
