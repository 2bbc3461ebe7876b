"""`mimrun alert`: what monitoring systems said, and whether they can say it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.alert.intake import Intake
from mimrun.app.alert.sending import post_alert
from mimrun.app.alert.sources import secret_faults
from mimrun.app.alert.view import (
    LISTED,
    AlertView,
    find_alert,
    list_alerts,
    open_alerts,
    read_alert,
    whole_alert,
)
from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.cli.options import AsOption, HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json, safe, safe_line
from mimrun.errors import InputError
from mimrun.incident.intake.payload import MAX_BYTES
from mimrun.incident.source_file import load_sources
from mimrun.log.moment import utc_now

_TONES = {"firing": "red", "acknowledged": "yellow", "resolved": "green", "info": "dim"}


KindOption = Annotated[
    str, typer.Option("--kind", metavar="KIND", help="alertmanager, grafana, pagerduty, cloudevents or json.")
]
SourceOption = Annotated[
    str,
    typer.Option(
        "--source",
        metavar="NAME",
        show_default=False,
        help="A source of alerts.yaml. Default: the first of this kind.",
    ),
]
PostOption = Annotated[
    bool,
    typer.Option(
        "--post", help="Send it to the server over HTTP, in the name and with the secret of the source."
    ),
]
UrlOption = Annotated[
    str,
    typer.Option(
        "--url", metavar="URL", show_default=False, help="The server for --post. Default: the one up here."
    ),
]


def send(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="What a monitoring system would send; - is standard input.")
    ],
    *,
    kind: KindOption = "alertmanager",
    source: SourceOption = "",
    post: PostOption = False,
    url: UrlOption = "",
    as_: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hand an alert in, in your own name; or send it as the source would, to try the way.

    What a person hands in is on the record as theirs. Rules heed it, and launch nothing because of it.
    """
    raw = _read(file)
    settings = settings_of(home)
    if post or url:
        answer = dict(post_alert(settings, kind, raw, utc_now(), source=source, url=url))
    else:
        with open_home(settings) as opened:
            identity = identify(opened.people(), as_)
            received = Intake(opened).hand_in(kind, raw, identity, source=source)
            answer = {"accepted": received.accepted, "duplicates": received.duplicates}
    if as_json:
        print_json(answer)
        return
    new, old = answer["accepted"], answer["duplicates"]
    typer.echo(f"{_counted(new)} recorded" + (f", {_counted(old)} had come before" if old else ""))


def list_(
    limit: Annotated[
        int, typer.Option("-n", "--limit", min=1, max=100_000, help="So many, the newest ones.")
    ] = LISTED,
    *,
    firing: Annotated[
        bool, typer.Option("--firing", help="Only what is wrong by now, each thing once.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List alerts, the newest first."""
    with open_home(settings_of(home)) as opened:
        found = (open_alerts(opened) if firing else list_alerts(opened, limit=limit))[::-1][:limit]
        if as_json:
            print_json([whole_alert(opened, opened.store.entry(one.seq)) for one in found])
            return
    if not found:
        typer.echo("nothing is wrong by the alerts that came" if firing else "no alert has come")
        return
    _show_list(found)


def show(
    entry: Annotated[
        int, typer.Argument(metavar="ENTRY", min=1, help="The alert's entry, as `alert list` has it.")
    ],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show everything that an alert said. It is somebody else's text, and nothing in it is heeded here."""
    with open_home(settings_of(home)) as opened:
        found = find_alert(opened, entry)
        if as_json:
            print_json(whole_alert(opened, found))
            return
        alert = read_alert(opened, found)
    out = console()
    out.print(Text(safe_line(alert.title, 200), "bold"))
    facts = {
        "Status": alert.status,
        "Severity": alert.severity,
        "Source": f"{alert.source} ({'nobody can tell' if alert.auth == 'none' else alert.auth})",
        "Service": alert.service,
        "Value": alert.value,
        "Began": alert.starts_at,
        "Ended": alert.ends_at,
        "Recorded": f"{found.ts:%Y-%m-%d %H:%M:%S}Z by {found.actor.id}",
        "Fingerprint": alert.fingerprint,
        "Address": alert.url,
        "More": "its source left out others that belong to it" if alert.more else "",
    }
    _pairs({name: text for name, text in facts.items() if text})
    for title, texts in (("Labels", alert.labels), ("Annotations", alert.annotations)):
        if texts:
            out.print(Text(f"\n{title}", "bold"))
            _pairs(texts)


def lint(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check alerts.yaml: sources, mappings, and that their secrets can be read and not be guessed."""
    settings = settings_of(home)
    if not settings.alerts.exists():
        raise InputError(
            f"{settings.alerts} is not there; docs/how-to/take-alerts-in.md says what goes into it"
        )
    sources = load_sources(settings.alerts)
    faults = secret_faults(sources)
    if as_json:
        print_json({"sources": sources.as_json(), "faults": faults})
    else:
        for name, fault in faults.items():
            typer.echo(safe_line(f"source {name}: {fault}", 500))
        if not faults:
            said = ", ".join(f"{name} ({source.kind})" for name, source in sources.by_name.items())
            typer.echo(f"{len(sources.by_name)} sources are in order: {said or 'nobody may send alerts'}")
    if faults:
        raise typer.Exit(2)


def _read(file: str) -> bytes:
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1) if file == "-" else Path(file).read_bytes()
    except (OSError, ValueError) as exc:
        raise InputError(f"{file} cannot be read: {getattr(exc, 'strerror', exc)}") from exc
    if len(raw) > MAX_BYTES:
        raise InputError(f"{file} has more than {MAX_BYTES} bytes, and no alert is that long")
    return raw


def _counted(number: int) -> str:
    return f"{number} alert{'' if number == 1 else 's'}"


def _show_list(found: list[AlertView]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("RECORDED (UTC)", "ENTRY", "SOURCE", "STATUS", "SEVERITY", "SERVICE", "TITLE"):
        table.add_column(head, overflow="fold")
    for one in found:
        said = one.said
        table.add_row(
            f"{one.at:%Y-%m-%d %H:%M:%S}",
            str(one.seq),
            safe_line(said.source),
            Text(said.status, _TONES[said.status]),
            said.severity,
            safe_line(said.service),
            safe_line(said.title, 120),
        )
    console().print(table)


def _pairs(texts: dict[str, str]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", overflow="fold")
    table.add_column(overflow="fold")
    for name, text in texts.items():
        table.add_row(safe_line(name), Text(safe(text)))
    console().print(table)


COMMANDS = {
    "alert": group(
        "alert",
        "What monitoring systems said, and whether they can say it.",
        {
            "list": (list_, "mimrun alert list --firing"),
            "show": (show, "mimrun alert show 4711"),
            "send": (send, "mimrun alert send payload.json --kind alertmanager"),
            "lint": (lint, "mimrun alert lint"),
        },
    )
}
