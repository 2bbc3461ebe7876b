"""Flow: what may stand in batches and branches, and which keywords belong together."""

from __future__ import annotations

from collections.abc import Iterator

from mimrun.runbook.finding import Report
from mimrun.runbook.model import ActionStep, BlockStep, GateStep, Runbook, Step
from mimrun.runbook.tree import inner_steps, walk_steps


def check_flow(report: Report, runbook: Runbook) -> None:
    """Check how steps are put together.

    Arguments:
        report: where findings go.
        runbook: what is checked.
    """
    for path, step in walk_steps(runbook.steps):
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
