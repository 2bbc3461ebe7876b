"""`mimrun log`: what happened, and the proof that this is all of it."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from mimrun.app.home import Home, open_home
from mimrun.app.records import rebuild_log, select_entries
from mimrun.cli.anchor import anchor, anchors
from mimrun.cli.entry_words import words_of
from mimrun.cli.log_accept import accept
from mimrun.cli.log_export import export
from mimrun.cli.log_files import attachment, cast
from mimrun.cli.log_verify import verifier, verify
from mimrun.cli.options import HomeOption, JsonOption, group, settings_of
from mimrun.cli.redact import redact
from mimrun.cli.terminal import console, safe, safe_json, safe_line
from mimrun.errors import BlobKeyError, ErasedError
from mimrun.log.chain import Unreadable
from mimrun.log.entry import LogEntry

IncidentOption = Annotated[str | None, typer.Option("--incident", metavar="INC", help="Only this incident.")]
_HIDDEN = frozenset({"kind", "intent", "key", "args_digest", "iteration"})


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
    with open_home(settings_of(home)) as opened:
        out = console()
        for entry in select_entries(opened, run=run, incident=incident, after=after):
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


def rebuild(home: HomeOption = None) -> None:
    """Fold the whole log anew, and say whether the states that were kept are the same. Ends with 6 if not.

    Lists, locks and breakers are read from these states. `mimrun log verify` checks what they follow from, the
    entries; whoever can write to the database can change the states alone, and this finds and mends it.
    """
    same = rebuild_log(settings_of(home))
    typer.echo("every state is the same, byte for byte" if same else "states differed and were replaced")
    if not same:
        raise typer.Exit(6)


def _line(out: Console, home: Home, entry: LogEntry) -> None:
    place = " ".join(part for part in (entry.run, entry.step, safe_line(entry.target)) if part)
    body = entry.body.model_dump(mode="json", exclude_defaults=True)
    facts = words_of(home, entry) or "  ".join(
        f"{name}={safe_line(str(value), 80)}" for name, value in body.items() if name not in _HIDDEN
    )
    line = Text(f"{entry.seq:>6} ", "dim").append(entry.ts.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3], "dim")
    line.append(f"  {entry.kind:<18} ", "bold cyan").append(f"{entry.actor.id:<12} ", "green")
    out.print(line.append(f"{place}  ", "bold").append(facts))


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


COMMANDS = {
    "log": group(
        "log",
        "Show, verify, export, anchor, redact or rebuild the incident log.",
        {
            "show": (show, "mimrun log show latest --blobs"),
            "verify": (verify, "mimrun log verify INC-20261122-7K2Q.mimlog"),
            "verifier": (verifier, "mimrun log verifier > verify.py"),
            "export": (export, "mimrun log export INC-20261122-7K2Q -o evidence.mimlog"),
            "attachment": (attachment, "mimrun log attachment 42 -o screenshot.png"),
            "accept": (
                accept,
                'mimrun log accept --reason "restored the backup of 02:00 after the disk failed"',
            ),
            "anchor": (anchor, "mimrun log anchor vault-host"),
            "anchors": (anchors, "mimrun log anchors"),
            "redact": (redact, 'mimrun log redact 42 --blob stdout --reason "has a customer\'s address"'),
            "cast": (cast, "mimrun log cast 42 -o db1.cast"),
            "rebuild": (rebuild, "mimrun log rebuild"),
        },
    )
}
