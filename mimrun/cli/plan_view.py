"""The plan, for people: what will be done, where, in which order, what can be undone, what is not known."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from mimrun.app.decisions import PendingGate
from mimrun.app.shown.call import shown_value
from mimrun.app.shown.plan import HOSTS_SHOWN, Section, Step, first, named, plan_steps, segment_steps
from mimrun.app.shown.plan_facts import RISK, bounds, judgement
from mimrun.cli.gate_view import print_question
from mimrun.cli.terminal import safe_line
from mimrun.cli.tone import STYLES, coloured
from mimrun.runbook.plan import Plan, Segment


def print_plan(out: Console, plan: Plan) -> None:
    """Print a whole plan."""
    ref = plan.runbook
    head = Text(f"{safe_line(ref.title)}  ", "bold").append(f"{ref.name}@{ref.version}", "dim")
    out.print(head)
    facts = (
        Text(f"  {ref.stage}, risk ")
        .append(ref.risk, STYLES[RISK[ref.risk]])
        .append(f", owner {safe_line(ref.owner)}")
    )
    out.print(facts.append(f", plan {plan.digest[7:19]}", "bold"))
    if plan.inputs:
        given = ", ".join(f"{k}={shown_value(v)}" for k, v in plan.inputs.items())
        out.print(Text("  inputs: ").append(given, "cyan"))
    names = [target.name for target in plan.targets]
    out.print(Text(f"  targets: {len(names)}  ").append(first(names, HOSTS_SHOWN), "cyan"))
    for about, text in bounds(plan):
        out.print(Text(f"  {about}: {text}", "dim"))
    out.print()
    _print_sections(out, plan_steps(plan), 0)
    out.print()
    for told in judgement(plan):
        out.print(coloured(told, "  "))


def print_segment(out: Console, pending: PendingGate) -> None:
    """Print what a gate would let through, exactly and in full, as approvers sign it."""
    summary, plan = pending.run.summary, pending.plan
    out.print(Text(f"{summary.run}  ", "bold").append(f"{plan.runbook.name}@{plan.runbook.version}", "dim"))
    line = Text("  gate: ").append(safe_line(pending.node.name), "bold").append("  risk ")
    out.print(line.append(plan.runbook.risk, STYLES[RISK[plan.runbook.risk]]))
    out.print(Text("  digest: ").append(pending.request.digest[7:], "bold"))
    print_question(out, pending)
    print_behind(out, plan, pending.segment)


def print_behind(out: Console, plan: Plan, segment: Segment) -> None:
    """Print what stands behind a gate, exactly and in full."""
    names = named([target.name for target in plan.targets])
    out.print(Text(f"  targets: {len(plan.targets)}  ").append(names, "cyan"))
    out.print(Text("\nWhat runs when it opens:", "bold"))
    steps, *batches = segment_steps(plan, segment)
    _print_sections(out, [steps], 0)
    for serial in (step for section in batches for step in section.steps):
        for told in serial.lines:
            out.print(coloured(told, "  "))
    out.print()


def _print_sections(out: Console, sections: Iterable[Section], depth: int) -> None:
    """Print steps, each section below what it is done for."""
    for section in sections:
        if section.title:
            indent = "  " * (depth + (1 if section.handlers else 2))
            out.print(Text(indent).append(f"{section.title}:", "dim"))
        for step in section.steps:
            _print_step(out, step, depth + 1)


def _print_step(out: Console, step: Step, depth: int) -> None:
    """Print a step, and what is inside it."""
    indent = "  " * depth
    head = Text(indent).append(f"{step.path} ", "bold cyan").append(step.name, "bold")
    head.append(f"  {step.form}", STYLES[step.tone])
    out.print(head.append(f"  when {step.when}", "dim") if step.when else head)
    for told in step.lines:
        out.print(coloured(told, f"{indent}      " if told.deep else f"{indent}    "))
    _print_sections(out, step.sections, depth)
