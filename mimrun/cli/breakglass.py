"""`mimrun breakglass`: sealed packs for when there is nothing but a machine, and what was done past the gates."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.breakglass.glass import agree as agree_to
from mimrun.app.breakglass.glass import glass_view, list_glasses
from mimrun.app.breakglass.merge import merge as merge_segment
from mimrun.app.breakglass.merge import segment_entries
from mimrun.app.breakglass.pack import Contents, inspect, trusted, unpack
from mimrun.app.breakglass.pack import pack as make_pack
from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.cli.broken_glass import glass_line, tell_opened
from mimrun.cli.options import (
    AsOption,
    HomeOption,
    InventoryOption,
    JsonOption,
    RunArgument,
    group,
    settings_of,
)
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import InputError
from mimrun.gate.people import People
from mimrun.log.moment import utc_now
from mimrun.log.proof.note import VerifyingKey, read_vkey
from mimrun.run.record.segments import Segment, Segments
from mimrun.runbook.duration import parse_duration

RootOption = Annotated[
    str | None,
    typer.Option(
        "--root", metavar="VKEY", show_default=False, help="The log's root key, that must have certified it."
    ),
]
KeyOption = Annotated[
    list[str] | None,
    typer.Option("--key", metavar="VKEY", show_default=False, help="A key of the log that you trust."),
]
UnvouchedOption = Annotated[
    bool, typer.Option("--unvouched", help="Also a pack for which nobody vouches whom this machine knows.")
]
PackArgument = Annotated[
    Path, typer.Argument(metavar="PACK", help="The file that `mimrun breakglass pack` made.")
]


def pack(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file to make.")],
    *,
    inventory: InventoryOption = None,
    known_hosts: Annotated[
        Path | None,
        typer.Option(
            "--known-hosts", metavar="FILE", show_default=False, help="Keys of hosts, as ssh keeps them."
        ),
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="DURATION", help="For how long the pack is good.")
    ] = "30d",
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why it is made; it stands in the log.")
    ] = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal runbooks, inventory, people, policy, calendars and hosts' keys into one file.

    A machine with mimrun and nothing else can run from it: no network of yours, no Prefect, no sign-in. Secrets are
    not in it. Keep it where you can reach it when nothing works, and the log's root key beside it.
    """
    good_for = _duration(expires)
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        made = make_pack(
            opened,
            identity,
            path,
            inventories=inventory or (),
            known_hosts=known_hosts,
            reason=reason,
            expires=good_for,
        )
    if as_json:
        print_json(made.as_json())
        return
    typer.echo(
        f"{path}: {len(made.files)} files, good until {made.expires_at:%Y-%m-%d %H:%M} UTC, as {made.name}"
    )
    for lack in made.lacks():
        console(stderr=True).print(Text(lack, "yellow"))


