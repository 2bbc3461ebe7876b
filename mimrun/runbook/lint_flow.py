"""Flow: what may stand in batches and branches, and which keywords belong together."""

from __future__ import annotations

from collections.abc import Iterator

from mimrun.catalog import Catalog
from mimrun.runbook.finding import Report
from mimrun.runbook.lint_call import only_looks
from mimrun.runbook.model import ActionStep, BlockStep, GateStep, ManualStep, ParallelStep, Runbook, Step
from mimrun.runbook.pattern import LOCALHOSTS
from mimrun.runbook.tree import inner_steps, walk_steps
from mimrun.runbook.wording import value_at


def check_flow(report: Report, runbook: Runbook, catalog: Catalog) -> None:
    """Check how steps are put together.

    Arguments:
        report: where findings go.
        runbook: what is checked.
        catalog: the installed actions.
    """
    for path, step in walk_steps(runbook.steps):
        if isinstance(step, ParallelStep):
            _branches(report, step, path)
            _same_hosts(report, runbook, catalog, (step, path))
        if not isinstance(step, ActionStep | BlockStep):
            continue
        if step.serial is None:
            _needs_serial(report, step, path)
            continue
        if isinstance(step, ActionStep) and step.run_once:
            place = report.loaded.step_path(path, "run_once")
            message = "a step that is done once is not done in batches"
            report.error(place, message, "take `serial` or `run_once` out", at_key=True)
        for inner_path, inner in _inside(step, path):
            _in_batch(report, inner, inner_path)


def _needs_serial(report: Report, step: ActionStep | BlockStep, path: str) -> None:
    given = {
        "pause": step.pause,
        "max_failures": isinstance(step, BlockStep) and step.max_failures is not None,
    }
    for keyword, value in given.items():
        if value:
            place = report.loaded.step_path(path, keyword)
            report.error(place, f"{keyword} needs batches", "write `serial:` beside it", at_key=True)


def _inside(step: Step, path: str) -> Iterator[tuple[str, Step]]:
    for mark, steps in inner_steps(step):
        yield from walk_steps(steps, f"{path}.{mark}.")


def _in_batch(report: Report, step: Step, path: str) -> None:
    """Complain about a step that cannot be done batch by batch."""
    place = report.loaded.step_path(path)
    if isinstance(step, GateStep):
        report.error(
            (*place, "gate"),
            "a gate cannot stand in a block with `serial`: people would be asked at every batch",
            "put it in front of the block, and the canary in front of the gate as a step of its own",
            at_key=True,
        )
    elif isinstance(step, ActionStep | BlockStep) and step.serial is not None:
        report.error(
            (*place, "serial"),
            "batches inside batches: the block around this step has `serial` already",
            "take one of the two out",
            at_key=True,
        )
    elif isinstance(step, ActionStep) and step.run_once:
        report.error(
            (*place, "run_once"),
            "run_once has no meaning in a block with `serial`: it would be once for every batch",
            "take the step out of the block, or name its host under `hosts:`",
            at_key=True,
        )


def _branches(report: Report, step: ParallelStep, path: str) -> None:
    """Complain about people inside branches, and about a budget that can never be used up."""
    for inner_path, inner in _inside(step, path):
        place = report.loaded.step_path(inner_path)
        # What stands in for a step that cannot be read is a manual step, and nobody wrote that.
        kind = "gate" if isinstance(inner, GateStep) else "manual" if isinstance(inner, ManualStep) else ""
        written = value_at(report.loaded.document.value, place)
        if kind and isinstance(written, dict) and kind in written:
            a_kind = "a gate" if kind == "gate" else "a manual step"
            message = f"{a_kind} cannot stand in a branch: the other branches would not wait for it"
            report.error((*place, kind), message, "put it in front of `parallel`, or behind it", at_key=True)
    if step.max_failures >= len(step.parallel):
        place = report.loaded.step_path(path, "max_failures")
        report.warn(place, f"there are {len(step.parallel)} branches, and all of them may fail", "lower it")


def _same_hosts(report: Report, runbook: Runbook, catalog: Catalog, place: tuple[ParallelStep, str]) -> None:
    """Complain about branches that change the same hosts for sure, because their patterns are the same."""
    step, path = place
    seen: dict[str, int] = {}
    for number, branch in enumerate(step.parallel, 1):
        acting = [
            s for _, s in walk_steps([branch]) if isinstance(s, ActionStep) and not only_looks(s, catalog)
        ]
        patterns = dict.fromkeys(s.hosts or runbook.hosts for s in acting)
        for pattern in patterns:
            if pattern in seen and pattern not in LOCALHOSTS:
                message = f"branches {seen[pattern]} and {number} change {pattern!r} at once"
                hint = "put them one after the other, in a block"
                report.error(report.loaded.step_path(f"{path}.branch.{number}"), message, hint)
                break
        for pattern in patterns:
            seen.setdefault(pattern, number)
