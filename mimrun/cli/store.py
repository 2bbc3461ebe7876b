"""`mimrun store`: the log's file or database itself."""

from __future__ import annotations

from typing import Annotated, Self

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mimrun.app.stores import Moved, copy_store, migrate_store
from mimrun.cli.options import HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json


def migrate(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Bring a log that an earlier mimrun made up to date. Every entry and hash stays; nothing is lost if it is cut off.

    Nobody else may have the log open. A log in PostgreSQL is brought up to date as the owner of its tables. What was
    stored in plain is encrypted, under a key that is made beside the log unless MIMRUN_BLOB_KEY is set.
    """
    settings = settings_of(home)
    with _Shown("entries") as shown:
        done = migrate_store(settings, shown.told)
    if as_json:
        print_json(done.as_json())
    elif done.before == done.now:
        typer.echo(f"{done.where} is up to date: layout {done.now}")
    else:
        typer.echo(f"{done.where}: layout {done.before} is now {done.now}; every hash is the same")
        if not settings.blob_key:
            typer.echo(f"key of its blobs {settings.blob_key_file}: keep a copy of it apart from the log's")


def copy(
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="ADDRESS", help="postgresql://USER@HOST/DATABASE, or the path of a file."
        ),
    ],
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Only copy: the log goes on where it is, and not in the copy.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the log from its file to PostgreSQL, or back into a file, with every hash, checkpoint, blob and key.

    The log is in use meanwhile. At the end it is closed for everybody for a moment, compared, and marked: from then
    on nothing is added to it, and whoever tries is told where it goes on. A copy that was broken off is gone on with
    by the same command. The password for PostgreSQL is that of MIMRUN_STORE_PASSWORD.
    """
    settings = settings_of(home)
    with _Shown("entries") as shown:
        moved = copy_store(settings, to, shown.told, begun=shown.begun, keep=keep)
    if as_json:
        print_json(moved.as_json())
        return
    _tell(moved, home_log=str(settings.log))


def _tell(moved: Moved, home_log: str) -> None:
    done = moved.copied
    more = f", {done.before} of them were there" if done.before else ""
    typer.echo(
        f"{moved.where}: {done.size} entries{more}; the same root in both, and the copy verifies: {done.root}"
    )
    if not moved.closed:
        typer.echo("the log goes on where it was; add nothing to the copy, or they are two logs of one name")
        return
    typer.echo("the log that was copied takes no entries any more")
    if moved.setting:
        typer.echo(f"next: export MIMRUN_STORE='{moved.setting}', wherever mimrun is used")
        typer.echo("then: give the role that mimrun works as its rights, see docs/how-to/several-machines.md")
        if moved.key:
            typer.echo(f"and: copy {moved.key} into the home folder of every other machine")
        return
    typer.echo(f"next: unset MIMRUN_STORE, wherever mimrun is used, and see that {moved.where} is {home_log}")


class _Shown:
    """Shows how far something is, where somebody looks; on standard error.

    Arguments:
        what: is done, as long as nothing else was said.
    """

    def __init__(self, what: str) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        err = console(stderr=True)
        self._bar = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self._task = self._bar.add_task(what, total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begun(self, what: str) -> None:
        """Say what is done from here on."""
        self._bar.reset(self._task, total=None, description=what)

    def told(self, done: int, of: int) -> None:
        """Show how far it is."""
        self._bar.update(self._task, completed=done, total=of)


COMMANDS = {
    "store": group(
        "store",
        "Bring the log's file or database up to date, or take the log to another one.",
        {
            "migrate": (migrate, "mimrun store migrate"),
            "copy": (copy, "mimrun store copy --to 'postgresql://owner@db.example.org/incidents'"),
        },
    )
}
