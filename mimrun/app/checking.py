"""Checking: a plan held against its live targets, before anybody approves or launches it."""

from __future__ import annotations

from collections.abc import Iterator

from mimrun.catalog import Catalog
from mimrun.run.cell.check import Check, Forecast, Prospect
from mimrun.run.cell.connections import Connections
from mimrun.run.cell.facts import Facts
from mimrun.runbook.plan import Plan

__all__ = ["Forecast", "Prospect", "check_plan"]


def check_plan(plan: Plan, catalog: Catalog) -> Iterator[tuple[Forecast, ...]]:
    """Say step by step what a plan would change on its targets as they are now. Nothing is changed.

    The targets are connected to, and readings are made on them, under the names and keys that the run
    itself would use. Nothing is recorded: the log holds what was done, and nothing was.

    Arguments:
        plan: what would be run.
        catalog: the installed connectors.
    """
    facts = Facts(plan)
    with Connections(catalog, plan) as connections:
        yield from Check(plan, facts, catalog, connections).forecasts()
