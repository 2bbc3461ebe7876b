"""`mimrun init | up | down | doctor`: the ground that runs stand on."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from mimrun.app.doctor import examine
from mimrun.app.doctor_check import Check
from mimrun.app.home import lay_home
from mimrun.app.launching import Launcher, find_launcher
from mimrun.cli.options import HomeOption, JsonOption, command, settings_of
from mimrun.cli.terminal import console, print_json, safe
from mimrun.errors import RunError
from mimrun.settings import Settings


def init(
    home: HomeOption = None,
    prefect: Annotated[
        bool, typer.Option("--prefect/--no-prefect", help="Lay Prefect's database, too.")
    ] = True,
) -> None:
    """Make mimrun's home: an empty log, a people file, and Prefect's database, so that runs start fast."""
    settings = settings_of(home)
    made = lay_home(settings, anew=True)
    if prefect:
        launcher = find_launcher(settings)
        if launcher is not None:
            with console(stderr=True).status("laying Prefect's database (once, about 15 s)"):
                if launcher.lay_template():
                    made.append(f"Prefect's database {settings.prefect}")
    for line in made or ["everything is there already"]:
        typer.echo(line)
    if not settings.policy.exists():
        typer.echo("no policy: only the gates that runbooks write count; `mimrun policy init` writes one")
    typer.echo(f"next: say who may do what in {settings.people}, then `mimrun runbook list`")


def up(
    home: HomeOption = None,
    wait: Annotated[int, typer.Option("--wait", metavar="SECONDS", help="How long to wait for it.")] = 60,
    as_json: JsonOption = False,
) -> None:
    """Keep a warm engine in the background: Prefect loaded, its API up, runs start at once."""
    settings = settings_of(home)
    lay_home(settings)
    launcher = _launcher(settings)
    with console(stderr=True).status("waking the engine"):
        status = launcher.up(float(wait))
    _tell(status, as_json=as_json)


def down(
    home: HomeOption = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also while it executes runs; they are interrupted and can be resumed."),
    ] = False,
) -> None:
    """Stop the engine. While it executes runs it is only stopped with --force."""
    stopped = _launcher(settings_of(home)).down(force=force)
    typer.echo("the engine is stopped" if stopped else "no engine was running")


def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check this machine: what is there, what is missing, and what to type about it."""
    checks = examine(settings_of(home))
    if as_json:
        print_json([check.as_json() for check in checks])
    else:
        out = console()
        for check in checks:
            out.print(_line(check))
    if any(check.ok is False for check in checks):
        raise typer.Exit(1)


def _line(check: Check) -> Text:
    word, style = {True: ("ok", "green"), False: ("missing", "bold red"), None: ("note", "yellow")}[check.ok]
    line = Text(f"{word:<8}", style).append(f"{check.name:<22}", "bold").append(safe(check.found))
    return line.append(f"\n{'':<30}{safe(check.cure)}", "cyan") if check.cure else line


def _launcher(settings: Settings) -> Launcher:
    launcher = find_launcher(settings)
    if launcher is None:
        raise RunError("no launcher is installed; runs are executed directly (`mimrun run --direct`)")
    return launcher


def _tell(status: object, *, as_json: bool) -> None:
    facts = {name: getattr(status, name, None) for name in ("running", "ready", "pid", "api_url", "version")}
    if as_json:
        print_json(facts)
        return
    typer.echo(
        f"engine {'ready' if facts['ready'] else 'waking'}, pid {facts['pid']}, Prefect {facts['version']}"
    )
    typer.echo(f"Prefect's own view: {str(facts['api_url']).removesuffix('/api')}")


COMMANDS = {
    "init": command("init", init, "mimrun init --home /srv/mimrun"),
    "up": command("up", up, "mimrun up"),
    "down": command("down", down, "mimrun down"),
    "doctor": command("doctor", doctor, "mimrun doctor --json"),
}
