"""`mimrun review`: what happened in an incident and how long it took, and what is done so that it does not come again."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.home import Home, open_home
from mimrun.app.identity import identify
from mimrun.app.review.blocks import figure_text
from mimrun.app.review.html import as_html
from mimrun.app.review.items import add_item, close_item, list_items
from mimrun.app.review.making import make_review
from mimrun.app.review.markdown import as_markdown
from mimrun.app.review.publishing import publish_review, published_review
from mimrun.cli.options import AsOption, HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import InputError
from mimrun.incident.review_item import ReviewItem
from mimrun.runbook.duration import parse_duration

IncidentArgument = Annotated[
    str, typer.Argument(metavar="INC", help="An incident's name, the beginning of it, or `latest`.")
]
ItemArgument = Annotated[str, typer.Argument(metavar="ITEM", help="An action item, such as A1.")]
ReasonOption = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", show_default=False, help="What was done, or why it is dropped."),
]


def show(
    incident: IncidentArgument,
    *,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            show_default=False,
            help="Write one HTML file instead; - is standard output.",
        ),
    ] = None,
    gap: Annotated[
        str, typer.Option("--gap", metavar="TIME", help="Say where nothing was recorded for so long.")
    ] = "10m",
    full: Annotated[
        bool, typer.Option("--full", help="Leave no detail of a step out of the timeline.")
    ] = False,
    published: Annotated[
        bool,
        typer.Option("--published", help="The review as it was published last, and not as it would be now."),
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the review of an incident, as Markdown: figures, timeline with gaps, actions, decisions, action items.

    `show` may be left away. Everything in it is in the log; a figure for which a moment is missing says which one.
    """
    _refuse_another_form(published and (html is not None or as_json))
    with open_home(settings_of(home)) as opened:
        review = make_review(opened, incident, gap=_gap(gap), full=full)
        text = published_review(opened, review.incident.name) if published else as_markdown(review)
    if as_json:
        print_json(review.as_json())
    elif html is None:
        sys.stdout.write(text)
    elif str(html) == "-":
        sys.stdout.write(as_html(review))
    else:
        _write(html, as_html(review))
        typer.echo(f"wrote {html}")


def publish(
    incident: IncidentArgument, as_: AsOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Record the review of a resolved incident as it is now, so that everybody speaks of the same one."""
    with open_home(settings_of(home)) as opened:
        review, entry = publish_review(opened, identify(opened.people(), as_), incident)
    name = review.incident.name
    missing = [figure for figure in review.figures if figure.value is None]
    if as_json:
        print_json({"incident": name, "entry": entry.seq, "missing": [figure.name for figure in missing]})
        return
    typer.echo(f"the review of {name} is published (entry {entry.seq})")
    for figure in missing:
        typer.echo(safe_line(f"  {figure.title}: {figure_text(figure)}"))


def add(
    incident: IncidentArgument,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="What is to be done, in a line.")],
    *,
    owner: Annotated[str, typer.Option("--owner", metavar="PERSON", help="Who sees to it.")],
    due: Annotated[
        str, typer.Option("--due", metavar="DATE", show_default=False, help="Until when: 2026-12-24.")
    ] = "",
    text: Annotated[
        str, typer.Option("--text", metavar="TEXT", show_default=False, help="More about it.")
    ] = "",
    as_: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Agree upon something that is to be done so that the incident does not come again."""
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), as_)
        item = add_item(opened, identity, incident, title, owner=owner, due=due, text=text)
    _told(
        item,
        f"{item.item} of {item.incident}: {item.title} ({item.owner}{f', until {item.due}' if item.due else ''})",
        as_json=as_json,
    )


def done(
    incident: IncidentArgument,
    item: ItemArgument,
    *,
    reason: ReasonOption = "",
    as_: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that an action item is done."""
    with open_home(settings_of(home)) as opened:
        closed = close_item(opened, identify(opened.people(), as_), incident, item, "done", reason=reason)
    _told(closed, f"{closed.item} of {closed.incident} is done", as_json=as_json)


def drop(
    incident: IncidentArgument,
    item: ItemArgument,
    *,
    reason: ReasonOption = "",
    as_: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that an action item is not going to be done, and why."""
    with open_home(settings_of(home)) as opened:
        closed = close_item(opened, identify(opened.people(), as_), incident, item, "dropped", reason=reason)
    _told(closed, f"{closed.item} of {closed.incident} is dropped", as_json=as_json)


def list_(
    incident: Annotated[
        str, typer.Argument(metavar="[INC]", show_default=False, help="Of this incident. Default: of all.")
    ] = "",
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also what is done or dropped.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List action items, what is due first in front."""
    with open_home(settings_of(home)) as opened:
        found, today = list_items(opened, incident, everything=everything), _today(opened)
    if as_json:
        print_json([{**one.as_json(), "overdue": one.is_overdue(today)} for one in found])
        return
    if not found:
        typer.echo("nothing is to be done" + ("" if everything else "; --all shows what was"))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("INCIDENT", "ITEM", "UNTIL", "WHO", "STANDS", "WHAT"):
        table.add_column(head, overflow="fold")
    for one in found:
        late = one.is_overdue(today)
        stands = Text("overdue", "bold red") if late else Text("to do" if one.state == "open" else one.state)
        table.add_row(one.incident, one.item, one.due, one.owner, stands, Text(safe_line(one.title)))
    console().print(table)


def _today(home: Home) -> date:
    return home.clock().date()


def _refuse_another_form(asked: bool) -> None:
    if asked:
        raise InputError(
            "what was published is Markdown, word for word; --html and --json give the review as it would be now"
        )


def _gap(text: str) -> timedelta:
    try:
        found = timedelta(milliseconds=parse_duration(text))
    except ValueError as exc:
        raise InputError(f"--gap: {exc}") from exc
    if not found:
        raise InputError("--gap: give at least a second")
    return found


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as exc:
        raise InputError(f"{file} cannot be written: {exc.strerror}") from exc


def _told(item: ReviewItem, said: str, *, as_json: bool) -> None:
    if as_json:
        print_json(item.as_json())
    else:
        typer.echo(safe_line(said))


COMMANDS = {
    "review": group(
        "review",
        "What happened in an incident and how long it took, and what is to be done after it.",
        {
            "show": (show, "mimrun review latest --html review.html"),
            "publish": (publish, "mimrun review publish latest"),
        },
        groups={
            "item": (
                "Action items: who does what until when, so that it does not come again.",
                {
                    "add": (
                        add,
                        'mimrun review item add latest "Alert on lag" --owner alex --due 2027-01-31',
                    ),
                    "done": (done, "mimrun review item done latest A1"),
                    "drop": (drop, 'mimrun review item drop latest A2 --reason "the old pair is gone"'),
                    "list": (list_, "mimrun review item list"),
                },
            )
        },
        default="show",
    )
}
