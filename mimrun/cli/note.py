"""`mimrun note | did | attach`: what people saw, did with their own hands, and want to keep, on the record."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from mimrun.app.attachments import read_attachments
from mimrun.app.home import Home, open_home
from mimrun.app.identity import Identity, identify
from mimrun.app.inventories import read_inventory
from mimrun.app.known_secrets import known_secrets
from mimrun.app.manual_work import LONGEST, Place, Report, attach_files, find_place, report_work, write_note
from mimrun.app.past import parse_past, say_moment
from mimrun.canonical import Json
from mimrun.cli.options import AsOption, HomeOption, InventoryOption, JsonOption, command, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import InputError
from mimrun.log.entry import LogEntry
from mimrun.log.export.sentence import late_by
from mimrun.log.kinds import IncidentAttached
from mimrun.log.moment import write_moment
from mimrun.runbook.inventory import Inventory
from mimrun.secret import Masker

IncidentOption = Annotated[
    str | None,
    typer.Option(
        "--incident",
        metavar="INC",
        show_default=False,
        help="The incident it belongs to. Default: the one that was declared, or had a run, last.",
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", show_default=False, help="The run it belongs to, or `latest`."),
]
AttachOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--attach",
        metavar="FILE",
        show_default=False,
        help="A file that goes with it. May be given several times.",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Attach a file though a secret that is known here is in it.")
]

_CUT: Final = "# ---- above this line: what happened, in your words; what is below is left out ----"


@dataclass(slots=True)
class _Desk:
    """What a command works with, and what it has to tell about that."""

    home: Home
    identity: Identity
    place: Place
    inventory: Inventory
    masker: Masker
    warnings: list[str] = field(default_factory=list)

    def mask(self, text: str) -> str:
        """Take the secrets that are known here out of a text, and say so."""
        masked = self.masker.mask_text(text)
        if masked != text:
            self.warnings.append("a secret that is known here was in the text, and is masked")
        return masked


def note(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            show_default=False,
            help="What you saw or think; `-` reads it from standard input; none opens $EDITOR.",
        ),
    ] = None,
    *,
    incident: IncidentOption = None,
    run: RunOption = None,
    attach: AttachOption = None,
    force: ForceOption = False,
    inventories: InventoryOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write something down in the log of an incident.

    A secret that the settings or the inventory name is masked; files are kept byte for byte.
    """
    with open_home(settings_of(home)) as opened:
        desk = _desk(opened, (incident, run), inventories, claimed)
        files = read_attachments(attach or [], desk.masker, force=force)
        text = desk.mask(_words(words or []))
        entries = write_note(opened, desk.identity, desk.place, text, files)
    _tell(desk, entries, "noted", as_json=as_json)


def did(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT", show_default=False, help="What you did; `-` reads it from standard input."
        ),
    ] = None,
    *,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="MOMENT",
            show_default=False,
            help="When: 10:42 (today or yesterday, on your clock), ISO 8601, or `15m ago`. Default: now.",
        ),
    ] = None,
    target: Annotated[
        str, typer.Option("--target", metavar="HOST", show_default=False, help="The host it was done on.")
    ] = "",
    incident: IncidentOption = None,
    run: RunOption = None,
    attach: AttachOption = None,
    force: ForceOption = False,
    inventories: InventoryOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record what you did outside of a runbook, and when you did it.

    It is kept as entered later: the log shows both moments.
    """
    with open_home(settings_of(home)) as opened:
        now = opened.clock()
        moment = parse_past(at, now) if at is not None else now.astimezone()
        desk = _desk(opened, (incident, run), inventories, claimed)
        _check_target(desk, target)
        files = read_attachments(attach or [], desk.masker, force=force)
        report = Report(desk.mask(_words(words or [])), moment, target)
        entries = report_work(opened, desk.identity, desk.place, report, files)
    _tell(desk, entries, "recorded", at=moment, as_json=as_json)


def attach_all(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="What belongs to the incident.")],
    *,
    note: Annotated[
        str, typer.Option("--note", metavar="TEXT", show_default=False, help="What it shows.")
    ] = "",
    digest_only: Annotated[
        bool, typer.Option("--digest-only", help="Keep what proves the file, and not the file.")
    ] = False,
    incident: IncidentOption = None,
    run: RunOption = None,
    force: ForceOption = False,
    inventories: InventoryOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Attach files to an incident, with their SHA-256. `mimrun log attachment` gives them back.

    The content is kept byte for byte, up to 16 MiB a file. A file that a known secret is in is refused.
    """
    with open_home(settings_of(home)) as opened:
        desk = _desk(opened, (incident, run), inventories, claimed)
        read = read_attachments(files, desk.masker, digest_only=digest_only, force=force)
        entries = attach_files(opened, desk.identity, desk.place, read, desk.mask(note))
    _tell(desk, entries, "attached", as_json=as_json)


