"""Includes: is there such a runbook, does it fit into this one, and does it get the inputs that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from jinja2 import nodes
from pydantic import JsonValue

from mimrun.errors import InputError, RunbookError
from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.document import ValuePath
from mimrun.runbook.expression import has_template, whole_expression
from mimrun.runbook.finding import Report
from mimrun.runbook.inputs import check_input
from mimrun.runbook.lint_names import NameCheck
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.model import IncludeStep, Risk, Runbook
from mimrun.runbook.suggestion import suggest
from mimrun.runbook.tree import walk_steps

Includes: TypeAlias = Callable[[str], LoadedRunbook]
"""Gives the runbook `name@version`; raises RunbookError where there is none."""

MAX_DEPTH: Final = 8
"""Runbooks inside each other."""

_RISKS: Final = (Risk.LOW, Risk.MEDIUM, Risk.HIGH)


def check_includes(report: Report, runbook: Runbook, names: NameCheck, includes: Includes | None) -> None:
    """Check what a runbook includes.

    Arguments:
        report: where findings go.
        runbook: what is checked.
        names: knows its inputs and vars.
        includes: gives other runbooks; None leaves out what only they can tell.
    """
    for path, step in walk_steps(runbook.steps):
        if not isinstance(step, IncludeStep):
            continue
        place = report.loaded.step_path(path, "include")
        for name, value in step.include.inputs.items():
            if not secret_named(value, names.secrets):
                names.constant_text(value, (*place, "inputs", name), f"inputs.{name}")
        if includes is not None:
            _check_found(report, runbook, step, includes, place)


def _check_found(
    report: Report, runbook: Runbook, step: IncludeStep, includes: Includes, place: ValuePath
) -> None:
    try:
        inner = includes(step.include.runbook).runbook
        around = circle(inner, includes, (reference_of(runbook),))
    except RunbookError as exc:
        message, _, hint = str(exc).partition("; ")
        if exc.problems:
            message = f"{step.include.runbook}, or what it includes, cannot be read"
            hint = f"see {exc.problems[0].file}"
        report.error((*place, "runbook"), message, hint)
        return
    if around:
        report.error((*place, "runbook"), circle_message(around), CIRCLE_HINT)
    for message, hint in mismatches(runbook, inner):
        report.error((*place, "runbook"), message, hint)
    for name, value in step.include.inputs.items():
        _check_input(report, inner, (name, value), (*place, "inputs", name))
    for name, spec in inner.inputs.items():
        if spec.required and spec.default is None and name not in step.include.inputs:
            message = f"{step.include.runbook} needs the input {name!r}"
            report.error(place, message, spec.help or "give it under `inputs:`", at_key=True)


def _check_input(report: Report, inner: Runbook, given: tuple[str, JsonValue], place: ValuePath) -> None:
    name, value = given
    if name not in inner.inputs:
        message = f"{reference_of(inner)} has no input {name!r}"
        report.error(place, message, suggest(name, inner.inputs), at_key=True)
    elif not has_template(value):
        try:
            check_input(inner.inputs[name], value)
        except (ValueError, InputError) as exc:
            report.error(place, f"{name}: {exc}", inner.inputs[name].help)


def circle(runbook: Runbook, includes: Includes, chain: Sequence[str]) -> tuple[str, ...]:
    """Give the way on which runbooks include each other in a circle; () where they do not.

    Arguments:
        runbook: where to look from.
        includes: gives other runbooks.
        chain: the references that led here, the outermost first.

    Raises:
        RunbookError: one of them cannot be found or read, or they are too deep inside each other.
    """
    own = reference_of(runbook)
    if own in chain:
        return (*chain[chain.index(own) :], own)
    if len(chain) > MAX_DEPTH:
        raise RunbookError(f"more than {MAX_DEPTH} runbooks inside each other: {' → '.join((*chain, own))}")
    for reference in dict.fromkeys(step.include.runbook for step in _include_steps(runbook)):
        around = circle(includes(reference).runbook, includes, (*chain, own))
        if around:
            return around
    return ()


CIRCLE_HINT: Final = "take one of these out"


def circle_message(around: Sequence[str]) -> str:
    """Draw a circle: `a@1.0.0 → b@1.0.0 → a@1.0.0`."""
    return f"the runbook would include itself: {' → '.join(around)}"


def mismatches(outer: Runbook, inner: Runbook) -> Iterator[tuple[str, str]]:
    """Give message and hint for each reason why a runbook cannot be part of another one."""
    name = reference_of(inner)
    if _RISKS.index(inner.risk) > _RISKS.index(outer.risk):
        hint = f"write `risk: {inner.risk}` at the top: who approves must know"
        yield f"{name} is of {inner.risk} risk, and this runbook says {outer.risk}", hint


def secret_named(value: JsonValue, secrets: frozenset[str]) -> str:
    """Give the name of the secret input that a value hands on whole: `"{{ token }}"`; "" for other values."""
    try:
        whole = whole_expression(value) if isinstance(value, str) and has_template(value) else None
    except ExpressionError:
        return ""
    return whole.name if isinstance(whole, nodes.Name) and whole.name in secrets else ""


def reference_of(runbook: Runbook) -> str:
    """Give `name@version`."""
    return f"{runbook.name}@{runbook.version}"


def _include_steps(runbook: Runbook) -> Iterator[IncludeStep]:
    for _, step in walk_steps(runbook.steps):
        if isinstance(step, IncludeStep):
            yield step
