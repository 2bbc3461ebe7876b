"""`mimrun notice`: who is told what, over which channel, and whether it reached them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from mimrun.app.home import open_home
from mimrun.app.notice.channel import send
from mimrun.app.notice.file import load_notices
from mimrun.app.notice.timer import tell
from mimrun.cli.options import HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import InputError, MimrunError
from mimrun.run.record.notices import Notices, Told
from mimrun.runbook.suggestion import suggest
from mimrun.secret import read_secret


def lint(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check notices.yaml: channels, events, texts, and that the secrets of the channels can be read."""
    settings = settings_of(home)
    if not settings.notices.exists():
        raise InputError(
            f"{settings.notices} is not there; docs/how-to/tell-people.md says what goes into it"
        )
    rules = load_notices(settings.notices)
    faults = {name: fault for name, channel in rules.channels.items() if (fault := _fault(channel.url))}
    if as_json:
        print_json({"rules": rules.model_dump(mode="json"), "faults": faults})
    else:
        for name, fault in faults.items():
            typer.echo(safe_line(f"channel {name}: {fault}"))
        if not faults:
            typer.echo(f"{len(rules.channels)} channels and {len(rules.notices)} notices are in order")
    if faults:
        raise typer.Exit(2)


def try_(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="A channel of notices.yaml.")],
    *,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="EMAIL", help="For a channel that writes to each person: to whom."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Send one message that says that it is a test; it does not stand in the log."""
    settings = settings_of(home)
    rules = load_notices(settings.notices)
    if channel not in rules.channels:
        hint = suggest(channel, rules.channels) or f"{settings.notices} names none"
        raise InputError(f"there is no channel {channel!r}; {hint}")
    address = read_secret(rules.channels[channel].url)
    send(address, "mimrun: a test", f"The channel {channel} of mimrun works.", emails=tuple(to or ()))
    typer.echo(f"channel {channel} took it")


def now(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Tell people now what they are to be told, where no worker stays to do it."""
    with open_home(settings_of(home)) as opened:
        sent = tell(opened)
    rows = [
        {
            "event": one.message.event.value,
            "about": one.message.notice.about,
            "run": one.message.notice.run,
            "channel": one.message.channel,
            "audience": one.message.telling.tell,
            "done": one.done,
            "reason": one.reason,
        }
        for one in sent
    ]
    if as_json:
        print_json(rows)
    elif not rows:
        typer.echo("nobody is to be told anything now")
    for row in [] if as_json else rows:
        what = f"{row['audience']} over {row['channel']}: {row['event']}" + (
            f" of {row['run']}" if row["run"] else ""
        )
        typer.echo(safe_line(f"told {what}" if row["done"] else f"not told {what}: {row['reason']}"))
    if not all(row["done"] for row in rows):
        raise typer.Exit(1)


def list_(
    failed: Annotated[bool, typer.Option("--failed", help="Only what did not reach anybody.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what people were told, the newest first."""
    with open_home(settings_of(home)) as opened:
        told = [Told.decode(state) for _, state in opened.store.projections(Notices.name)]
    shown = [one for one in reversed(told) if not failed or one.failures or one.sending]
    if as_json:
        print_json([one.model_dump(mode="json") for one in shown])
        return
    if not shown:
        typer.echo("nobody was told anything")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("LAST TRY (UTC)", "ENTRY", "AUDIENCE", "CHANNEL", "TOLD", "WHY NOT"):
        table.add_column(head, overflow="fold")
    for one in shown[:200]:
        why = safe_line(one.reason) if one.failures else "under way" if one.sending else ""
        when = one.at[:19].replace("T", " ")
        table.add_row(when, str(one.about), one.audience, one.channel, ", ".join(one.events), why)
    console().print(table)


def _fault(reference: str) -> str:
    try:
        read_secret(reference)
    except MimrunError as exc:
        return str(exc)
    return ""


COMMANDS = {
    "notice": group(
        "notice",
        "Who is told what, over which channel, and whether it reached them.",
        {
            "list": (list_, "mimrun notice list --failed"),
            "lint": (lint, "mimrun notice lint"),
            "test": (try_, "mimrun notice test chat"),
            "now": (now, "mimrun notice now"),
        },
    )
}
