"""Plans: from what a person types to a frozen plan, with everything that is wrong said at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType

from mimrun import __version__
from mimrun.app.home import Home
from mimrun.app.inventories import read_inventory
from mimrun.app.pinning import pin_files
from mimrun.app.policies import asks_at_launch
from mimrun.app.runbooks import library_folders
from mimrun.app.runs import check_published
from mimrun.catalog import GROUP, Catalog
from mimrun.errors import InventoryError, PlanError, SettingsError
from mimrun.run.cell.facts import Facts
from mimrun.runbook.inputs import parse_inputs
from mimrun.runbook.library import find_runbook, includes_from
from mimrun.runbook.lint import lint_rest
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.plan import Plan
from mimrun.runbook.planner import check_parts, make_plan
from mimrun.settings import Settings


def prepare_plan(home: Home, runbook: str, inputs: Sequence[str], inventories: Sequence[Path]) -> Plan:
    """Make the plan of a runbook, and refuse a version that ran before with other content.

    Arguments:
        runbook: its name, name@version, or the path of its file.
        inputs: as on the command line: `name=value`.
        inventories: the option `-i`; without it the one of the settings, else this machine only.

    Raises:
        InputError: runbook, inputs or inventory are wrong; every problem is named with its place.
    """
    plan = draft_plan(home.settings, home.catalog, runbook, inputs, inventories)
    check_published(home, plan)
    return plan


def require_secrets(plan: Plan) -> None:
    """See that every secret that a plan refers to can be read here.

    Raises:
        SettingsError: one cannot; all of them are named, none is shown.
    """
    missing = Facts(plan).unreadable()
    if missing:
        raise SettingsError("\n".join(missing))


def draft_plan(
    settings: Settings,
    catalog: Catalog,
    runbook: str,
    inputs: Sequence[str],
    inventories: Sequence[Path],
) -> Plan:
    """Make the plan of a runbook without looking at what ran before; see `prepare_plan`."""
    loaded = find_runbook(runbook, library_folders(), lint_rest(catalog))
    given = parse_inputs(loaded.runbook, inputs)
    try:
        inventory = read_inventory(settings, inventories)
    except InventoryError as exc:
        try:
            check_parts(loaded, given, catalog)
        except PlanError as more:
            raise PlanError(problems=exc.problems + more.problems) from exc
        raise
    includes, sources = includes_from(library_folders()), {loaded.digest: loaded.source}

    def included(reference: str) -> LoadedRunbook:
        found = includes(reference)
        sources[found.digest] = found.source
        return found

    plan = make_plan(
        loaded,
        given,
        inventory,
        catalog,
        connector_versions(),
        includes=included,
        launch_gate=asks_at_launch(settings),
    )
    texts = {digest: source.decode() for digest, source in sources.items()}
    return pin_files(plan, catalog).with_sources(texts)


@cache
def connector_versions() -> Mapping[str, str]:
    """Give the version of every installed connector: that of the package it comes with.

    It is read once: what is installed later is not what this process performs.
    """
    versions = {}
    for point in entry_points(group=GROUP):
        versions[point.name] = point.dist.version if point.dist else __version__
    return MappingProxyType(versions)
