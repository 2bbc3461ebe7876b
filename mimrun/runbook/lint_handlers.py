"""Handlers: is there one for every notice, and a notice for every one."""

from __future__ import annotations

from mimrun.catalog import Catalog
from mimrun.runbook.finding import Report
from mimrun.runbook.lint_call import only_looks
from mimrun.runbook.model import Runbook
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.tree import action_steps, handlers


def check_handlers(report: Report, runbook: Runbook, catalog: Catalog, lost: frozenset[str]) -> None:
    """Check who notifies whom.

    Arguments:
        report: where findings go.
        runbook: what is checked.
        catalog: the installed actions.
        lost: names that may stand in parts of the file that could not be read.
    """
    names: dict[str, str] = {}
    for path, handler in handlers(runbook):
        place = report.loaded.step_path(path, "name")
        if handler.name in names:
            report.error(place, f"another handler is called {handler.name!r} too", "a notice must find one")
        names.setdefault(handler.name, path)
    notified: set[str] = set()
    for path, step in action_steps(runbook):
        notified.update(step.notify)
        for number, name in enumerate(step.notify):
            # What was lost may have been the handlers.
            if name not in names and (names or not lost):
                hint = suggest(name, names) or "write `handlers:` at the top of the runbook"
                place = report.loaded.step_path(path, "notify", number)
                report.error(place, f"no handler is called {name!r}", hint)
        if step.notify and only_looks(step, catalog):
            message = f"{step.call.action} changes nothing, so nobody is ever notified"
            report.warn(report.loaded.step_path(path, "notify"), message, "take it out", at_key=True)
    for name in names.keys() - notified:
        place = report.loaded.step_path(names[name], "name")
        report.warn(
            place, f"no step notifies the handler {name!r}", "write `notify:` on a step, or take it out"
        )
