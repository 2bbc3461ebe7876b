"""Lint: what would fail, or be regretted, at three in the morning.

What is an error here would fail when the runbook is planned or run, so `make_plan` refuses it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from mimrun.catalog import Catalog
from mimrun.errors import Problem
from mimrun.runbook.bounds import ExpressionError
from mimrun.runbook.expression import has_template, names
from mimrun.runbook.finding import Finding, Level, Report
from mimrun.runbook.inputs import check_input, is_confined
from mimrun.runbook.inventory import Inventory
from mimrun.runbook.lint_call import CallCheck
from mimrun.runbook.lint_flow import check_flow
from mimrun.runbook.lint_handlers import check_handlers
from mimrun.runbook.lint_include import Includes, check_includes
from mimrun.runbook.lint_limits import check_limits
from mimrun.runbook.lint_names import RESERVED, NameCheck
from mimrun.runbook.lint_step import StepCheck
from mimrun.runbook.loader import Check, LoadedRunbook
from mimrun.runbook.model import Handler, Input, InputType, ManualStep, Risk, Runbook
from mimrun.runbook.regex import compile_pattern
from mimrun.runbook.tree import handlers, walk_steps

__all__ = ["Finding", "Level", "lint", "lint_rest"]


def lint(
    loaded: LoadedRunbook,
    catalog: Catalog,
    inventory: Inventory | None = None,
    today: date | None = None,
    lost: frozenset[str] = frozenset(),
    *,
    includes: Includes | None = None,
) -> list[Finding]:
    """Find what would fail at run time, and what somebody may regret.

    Arguments:
        loaded: the runbook.
        catalog: the installed actions.
        inventory: where given, names that no host has are errors; else they are warnings.
        today: for `review_by`; None leaves it out.
        lost: names that may stand in parts of the file that could not be read.
        includes: gives the runbooks that this one includes; None leaves out what only they can tell.

    Returns:
        findings in the order of the file.
    """
    report, runbook = Report(loaded), loaded.runbook
    host_names = None
    if inventory is not None:
        host_names = frozenset(name for host in inventory.hosts for name in inventory.vars(host))
    names_check = NameCheck(report, runbook, host_names, registers=frozenset(_registers(runbook)), lost=lost)
    _inputs(report, runbook)
    _vars(report, runbook, lost)
    _head(report, runbook, names_check, today)
    steps = StepCheck(report, runbook, names_check, CallCheck(report, catalog, runbook, lost))
    steps.all(runbook.steps, ("steps",))
    steps.handlers(runbook.handlers)
    check_handlers(report, runbook, catalog, lost)
    check_includes(report, runbook, names_check, includes)
    check_flow(report, runbook, catalog)
    check_limits(report, runbook, inventory, lost)
    return sorted(set(report.findings))


def lint_rest(catalog: Catalog, inventory: Inventory | None = None) -> Check:
    """Give what the loader asks about the sound steps of a runbook that is wrong elsewhere: their errors."""

    def check(rest: LoadedRunbook, lost: frozenset[str]) -> Iterator[Problem]:
        for finding in lint(rest, catalog, inventory, lost=lost):
            if finding.level is Level.ERROR:
                yield finding.problem

    return check


def _registers(runbook: Runbook) -> Iterator[str]:
    for _, step in (*walk_steps(runbook.steps), *handlers(runbook)):
        if isinstance(step, Handler | ManualStep) and step.register_:
            yield step.register_


def _inputs(report: Report, runbook: Runbook) -> None:
    for name, spec in runbook.inputs.items():
        path = ("inputs", name)
        if name in RESERVED:
            report.error(path, f"the name {name!r} has a meaning of its own", "take another one", at_key=True)
        if name in runbook.vars:
            report.error(path, f"{name!r} is one of the vars too", "one name, one meaning", at_key=True)
        for complaint, key in _input_complaints(spec):
            report.error((*path, key), f"{key}: {complaint}")
        if spec.default is not None and not list(_input_complaints(spec)):
            try:
                check_input(spec, spec.default)
            except ValueError as exc:
                report.error((*path, "default"), f"default: {exc}")


def _input_complaints(spec: Input) -> Iterator[tuple[str, str]]:
    texts = spec.type in (InputType.STRING, InputType.LIST)
    if spec.pattern is not None:
        if not texts:
            yield f"an input of the type {spec.type} has no pattern", "pattern"
        else:
            try:
                compile_pattern(spec.pattern)
            except ExpressionError as exc:
                yield exc.message, "pattern"
    if spec.choices and not texts:
        yield f"an input of the type {spec.type} has no choices", "choices"
    for key in ("minimum", "maximum"):
        if getattr(spec, key) is not None and spec.type not in (InputType.INTEGER, InputType.LIST):
            yield f"an input of the type {spec.type} has no {key}", key
    if spec.minimum is not None and spec.maximum is not None and spec.minimum > spec.maximum:
        yield f"{spec.maximum} is below the minimum", "maximum"


def _vars(report: Report, runbook: Runbook, lost: frozenset[str]) -> None:
    """Check the constants: each can use inputs and the constants above it."""
    above: set[str] = set()
    for name, value in runbook.vars.items():
        path = ("vars", name)
        if name in RESERVED:
            report.error(path, f"the name {name!r} has a meaning of its own", "take another one", at_key=True)
        known = NameCheck(report, runbook.model_copy(update={"vars": dict.fromkeys(above)}), lost=lost)
        known.constant_text(value, path, f"vars.{name}")
        above.add(name)


def _safe_names(value: object) -> frozenset[str]:
    try:
        return names(value)  # type: ignore[arg-type]  # JSON, as the loader gave it
    except ExpressionError:
        return frozenset()


def _head(report: Report, runbook: Runbook, check: NameCheck, today: date | None) -> None:
    check.constant_text(runbook.hosts, ("hosts",), "hosts")
    for name in sorted(_safe_names(runbook.hosts) & runbook.inputs.keys()):
        if not is_confined(runbook.inputs[name]):
            message = f"the input {name!r} can widen the hosts: it takes any pattern"
            report.error(("hosts",), message, "give the input a pattern or choices")
    for number, lock in enumerate(runbook.locks):
        check.constant_text(lock, ("locks", number), "locks")
    if has_template(runbook.title) or has_template(runbook.description):
        report.warn(("title",), "title and description are shown as they are written", "take the braces out")
    if runbook.risk is Risk.HIGH and runbook.limits.hosts is None:
        hint = "write `limits: {hosts: N}`"
        report.warn((), "a runbook of high risk does not say how many hosts it may touch", hint)
    if today is not None and runbook.review_by is not None and runbook.review_by < today:
        message = f"the review was due on {runbook.review_by}"
        report.warn(("review_by",), message, f"{runbook.owner}: read it again and set a new day")
