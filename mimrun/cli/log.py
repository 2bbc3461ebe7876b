"""`mimrun log`: what happened, and the proof that this is all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from mimrun.app.home import Home, open_home
from mimrun.app.records import rebuild_log, select_entries, verify_file, verify_log
from mimrun.cli.entry_words import words_of
from mimrun.cli.log_export import export
from mimrun.cli.log_files import attachment, cast
from mimrun.cli.options import HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json, safe, safe_json, safe_line
from mimrun.log.entry import LogEntry

IncidentOption = Annotated[str | None, typer.Option("--incident", metavar="INC", help="Only this incident.")]
_HIDDEN = frozenset({"kind", "intent", "key", "args_digest", "iteration"})


def show(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Only this run; `latest` for the last.")
    ] = None,
    *,
    incident: IncidentOption = None,
    after: Annotated[int, typer.Option("--after", help="Only entries behind this number.")] = 0,
    blobs: Annotated[bool, typer.Option("--blobs", help="Show output, plans and texts, too.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the timeline: every automated and manual step, decision and answer, in order.

    With --json each line is an entry; with --blobs, too, an object with `entry` and `blobs`.
    """
    with open_home(settings_of(home)) as opened:
        out = console()
        for entry in select_entries(opened, run=run, incident=incident, after=after):
            if as_json:
                typer.echo(safe_json(_json(opened, entry, blobs=blobs)))
                continue
            _line(out, opened, entry)
            if blobs:
                _blobs(out, opened, entry)


def verify(
    file: Annotated[
        Path | None, typer.Argument(help="An exported bundle; the log of this home if left out.")
    ] = None,
    *,
    noted: Annotated[
        str | None,
        typer.Option("--noted", metavar="SIZE:ROOT", help="What was noted earlier, somewhere else."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that nothing was changed, removed or put in. Ends with 6 and the entry that is wrong.

    A log that was rewritten as a whole, or cut at its end, only shows against SIZE:ROOT that was noted
    somewhere else before: every run ends by printing it.
    """
    report = verify_file(file, noted) if file is not None else verify_log(settings_of(home), noted)
    if as_json:
        print_json(report.as_json())
    else:
        console().print(Text(safe(str(report)), "green" if report.ok else "bold red"))
    if not report.ok:
        raise typer.Exit(6)


def rebuild(home: HomeOption = None) -> None:
    """Fold the whole log anew, and say whether the states that were kept are the same."""
    same = rebuild_log(settings_of(home))
    typer.echo("every state is the same, byte for byte" if same else "states differed and were replaced")


def _line(out: Console, home: Home, entry: LogEntry) -> None:
    place = " ".join(part for part in (entry.run, entry.step, safe_line(entry.target)) if part)
    body = entry.body.model_dump(mode="json", exclude_defaults=True)
    facts = words_of(home, entry) or "  ".join(
        f"{name}={safe_line(str(value), 80)}" for name, value in body.items() if name not in _HIDDEN
    )
    line = Text(f"{entry.seq:>6} ", "dim").append(entry.ts.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3], "dim")
    line.append(f"  {entry.kind:<18} ", "bold cyan").append(f"{entry.actor.id:<12} ", "green")
    out.print(line.append(f"{place}  ", "bold").append(facts))


def _json(home: Home, entry: LogEntry, *, blobs: bool) -> str:
    if not blobs:
        return entry.encode().decode()
    texts = {ref.n: _text(home, entry, ref.n) for ref in entry.blobs}
    return json.dumps({"entry": entry.as_json(), "blobs": texts}, ensure_ascii=False)


def _text(home: Home, entry: LogEntry, name: str) -> str:
    return (home.store.blob(entry, name) or b"").decode("utf-8", "backslashreplace")


def _blobs(out: Console, home: Home, entry: LogEntry) -> None:
    for ref in entry.blobs:
        if ref.n == "content":  # a file, perhaps of many megabytes: `mimrun log attachment`
            continue
        for line in _text(home, entry, ref.n).splitlines()[:200]:
            out.print(Text(f"         {ref.n:>12} | ", "dim").append(safe(line)))


COMMANDS = {
    "log": group(
        "log",
        "Show, verify, export or rebuild the incident log.",
        {
            "show": (show, "mimrun log show latest --blobs"),
            "verify": (verify, "mimrun log verify INC-20261122-7K2Q.mimlog"),
            "export": (export, "mimrun log export all --format ocsf --follow"),
            "attachment": (attachment, "mimrun log attachment 42 -o screenshot.png"),
            "cast": (cast, "mimrun log cast 42 -o db1.cast"),
            "rebuild": (rebuild, "mimrun log rebuild"),
        },
    )
}
