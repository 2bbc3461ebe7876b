"""`mimrun kill-switch | breaker`: stopping everything, and letting a runbook that keeps failing go on."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import JsonValue
from rich.table import Table
from rich.text import Text

from mimrun.app.breakers import close_breaker, list_breakers
from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.killswitch import Standing, lift, pull, standing_of
from mimrun.cli.options import AsOption, HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.gate.people_file import load_people

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; a reviewer will read it.")]


def pull_switch(
    reason: ReasonOption = "",
    *,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop everything: all runs rest within a second, nothing is launched or resumed. Anybody may.

    What is under way on a target finishes; `mimrun cancel` and `mimrun abort` still work. The switch
    stays pulled, over restarts and without the log, until two people have lifted it.
    """
    settings = settings_of(home)
    unlogged = pull(settings, identify(load_people(settings.people), claimed), reason)
    if as_json:
        print_json({"pulled": True, "not_in_the_log": unlogged})
        return
    typer.echo("the kill switch is pulled: nothing begins any more")
    if unlogged:
        typer.echo(f"it works, but only one of log and file has it: {unlogged}", err=True)
    typer.echo("two people lift it: mimrun kill-switch lift --reason ...")


def lift_switch(
    reason: ReasonOption = "",
    *,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Agree to lift the kill switch. The second person who agrees lifts it; the one who pulled may be one.

    Both must be known and be responder or change_manager. Runs stay where they are until somebody
    resumes them, one by one.
    """
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        now = lift(opened, identity, reason)
    if as_json:
        print_json(now.as_json())
    elif now.pulled:
        typer.echo(f"{identity.person.id} agreed; {now.advice}")
    else:
        typer.echo("the kill switch is lifted; go on run by run with: mimrun resume RUN")


def show_switch(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show whether the kill switch is pulled, by whom and why, and how it is lifted."""
    with open_home(settings_of(home)) as opened:
        now = standing_of(opened)
    if as_json:
        print_json(now.as_json())
        return
    _show(now)


def _show(now: Standing) -> None:
    out = console()
    if not now.pulled:
        out.print(Text("the kill switch is not pulled", "green"))
        return
    out.print(Text(safe_line(now.why), "bold red"))
    out.print(Text("  next: ", "bold").append(now.advice, "cyan"))


def breakers(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List runbooks whose last runs failed. After three in a row a runbook is refused until it is closed."""
    with open_home(settings_of(home)) as opened:
        shown = list_breakers(opened)
    if as_json:
        print_json(
            [
                {
                    "runbook": name,
                    "open": one.open,
                    "failures": [_failure(f.run, f.at, f.reason) for f in one.failures],
                }
                for name, one in shown.items()
            ]
        )
        return
    if not shown:
        typer.echo("no runbook failed lately")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("RUNBOOK", "BREAKER", "RUN", "ENDED (UTC)", "WHY"):
        table.add_column(head, overflow="fold")
    for name, one in shown.items():
        for failure in one.failures:
            state = Text("open", "bold red") if one.open else Text("closed", "green")
            ended = failure.at[:19].replace("T", " ")
            table.add_row(name, state, failure.run, ended, safe_line(failure.reason))
    console().print(table)


def _failure(run: str, at: str, reason: str) -> JsonValue:
    return {"run": run, "at": at, "reason": reason}


def close(
    runbook: Annotated[str, typer.Argument(metavar="RUNBOOK", help="The runbook's name.")],
    *,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a runbook be launched again, after somebody looked at why its runs failed."""
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        close_breaker(opened, identity, runbook, reason)
    if as_json:
        print_json({"runbook": runbook, "open": False})
    else:
        typer.echo(
            f"{identity.person.id} closed the breaker of {safe_line(runbook)}; it can be launched again"
        )


COMMANDS = {
    "kill-switch": group(
        "kill-switch",
        "Stop everything at once, and let it go on when two people agree.",
        {
            "pull": (pull_switch, 'mimrun kill-switch pull --reason "the wrong hosts are being restarted"'),
            "lift": (lift_switch, 'mimrun kill-switch lift --reason "the inventory is mended"'),
            "show": (show_switch, "mimrun kill-switch show --json"),
        },
    ),
    "breaker": group(
        "breaker",
        "Runbooks that failed several times in a row are refused until somebody has looked.",
        {
            "list": (breakers, "mimrun breaker list"),
            "close": (close, 'mimrun breaker close postgres-failover --reason "the proxy was down"'),
        },
    ),
}
