"""`mimrun plan`: what a runbook would do, before anything is done."""

from __future__ import annotations

import json
from typing import Annotated, TypeAlias

import typer

from mimrun.app.checking import Prospect, check_plan
from mimrun.app.explaining import Explanation, Wanted, explain_plan
from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.plans import draft_plan, prepare_plan
from mimrun.app.policies import asks_at_launch
from mimrun.app.presence import takes_back_alone
from mimrun.canonical import Json
from mimrun.catalog import installed_catalog
from mimrun.cli.check_view import print_check
from mimrun.cli.options import (
    HomeOption,
    InputsArgument,
    InventoryOption,
    JsonOption,
    RunbookArgument,
    command,
    settings_of,
)
from mimrun.cli.plan_view import print_plan
from mimrun.cli.policy import print_outlook
from mimrun.cli.revert_warning import warn_of_nobody
from mimrun.cli.terminal import console, print_json

CheckOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--check", help="Compare with the live targets: connect, make the readings, show what would change."
    ),
]


def plan(
    runbook: RunbookArgument,
    inputs: InputsArgument = None,
    *,
    inventories: InventoryOption = None,
    home: HomeOption = None,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show exactly what a runbook would do: targets, commands, order, gates, undo, and what is not known yet.

    Nothing is touched and nothing is recorded. The same inputs give the same digest on every machine.

    With --check the targets are connected to and read, and each step says what it would change there as
    they are now, or that nobody can know. Still nothing is changed. It ends with 1 where a step would fail
    and its failure is not ignored (`ignore_errors`).
    """
    settings, catalog = settings_of(home), installed_catalog()
    given = (runbook, inputs or [], inventories or [])
    stands: Explanation | None = None
    if settings.store or settings.log.exists():
        with open_home(settings) as opened:
            made = prepare_plan(opened, *given)
            if asks_at_launch(settings):
                stands = explain_plan(opened, made, Wanted(identify(opened.people(), None)))
    else:
        made = draft_plan(settings, catalog, *given)
    shown: dict[str, Json] = {}
    if as_json:
        warnings = [why for why in [takes_back_alone(settings, made)] if why]
        shown = {"digest": made.digest, "plan": json.loads(made.encode()), "warnings": [*warnings]}
        shown |= {"allowed": stands.as_json()} if stands else {}
    else:
        print_plan(console(), made)
        if stands:
            print_outlook(console(), stands)
        warn_of_nobody(settings, made)
    if check:
        steps = check_plan(made, catalog)
        seen = [f for step in steps for f in step] if as_json else print_check(console(), steps)
        shown["check"] = [forecast.as_json() for forecast in seen]
    if as_json:
        print_json(shown)
    if check and any(forecast.prospect is Prospect.FAILS and not forecast.tolerated for forecast in seen):
        raise typer.Exit(1)


COMMANDS = {
    "plan": command(
        "plan",
        plan,
        "mimrun plan postgres-failover -i inventory.yaml cluster=orders",
        "mimrun plan service-restart -i inventory.yaml unit=nginx --check",
        "mimrun plan ./my-runbook.yaml -i hosts.ini --json",
    )
}
