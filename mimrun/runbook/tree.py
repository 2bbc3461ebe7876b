"""Trees: the steps of a runbook, each with the path by which it is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

from mimrun.runbook.model import (
    ActionStep,
    BlockStep,
    GateStep,
    Handler,
    IncludeStep,
    ManualStep,
    ParallelStep,
    Runbook,
    Step,
)


def inner_steps(step: Step) -> tuple[tuple[str, tuple[Step, ...]], ...]:
    """Give the lists of steps inside a step, each with its mark in the path of a step."""
    match step:
        case BlockStep():
            return (("block", step.block), ("rescue", step.rescue), ("always", step.always))
        case ParallelStep():
            return (("branch", step.parallel),)
        case IncludeStep() | ActionStep() | GateStep() | ManualStep():
            return ()
        case _:
            assert_never(step)


def walk_steps(steps: Sequence[Step], prefix: str = "") -> Iterator[tuple[str, Step]]:
    """Give every step with its path, in the order in which they are written."""
    for number, step in enumerate(steps, 1):
        path = f"{prefix}{number}"
        yield path, step
        for mark, inner in inner_steps(step):
            yield from walk_steps(inner, f"{path}.{mark}.")


def action_steps(runbook: Runbook) -> Iterator[tuple[str, ActionStep]]:
    """Give every action step with its path; handlers are not among them."""
    for path, step in walk_steps(runbook.steps):
        if isinstance(step, ActionStep):
            yield path, step


def handlers(runbook: Runbook) -> Iterator[tuple[str, Handler]]:
    """Give every handler with its path: "h1", "h2"."""
    for number, handler in enumerate(runbook.handlers, 1):
        yield f"h{number}", handler


def registered_in(step: Step) -> frozenset[str]:
    """Give the names that a step and the steps inside it register."""
    inner = (each for _, each in walk_steps([step]))
    return frozenset(
        each.register_ for each in inner if isinstance(each, Handler | ManualStep) and each.register_
    )
