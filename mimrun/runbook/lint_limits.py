"""Limits: do they say something that can hold, and does a step not promise itself more than the run has."""

from __future__ import annotations

from mimrun.runbook.document import ValuePath
from mimrun.runbook.finding import Report
from mimrun.runbook.inventory import Inventory
from mimrun.runbook.model import ActionStep, BlockStep, Runbook
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.tree import walk_steps


def check_limits(report: Report, runbook: Runbook, inventory: Inventory | None, lost: frozenset[str]) -> None:
    """Check the limits at the top, and the narrower ones of steps.

    Arguments:
        report: where findings go.
        runbook: what is checked.
        inventory: where given, groups and variables that it does not know are errors.
        lost: names that may stand in parts of the file that could not be read, the limits among them.
    """
    limits = runbook.limits
    if inventory is not None:
        for group in limits.share.keys() - inventory.groups.keys():
            hint = suggest(group, inventory.groups)
            report.error(
                ("limits", "share", group), f"the inventory has no group {group!r}", hint, at_key=True
            )
        known = {name for host in inventory.hosts for name in inventory.vars(host)}
        if limits.domains is not None and limits.domains.by not in known:
            message = f"no host of the inventory has a variable {limits.domains.by!r}"
            report.error(("limits", "domains", "by"), message, suggest(limits.domains.by, known))
    for path, step in walk_steps(() if lost else runbook.steps):
        if isinstance(step, ActionStep | BlockStep) and step.max_failures is not None:
            _narrower(
                report, step.max_failures, limits.failures, report.loaded.step_path(path, "max_failures")
            )


def _narrower(report: Report, own: int | str, whole: int | str, place: ValuePath) -> None:
    """Complain where a step would let more hosts fail than the run; percentages are told by the plan."""
    nothing = whole in (0, "0%") and own not in (0, "0%")
    if nothing or (isinstance(own, int) and isinstance(whole, int) and own > whole):
        report.error(
            place,
            f"the step would let {own} hosts fail, and the run {whole}: it cannot widen what the run allows",
            "raise `limits: {failures: …}`, or take it out",
        )
