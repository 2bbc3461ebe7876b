"""`mimrun log anchor | anchors`: the log's checkpoints, given to places that its owner cannot change."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.anchor.giving import AnchorView, Tried, anchor_log, anchors_of, list_anchors, rehearse
from mimrun.app.home import Home, open_home
from mimrun.app.identity import identify
from mimrun.cli.options import AsOption, HomeOption, JsonOption, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import InputError

NamesArgument: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", show_default=False, help="Only these anchors; all where none is named."),
]


def anchor(
    names: NamesArgument = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what each would be given; make and give nothing.")
    ] = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a checkpoint of the log as it is now, and give it to the places in anchors.yaml.

    Each try stands in the log. Ends with 1 where a place did not take it, and with 6 where what a place has
    contradicts this log.
    """
    with open_home(settings_of(home)) as opened:
        if not anchors_of(opened, names or ()):
            raise InputError(
                f"{opened.settings.anchors} names no places; docs/how-to/anchor-the-log.md says what goes into it"
            )
        if dry_run:
            _rehearsed(opened, names or [], as_json=as_json)
            return
        tried = anchor_log(opened, identify(opened.people(), claimed).actor(), names or ())
    if as_json:
        print_json([one.as_json() for one in tried])
    else:
        _table(tried)
    if not all(one.given.done for one in tried):
        raise typer.Exit(6 if any(one.given.against for one in tried) else 1)


def anchors(
    names: NamesArgument = None,
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the places that are given checkpoints: the last one that each took, and how much came after it.

    What came after it is what somebody who has this log and its key could still change without any of them noticing.
    """
    with open_home(settings_of(home)) as opened:
        views = list_anchors(opened, names or ())
    if as_json:
        print_json([view.as_json() for view in views])
        return
    if not views:
        typer.echo("no anchors: nothing outside shows it where this log is written anew with its own key")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("ANCHOR", "PLACE", "HAS", "SINCE", "BEHIND", "STATE"):
        table.add_column(title, overflow="fold")
    for view in views:
        table.add_row(*_row(view))
    console().print(table)


def _row(view: AnchorView) -> tuple[Text, ...]:
    known = view.known
    state = Text("never tried", "yellow")
    if known.failures:
        since = known.failing_since[:19].replace("T", " ")
        state = Text(safe_line(f"failing since {since}, {known.failures} times: {known.reason}", 200), "red")
    elif known.size:
        state = Text("ok", "green")
    return (
        Text(view.anchor.name, "bold"),
        Text(safe_line(view.does, 80)),
        Text(str(known.size) if known.size else "-"),
        Text(known.at[:19].replace("T", " ") or "-"),
        Text(f"{view.behind} entries"),
        state,
    )


def _table(tried: list[Tried]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("ANCHOR", "SIZE", "RESULT"):
        table.add_column(title, overflow="fold")
    for one in tried:
        said = one.given
        words = "has it" if said.done else "refused: it contradicts this log" if said.against else "failed"
        text = safe_line(f"{words}: {said.reason}" if said.reason else words, 500)
        table.add_row(
            Text(one.anchor, "bold"), Text(str(one.size)), Text(text, "green" if said.done else "bold red")
        )
    console().print(table)


def _rehearsed(home: Home, names: list[str], *, as_json: bool) -> None:
    found = rehearse(home, names)
    if as_json:
        print_json([{"anchor": one.name, "does": what} for one, what in found])
        return
    for one, what in found:
        console().print(Text(one.name, "bold").append(f": {safe_line(what, 1000)}", "not bold"))
