"""`mimrun plan`: what a runbook would do, before anything is done."""

from __future__ import annotations

import json

from mimrun.app.home import open_home
from mimrun.app.plans import draft_plan, prepare_plan
from mimrun.catalog import installed_catalog
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
from mimrun.cli.terminal import console, print_json


def plan(
    runbook: RunbookArgument,
    inputs: InputsArgument = None,
    inventories: InventoryOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show exactly what a runbook would do: targets, commands, order, gates, undo, and what is not known yet.

    Nothing is touched and nothing is recorded. The same inputs give the same digest on every machine.
    """
    settings = settings_of(home)
    given = (runbook, inputs or [], inventories or [])
    if settings.log.exists():
        with open_home(settings) as opened:
            made = prepare_plan(opened, *given)
    else:
        made = draft_plan(settings, installed_catalog(), *given)
    if as_json:
        print_json({"digest": made.digest, "plan": json.loads(made.encode())})
    else:
        print_plan(console(), made)


COMMANDS = {
    "plan": command(
        "plan",
        plan,
        "mimrun plan postgres-failover -i inventory.yaml cluster=orders",
        "mimrun plan ./my-runbook.yaml -i hosts.ini --json",
    )
}
