"""A runbook as people are shown it before it is planned: its steps as the author wrote them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from mimrun.app.shown.call import shown_value
from mimrun.app.shown.plan import Section, Step
from mimrun.app.shown.text import exact, safe, safe_line
from mimrun.app.shown.tone import Told, line
from mimrun.runbook import model
from mimrun.runbook.duration import format_duration
from mimrun.runbook.model import ActionCall, Runbook


def runbook_steps(runbook: Runbook) -> tuple[Section, ...]:
    """Give the steps of a runbook, and its handlers; templates and expressions are still text."""
    steps = Section("", _steps(runbook.steps))
    if not runbook.handlers:
        return (steps,)
    handlers = tuple(_step(f"h{number}", one) for number, one in enumerate(runbook.handlers, 1))
    return (steps, Section("at the end, where something changed", handlers, handlers=True))


def _steps(steps: Iterable[model.Step], before: str = "") -> tuple[Step, ...]:
    return tuple(_step(f"{before}{number}", one) for number, one in enumerate(steps, 1))


def _step(path: str, step: model.Step | model.Handler) -> Step:
    lines: tuple[Told, ...] = ()
    sections: tuple[Section, ...] = ()
    match step:
        case model.Handler():
            form, lines = step.call.action, tuple(_action(step))
        case model.GateStep():
            needed = ", ".join(f"{need.count} {need.role}" for need in step.gate.approvals)
            expires = format_duration(step.gate.expires)
            text = f"needs {needed}; {step.gate.change} change; {expires}, then {step.gate.on_timeout}"
            form, lines = "GATE", (line(text, "care"),)
        case model.ManualStep():
            form, lines = f"MANUAL by {step.manual.role or 'anybody'}", tuple(_manual(step.manual))
        case model.BlockStep():
            size = f", serial {shown_value([str(one) for one in step.serial])}" if step.serial else ""
            form, sections = f"block{size}", tuple(_block(path, step))
        case model.ParallelStep():
            form, sections = "parallel", (Section("", _steps(step.parallel, f"{path}.branch.")),)
        case model.IncludeStep():
            given = ", ".join(f"{name}={shown_value(value)}" for name, value in step.include.inputs.items())
            form = f"include {step.include.runbook}"
            lines = (line(f"inputs: {given}", "place"),) if given else ()
        case _:
            assert_never(step)
    return Step(path, safe_line(step.name), form, "quiet", step.when or "", lines, sections)


def _block(path: str, step: model.BlockStep) -> Iterator[Section]:
    for title, steps in (("", step.block), ("rescue", step.rescue), ("always", step.always)):
        if steps:
            yield Section(title, _steps(steps, f"{path}.{title or 'block'}."))


def _action(step: model.Handler) -> Iterator[Told]:
    if step.hosts:
        yield line(f"on {safe_line(step.hosts)}", "place")
    if step.loop is not None:
        yield line(f"for each of {shown_value(step.loop)}", "place")
    yield from (line(text, deep=True) for text in _call(step.call))
    for keyword, call in (("verify", step.verify), ("undo", step.undo), ("capture", step.capture)):
        if call is not None:
            first, *rest = _call(call)
            yield line(f"{keyword}: {first}", deep=True)
            yield from (line(text, deep=True) for text in rest)
    for keyword, expression in (("until", step.until), ("expect", step.expect)):
        if expression:
            yield line(f"{keyword}: {safe_line(expression, 4000)}", "quiet")
    if step.irreversible:
        yield line("no way back behind it", "alarm")
    if isinstance(step, model.ActionStep) and step.serial:
        yield line(f"on so many hosts at once: {', '.join(map(str, step.serial))}", "quiet")


def _call(call: ActionCall) -> Iterator[str]:
    short = {
        name: value for name, value in call.args.items() if not (isinstance(value, str) and "\n" in value)
    }
    yield f"{call.action} {', '.join(f'{name}={shown_value(value)}' for name, value in short.items())}".rstrip()
    for name, value in call.args.items():
        if name not in short:
            yield f"  {exact(name)}:"
            yield from (f"    | {text}" for text in safe(str(value).removesuffix("\n")).split("\n"))


def _manual(manual: model.Manual) -> Iterator[Told]:
    yield from (line(text) for text in safe(manual.instructions.strip()).split("\n"))
    yield from (line(f"[ ] {safe_line(item)}") for item in manual.checklist)
    for name, wanted in manual.evidence.items():
        yield line(
            f"leaves as evidence: {name} ({wanted.type}{'' if wanted.required else ', optional'})", "quiet"
        )
    if manual.second_person:
        who = "anybody" if manual.second_person is True else manual.second_person
        yield line(f"confirmed by another person ({who})", "quiet")