def show(
    path: PackArgument,
    *,
    root: RootOption = None,
    key: KeyOption = None,
    unvouched: UnvouchedOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a pack, and list what is in it, without unpacking anything."""
    contents = _inspect(path, root, key, home, unvouched=unvouched)
    body = contents.body
    if as_json:
        print_json({"log": contents.log, **body.model_dump(mode="json"), "vouched": contents.report.vouched})
        return
    typer.echo(
        f"sealed by {contents.entry.actor.id} on {contents.entry.ts:%Y-%m-%d %H:%M} UTC from {contents.log}"
    )
    typer.echo(f"{body.files} files, {body.pack}, good until {body.expires_at[:16].replace('T', ' ')} UTC")
    for name in contents.names():
        typer.echo(safe_line(f"  {name}"))


def open_(
    path: PackArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The home to make; it must not exist.")],
    *,
    root: RootOption = None,
    key: KeyOption = None,
    unvouched: UnvouchedOption = False,
    expired: Annotated[bool, typer.Option("--expired", help="Also a pack whose time is over.")] = False,
    home: HomeOption = None,
) -> None:
    """Make a home of its own of a pack: with a log that says which entry of which log it goes on from."""
    contents = _inspect(path, root, key, home, unvouched=unvouched)
    actor = identify(People(), None).actor()
    _, made = unpack(contents, folder, actor, now=utc_now(), expired=expired)
    for line in made:
        typer.echo(safe_line(line))
    typer.echo(safe_line(f"now: . {folder}/env   and read {folder}/README"))


def merge(
    source: Annotated[
        Path,
        typer.Argument(metavar="FOLDER|BUNDLE", help="The folder of a pack, or a bundle of its whole log."),
    ],
    *,
    incident: Annotated[
        str | None,
        typer.Option(
            "--incident", metavar="INC", show_default=False, help="Where it belongs; a new one without it."
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why the pack was used.")] = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take what was recorded with a pack into this log, with the proof that it goes on from here."""
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        merged = merge_segment(opened, identity, source, incident=incident, reason=reason)
    if as_json:
        print_json(
            {
                "entry": merged.seq,
                "incident": merged.incident,
                "origin": merged.origin,
                "entries": merged.entries,
                "new": merged.new,
                "runs": list(merged.runs),
                "changes": list(merged.changes),
            }
        )
        return
    what = f"{merged.entries} entries of {merged.origin} ({merged.new} of them new)"
    typer.echo(
        f"merged {what} as entry {merged.seq} of {merged.incident}; look: mimrun breakglass log {merged.seq}"
    )


def agree(
    run: RunArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why you want it, too.")] = "",
    *,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Want a run past its gates, too: with enough persons its gates are open, and it can go on."""
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        glass = agree_to(opened, run, identity, reason)
        view = glass_view(opened, glass.run)
        assert view is not None
    if as_json:
        print_json(view.as_json())
    elif glass.opened:
        tell_opened(glass)
        typer.echo(f"go on with: mimrun resume {glass.run}")
    else:
        typer.echo(f"{glass.run}: {view.words}")


def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also what is settled.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs that went past their gates, until the change that tells why is closed."""
    with open_home(settings_of(home)) as opened:
        views = list_glasses(opened, everything=everything)
    if as_json:
        print_json([view.as_json() for view in views])
        return
    if not views:
        typer.echo("nothing that went past its gates is left to settle")
    for view in views:
        line = Text(f"{view.glass.run}  {view.glass.incident}  ")
        console().print(line.append_text(glass_line(view)))


def log(
    seq: Annotated[int, typer.Argument(metavar="ENTRY", min=1, help="The entry that merged it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was recorded with a pack, from the entry that merged it."""
    with open_home(settings_of(home)) as opened:
        entries = list(segment_entries(opened, seq))
    if as_json:
        print_json([entry.as_json() for entry in entries])
        return
    for entry in entries:
        where = " ".join(word for word in (entry.inc, entry.run, entry.step, entry.target) if word)
        typer.echo(
            safe_line(f"{entry.ts:%Y-%m-%d %H:%M:%S}Z {entry.seq:>5} {entry.kind} {entry.actor.id} {where}")
        )


def packs(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the packs whose logs were merged."""
    with open_home(settings_of(home)) as opened:
        found = [Segment.decode(state) for _, state in opened.store.projections(Segments.name)]
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    if not found:
        typer.echo("no pack's log was merged")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("LOG", "ENTRIES", "MERGED AS", "INCIDENT", "BY"):
        table.add_column(head, overflow="fold")
    for one in found:
        table.add_row(one.origin, str(one.entries), str(one.seq), one.incident, one.by)
    console().print(table)


def _duration(text: str) -> timedelta:
    try:
        return timedelta(milliseconds=parse_duration(text))
    except ValueError as exc:
        raise InputError(f"--expires: {exc}") from exc


def _inspect(
    path: Path, root: str | None, key: list[str] | None, home: Path | None, *, unvouched: bool
) -> Contents:
    try:
        roots: list[VerifyingKey] = [read_vkey(root)] if root else []
        keys = [read_vkey(one) for one in key or []]
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    return inspect(path, trusted(settings_of(home), roots, keys, unvouched=unvouched))


COMMANDS = {
    "breakglass": group(
        "breakglass",
        "Past the gates: what was done so, and sealed packs for when there is nothing but a machine.",
        {
            "agree": (agree, 'mimrun breakglass agree run-7k2q --reason "nobody of the change team answers"'),
            "list": (list_, "mimrun breakglass list"),
            "pack": (
                pack,
                "mimrun breakglass pack /mnt/usb/mimrun.pack -i inventory --known-hosts ~/.ssh/known_hosts",
            ),
            "show": (show, "mimrun breakglass show mimrun.pack --root example.org/root+..."),
            "open": (open_, "mimrun breakglass open mimrun.pack ./emergency"),
            "merge": (merge, "mimrun breakglass merge ./emergency --incident INC-20261122-7K2Q"),
            "packs": (packs, "mimrun breakglass packs"),
            "log": (log, "mimrun breakglass log 4711"),
        },
    )
}
