"""`mimrun proposal`: plans that rules propose, each waiting for one person."""

from __future__ import annotations

import json
import sys
from typing import Annotated, TypeAlias

import typer
from rich.table import Table
from rich.text import Text

from mimrun.app.explaining import Wanted, explain_plan
from mimrun.app.home import Home, open_home
from mimrun.app.identity import Identity, identify
from mimrun.app.launching import wake
from mimrun.app.plans import require_secrets
from mimrun.app.policies import asks_at_launch
from mimrun.app.rule.proposals import (
    ProposalView,
    dismiss_proposal,
    find_proposal,
    list_proposals,
    proposal_plan,
    require_open,
    take_proposal,
)
from mimrun.app.runs import check_launch
from mimrun.cli.driving import Wishes, drive
from mimrun.cli.options import AsOption, HomeOption, JsonOption, YesOption, group, settings_of
from mimrun.cli.patience import WaitForLocksOption, lock_patience, when_free
from mimrun.cli.plan_view import print_plan
from mimrun.cli.policy import print_outlook
from mimrun.cli.run import DetachOption, DirectOption, confirm_go
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.runbook.plan import Plan

ProposalArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="PROPOSAL", help="A proposal's name, the beginning of it, or `latest`.")
]
_TONES = {"open": "bold cyan", "taken": "green", "dismissed": "dim", "expired": "dim"}


def list_(
    every: Annotated[bool, typer.Option("--all", help="Also what is taken, dismissed or expired.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what rules propose and nobody has decided about, the newest first."""
    with open_home(settings_of(home)) as opened:
        found = [one for one in list_proposals(opened) if every or one.state == "open"]
    if as_json:
        print_json([one.as_json() for one in found])
        return
    if not found:
        typer.echo("nothing is proposed" if not every else "nothing was ever proposed")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("PROPOSAL", "STATE", "UNTIL (UTC)", "RISK", "RUNBOOK", "RULE", "ABOUT", "INCIDENT"):
        table.add_column(head, overflow="fold")
    for one in found:
        table.add_row(
            Text(one.name, "bold"),
            Text(one.state, _TONES[one.state]),
            f"{one.until:%Y-%m-%d %H:%M}",
            one.risk.replace("_", " "),
            f"{one.runbook}@{one.version}",
            one.rule,
            safe_line(one.said.group) + ("" if one.burns else "  (over)"),
            one.incident,
        )
    console().print(table)


def show(proposal: ProposalArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show exactly what is proposed: the plan, why, which alerts, and what its gate would ask for."""
    with open_home(settings_of(home)) as opened:
        view = find_proposal(opened, proposal)
        plan = proposal_plan(opened, view.name)
        if as_json:
            print_json({**view.as_json(), "plan": json.loads(plan.encode())})
            return
        _print(opened, view, plan, identify(opened.people(), None))


def take(
    proposal: ProposalArgument = "latest",
    *,
    direct: DirectOption = False,
    detach: DetachOption = False,
    wait_for_locks: WaitForLocksOption = None,
    yes: YesOption = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the plan of a proposal, ask, then execute it and follow it live, as `mimrun run` does.

    You launch it, so that you do not approve it where its gates ask for somebody. What is launched is the plan that
    is shown, and nothing that runbook or inventory say by now.
    """
    settings = settings_of(home)
    patience_ms = lock_patience(settings, wait_for_locks)
    with open_home(settings) as opened:
        opened.require_key()
        identity = identify(opened.people(), claimed)
        view = find_proposal(opened, proposal)
        require_open(view.said, opened.clock())
        plan = proposal_plan(opened, view.name)
        require_secrets(plan)
        check_launch(opened, plan, locks=not patience_ms)
        launcher = None if direct else wake(settings)
        if not as_json:
            _print(opened, view, plan, identity)
        confirm_go(yes=yes)
        run = when_free(
            lambda: take_proposal(opened, identity, view.name, plan.digest, direct=direct),
            patience_ms,
            console(stderr=as_json),
        )
        stay = not (detach or as_json) and sys.stdout.isatty()
        wishes = Wishes(launcher, settings.engine_patience_ms, stay, as_json, lock_patience_ms=patience_ms)
        code = drive(opened, run, wishes)
    raise typer.Exit(code)


def dismiss(
    proposal: ProposalArgument,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is not launched.")] = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a proposal be: nobody launches it any more. The reason stands in the incident."""
    with open_home(settings_of(home)) as opened:
        opened.require_key()
        view = dismiss_proposal(opened, identify(opened.people(), claimed), proposal, reason)
    if as_json:
        print_json(view.as_json())
    else:
        typer.echo(f"{view.name} is not launched")


def _print(home: Home, view: ProposalView, plan: Plan, identity: Identity) -> None:
    """Print what is proposed, behind what speaks for looking twice."""
    out, said = console(), view.said
    out.print(Text(view.name, "bold").append(f"  {view.state}", _TONES[view.state]))
    alerts = ", ".join(str(seq) for seq in view.alerts[:8])
    out.print(Text(f"  the rule {view.rule} proposes it for {safe_line(said.group)} (alerts {alerts})"))
    out.print(Text(f"  in {view.incident}, until {view.until:%Y-%m-%d %H:%M} UTC"))
    if said.reason:
        out.print(Text(f"  it was not launched by itself: {safe_line(said.reason)}", "dim"))
    if not view.burns:
        out.print(Text("  its alerts are over by now: look twice before you launch it", "bold yellow"))
    print_plan(out, plan)
    if asks_at_launch(home.settings):
        print_outlook(out, explain_plan(home, plan, Wanted(identity, view.incident)))


COMMANDS = {
    "proposal": group(
        "proposal",
        "What rules propose: look at it, take it, or let it be.",
        {
            "list": (list_, "mimrun proposal list"),
            "show": (show, "mimrun proposal show latest"),
            "take": (take, "mimrun proposal take latest"),
            "dismiss": (dismiss, "mimrun proposal dismiss prop-7k2q --reason 'a drill'"),
        },
    )
}
