"""Lint of rules against the library: the runbook is there, its inputs are given, and labels can be what they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mimrun.errors import PlanError, Problem, RunbookError
from mimrun.incident.rule import Given, Rule
from mimrun.runbook.document import Document, ValuePath
from mimrun.runbook.finding import Finding, Level
from mimrun.runbook.inputs import check_input, is_confined, read_input
from mimrun.runbook.loader import LoadedRunbook
from mimrun.runbook.model import Input, InputType
from mimrun.runbook.suggestion import suggest

Find = Callable[[str], LoadedRunbook]
"""Gives a runbook by its name, or name@version; raises `RunbookError`."""


def lint_rules(document: Document, rules: Sequence[Rule], find: Find) -> list[Finding]:
    """Say what is wrong with the rules of a file as the library is now.

    Arguments:
        rules: what was read from the document, in its order.
        find: finds runbooks.
    """
    findings = []
    for number, rule in enumerate(rules):
        for level, place, message, hint in _rule(rule, find):
            problem = document.problem(("rules", number, *place), message, hint)
            findings.append(Finding(problem, level))
    return findings


Said = tuple[Level, ValuePath, str, str]


def _rule(rule: Rule, find: Find) -> Iterator[Said]:
    if rule.action == "launch" and rule.match.auth in ("none", "person"):
        hint = "write `auth: token` in `match`; without it such alerts make it propose instead"
        yield Level.WARNING, ("action",), "it heeds alerts of which nobody knows who sent them", hint
    if not rule.runbook:
        return
    try:
        runbook = find(rule.runbook).runbook
    except RunbookError as exc:
        yield Level.ERROR, ("runbook",), _why(exc, rule.runbook), ""
        return
    for name, given in rule.inputs.items():
        spec = runbook.inputs.get(name)
        if spec is None:
            hint = suggest(name, runbook.inputs)
            yield Level.ERROR, ("inputs", name), f"{rule.runbook} has no input {name!r}", hint
        else:
            yield from _given(rule, name, given, spec)
    for name, spec in runbook.inputs.items():
        if name not in rule.inputs and spec.required and spec.default is None:
            hint = f"write `{name}: {{label: NAME}}`, or a value" + (f": {spec.help}" if spec.help else "")
            yield Level.ERROR, ("inputs",), f"{rule.runbook} needs the input {name!r}", hint


def _why(exc: RunbookError, runbook: str) -> str:
    first: list[Problem] = list(exc.problems[:1])
    return f"{runbook} cannot be used: {first[0]}" if first else str(exc)


def _given(rule: Rule, name: str, given: Given, spec: Input) -> Iterator[Said]:
    place: ValuePath = ("inputs", name)
    if given.label is None:
        try:
            check_input(spec, given.value)
        except ValueError as exc:
            yield Level.ERROR, place, f"{name}: {exc}", spec.help
        return
    if spec.type in (InputType.SECRET, InputType.LIST):
        why = (
            "would let alerts choose which secret is read"
            if spec.type is InputType.SECRET
            else "has one value"
        )
        hint = "write the value itself"
        yield Level.ERROR, place, f"{name} is a {spec.type} in {rule.runbook}, and a label {why}", hint
        return
    words = rule.match.labels.get(given.label)
    for value in words.one_of if words is not None else ():
        if problem := wrong_label(name, spec, value):
            yield Level.ERROR, place, f"{given.label} may be {value!r}, and {problem}", spec.help
    if not is_confined(spec):
        hint = f"give {name} a `pattern` or `choices` in {rule.runbook}"
        yield Level.WARNING, place, f"alerts may write anything into {name!r}", hint


def wrong_label(name: str, spec: Input, value: str) -> str:
    """Say why the value of a label cannot be an input; "" where it can."""
    try:
        check_input(spec, read_input(name, spec, value))
    except (ValueError, PlanError) as exc:
        return str(exc)
    return ""
