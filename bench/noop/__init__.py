"""What the measurements of mimrun's own cost have in common: an action that does nothing, and plans of it."""

from __future__ import annotations

from typing import ClassVar

from mimrun.app.identity import Identity
from mimrun.catalog import Catalog
from mimrun.connector import Action, Call, Connector, Effect, Ok, Outcome, Settings
from mimrun.gate.people import Person
from mimrun.runbook.inventory import Inventory, load_inventory
from mimrun.runbook.loader import parse_runbook
from mimrun.runbook.plan import Plan
from mimrun.runbook.planner import make_plan


class Pass(Action):
    """Do nothing, at once."""

    verb = "pass"
    effect = Effect.ONCE


class Nothing(Connector[Settings, Pass]):
    """An outside system that is always done."""

    name = "nothing"
    settings_type = Settings
    actions: ClassVar = (Pass,)

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def _perform(self, action: Pass, call: Call) -> Outcome:
        return Ok(changed=False)


CATALOG = Catalog(connectors={"nothing": Nothing})
RESPONDER = Identity(Person("responder", "Responder"), "os-user")

HEAD = """\
schema: mimrun/1
name: noop
version: 1.0.{steps}
title: Do nothing many times
stage: maintenance
owner: bench
risk: low
hosts: {hosts}
steps:
"""


def plan_of(steps: int, hosts: str = "localhost", inventory: Inventory | None = None) -> Plan:
    """Give a plan of so many steps, each on these hosts."""
    lines = [f"  - {{name: Step {n}, nothing.pass: {{}}}}\n" for n in range(1, steps + 1)]
    book = parse_runbook(HEAD.format(steps=steps, hosts=hosts) + "".join(lines))
    return make_plan(book, {}, inventory or load_inventory([]), CATALOG, {"nothing": "1"})