def _desk(
    home: Home, place: tuple[str | None, str | None], inventories: list[Path] | None, claimed: str | None
) -> _Desk:
    identity = identify(home.people(), claimed)
    inventory = read_inventory(home.settings, inventories or [])
    masker = known_secrets(home.settings, inventory)
    return _Desk(home, identity, find_place(home, *place), inventory, masker)


def _check_target(desk: _Desk, target: str) -> None:
    """See that a host is one, where there is an inventory to tell.

    Raises:
        InputError: the inventory does not have it, or it cannot be the name of one.
    """
    if not target:
        return
    if len(target) > 255 or not target.isprintable():
        raise InputError("--target: the name of a host has at most 255 characters, all of them printable")
    if desk.inventory.is_given:
        desk.inventory.groups_of(target)
    else:
        desk.warnings.append(
            f"there is no inventory to look {target!r} up in; it is recorded as you wrote it"
        )


def _words(words: Sequence[str]) -> str:
    """Give what a person wants to say: the words, standard input, or what they write in their editor.

    Raises:
        InputError: nothing was said.
    """
    if list(words) == ["-"]:
        data = sys.stdin.buffer.read(LONGEST + 1)
        try:
            return data.decode()
        except UnicodeDecodeError as exc:
            if exc.reason == "unexpected end of data" and len(data) > LONGEST:
                return data.decode("utf-8", "replace")
            raise InputError("standard input is not UTF-8 text; attach it as a file") from exc
    if words:
        return " ".join(words)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InputError("say what: give the words, or `-` to read them from standard input")
    return _edited()


def _edited() -> str:
    """Let a person write in their editor.

    Raises:
        InputError: there is no editor, or it failed; what was written is not lost.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    if not editor:
        raise InputError("say what: give the words, or set EDITOR to write them there")
    # Made readable by its owner alone.
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix="mimrun-note-", delete=False) as file:
        file.write(f"\n\n{_CUT}\n")
    path = Path(file.name)
    try:
        code = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
    except (OSError, ValueError) as exc:
        path.unlink()
        raise InputError(f"EDITOR={editor}: cannot be started: {exc}") from exc
    if code != 0:
        raise InputError(f"EDITOR={editor} ended with {code}; nothing was recorded, your words are in {path}")
    text = path.read_text("utf-8", "backslashreplace")
    path.unlink()
    return text.partition(_CUT)[0]


def _tell(
    desk: _Desk, entries: Sequence[LogEntry], verb: str, *, at: datetime | None = None, as_json: bool
) -> None:
    if as_json:
        print_json(_as_json(desk, entries, at))
        return
    first, out = entries[0], console()
    who, where = desk.identity.person.id, desk.place.describe()
    out.print(Text(f"{verb} by {safe_line(who)} as entry {first.seq} of {where}", "bold"))
    if at is not None:
        out.print(Text("  ".join(["  done " + say_moment(at), *filter(None, [late_by(first)])])))
    for entry in entries:
        if isinstance(entry.body, IncidentAttached):
            body = entry.body
            kept = "" if body.kept else ", only the digest is kept"
            line = f"  {safe_line(body.name)}  {body.media_type}, {body.size} bytes, {body.digest}{kept}"
            out.print(Text(f"{line}, entry {entry.seq}"))
    for warning in dict.fromkeys(desk.warnings):
        console(stderr=True).print(Text(f"note: {safe_line(warning)}", "yellow"))


def _as_json(desk: _Desk, entries: Sequence[LogEntry], at: datetime | None) -> Json:
    first = entries[0]
    attached: list[Json] = [
        {"entry": entry.seq, **entry.body.model_dump(mode="json")}
        for entry in entries
        if isinstance(entry.body, IncidentAttached)
    ]
    told: dict[str, Json] = {
        "entry": first.seq,
        "kind": first.kind.value,
        "incident": first.inc,
        "run": first.run,
        "assumed": bool(desk.place.assumed),
        "by": desk.identity.person.id,
        "ts": write_moment(first.ts),
        "attachments": attached,
        "warnings": list(dict.fromkeys(desk.warnings)),
    }
    if at is not None:
        told |= {"at": write_moment(at), "said": say_moment(at), "target": first.target}
    return told


COMMANDS = {
    "note": command(
        "note",
        note,
        'mimrun note "the errors began with the certificate, not with the release"',
        "journalctl -u api | tail -50 | mimrun note - --incident INC-20261122-7K2Q",
        'mimrun note "what the load balancer shows" --attach screenshot.png',
    ),
    "did": command(
        "did",
        did,
        'mimrun did "restarted the switch by hand" --at 10:42',
        'mimrun did "took db3 out of the pool" --at "15m ago" --target db3 --run latest',
    ),
    "attach": command(
        "attach",
        attach_all,
        'mimrun attach heap.txt screenshot.png --note "just before the restart"',
        "mimrun attach core.dump --digest-only --incident INC-20261122-7K2Q",
    ),
}
