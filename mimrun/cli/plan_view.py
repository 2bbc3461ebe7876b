"""The plan, for people: what will be done, where, in which order, what can be undone, what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from mimrun.app.decisions import PendingGate
from mimrun.cli.terminal import safe_line
from mimrun.connector import Effect
from mimrun.runbook.duration import format_duration
from mimrun.runbook.plan import (
    Node,
    Plan,
    PlannedAction,
    PlannedBlock,
    PlannedCall,
    PlannedGate,
    PlannedManual,
    TargetCalls,
)

_RISK: Final = {"low": "green", "medium": "yellow", "high": "bold red"}
_EFFECT: Final = {
    Effect.READ: ("reads only", "green"),
    Effect.IDEMPOTENT: ("safe to repeat", "green"),
    Effect.PROBE: ("can be probed", "yellow"),
    Effect.ONCE: ("happens once", "red"),
}
_TARGETS_SHOWN: Final = 12


def print_plan(out: Console, plan: Plan) -> None:
    """Print a whole plan."""
    ref = plan.runbook
    head = Text(f"{safe_line(ref.title)}  ", "bold").append(f"{ref.name}@{ref.version}", "dim")
    out.print(head)
    facts = (
        Text(f"  {ref.stage}, risk ")
        .append(ref.risk, _RISK[ref.risk])
        .append(f", owner {safe_line(ref.owner)}")
    )
    out.print(facts.append(f", plan {plan.digest[7:19]}", "bold"))
    if plan.inputs:
        out.print(
            Text("  inputs: ").append(", ".join(f"{k}={_shown(v)}" for k, v in plan.inputs.items()), "cyan")
        )
    names = [target.name for target in plan.targets]
    out.print(Text(f"  targets: {len(names)}  ").append(_some(names), "cyan"))
    if plan.locks:
        out.print(Text(f"  locks: {', '.join(map(safe_line, plan.locks))}", "dim"))
    out.print()
    for node in plan.nodes:
        _node(out, node, 1)
    _judgement(out, plan)


def print_segment(out: Console, pending: PendingGate) -> None:
    """Print what a gate would let through, exactly as approvers sign it."""
    summary, plan = pending.run.summary, pending.plan
    out.print(Text(f"{summary.run}  ", "bold").append(f"{plan.runbook.name}@{plan.runbook.version}", "dim"))
    line = Text("  gate: ").append(safe_line(pending.node.name), "bold").append("  risk ")
    out.print(line.append(plan.runbook.risk, _RISK[plan.runbook.risk]))
    needed = ", ".join(f"{need.count} {need.role}" for need in pending.request.needed)
    until = (pending.request.asked_at + pending.request.expires).strftime("%Y-%m-%d %H:%M:%S")
    out.print(
        Text(
            f"  asked by {summary.launched_by}, needs {needed}, change {pending.node.change}, until {until} UTC"
        )
    )
    out.print(Text("  digest: ").append(pending.request.digest[7:], "bold"))
    for vote in pending.asked.votes:
        out.print(
            Text(f"  {vote.decision} by {vote.person}", "green" if vote.decision == "approved" else "red")
        )
    out.print(Text("\nWhat runs when it opens:", "bold"))
    for node in pending.segment.nodes:
        _node(out, node, 1)
    out.print()


def _node(out: Console, node: Node, depth: int) -> None:
    indent = "  " * depth
    match node:
        case PlannedAction():
            _head(out, indent, node, node.action)
            _action(out, indent + "    ", node)
        case PlannedGate():
            needed = ", ".join(f"{need.count} {need.role}" for need in node.approvals)
            _head(out, indent, node, "GATE", style="bold yellow")
            detail = f"needs {needed}; {node.change} change; {format_duration(node.expires_ms)}, then {node.on_timeout}"
            out.print(Text(f"{indent}    {detail}", "yellow"))
        case PlannedManual():
            _head(out, indent, node, f"MANUAL by {node.role or 'anybody'}", style="bold yellow")
            out.print(Text(f"{indent}    {safe_line(node.instructions)}"))
        case PlannedBlock():
            _head(out, indent, node, "block")
            for title, part in (("", node.block), ("rescue", node.rescue), ("always", node.always)):
                if title and part:
                    out.print(Text(f"{indent}    {title}:", "dim"))
                for child in part:
                    _node(out, child, depth + 1)
        case _:
            assert_never(node)


def _head(out: Console, indent: str, node: Node, form: str, style: str = "dim") -> None:
    line = Text(indent).append(f"{node.path} ", "bold cyan").append(safe_line(node.name), "bold")
    line.append(f"  {form}", style)
    out.print(line.append(f"  when {safe_line(node.when)}", "dim") if node.when else line)


def _action(out: Console, indent: str, node: PlannedAction) -> None:
    groups: dict[str, list[str]] = {}
    for target in node.targets:
        groups.setdefault(_lines(target), []).append(target.target)
    for text, names in groups.items():
        out.print(Text(indent).append(_some(names), "cyan"))
        for line in text.split("\n"):
            out.print(Text(f"{indent}  {line}"))
    effect, style = _EFFECT[
        node.targets[0].calls[0].effect if node.targets and node.targets[0].calls else Effect.ONCE
    ]
    tail = Text(indent).append(effect, style)
    if node.options.effect_reason:
        tail.append(f" (the author says: {safe_line(node.options.effect_reason)})", "red")
    if node.options.become:
        tail.append(f", as {node.options.become}")
    tail.append(f", at most {format_duration(node.options.timeout_ms)}", "dim")
    if node.options.retries:
        tail.append(f", {node.options.retries} retries", "dim")
    out.print(tail)
    for keyword, expression in (("until", node.options.until), ("expect", node.options.expect)):
        if expression:
            out.print(Text(f"{indent}{keyword}: {safe_line(expression)}", "dim"))


def _lines(target: TargetCalls) -> str:
    lines = [_call(call) for call in target.calls]
    if len(lines) > 4:
        lines = [*lines[:3], f"... and {len(lines) - 3} more items"]
    for keyword, calls in (("verify", target.verify), ("undo", target.undo), ("capture", target.capture)):
        if calls:
            lines.append(f"{keyword}: {_call(calls[0])}")
    return "\n".join(lines)


def _call(call: PlannedCall) -> str:
    args = ", ".join(f"{name}={_shown(value)}" for name, value in call.args.items())
    late = f"   [not known yet: {', '.join(call.late)}]" if call.late else ""
    return f"{call.action} {args}{late}"


def _shown(value: JsonValue) -> str:
    if isinstance(value, dict) and set(value) == {"secret"}:
        return f"*****({safe_line(str(value['secret']))})"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "[" + ", ".join(_word(str(item)) for item in value) + "]"
    return _word(value) if isinstance(value, str) else safe_line(str(value))


def _word(text: str) -> str:
    return (
        safe_line(text, 200)
        if text and not any(c in text for c in " ,[]'\"\n")
        else repr(safe_line(text, 200))
    )


def _judgement(out: Console, plan: Plan) -> None:
    """Say at the end what a responder must know before the go."""
    actions = [node for node in plan.walk() if isinstance(node, PlannedAction)]
    changing = [n for n in actions if any(c.effect is not Effect.READ for t in n.targets for c in t.calls)]
    final = [n for n in changing if not all(t.undo for t in n.targets)]
    late = [n for n in actions if any(c.late for t in n.targets for c in t.calls)]
    out.print()
    gates = sum(isinstance(node, PlannedGate) for node in plan.walk())
    manual = sum(isinstance(node, PlannedManual) for node in plan.walk())
    summary = f"{len(actions)} actions, {len(changing)} of them change something; {gates} gates, {manual} manual steps"
    out.print(Text(f"  {summary}", "bold"))
    for word, nodes, style in (
        ("cannot be undone", final, "red"),
        ("not known in full until they are reached", late, "yellow"),
    ):
        if nodes:
            out.print(
                Text(f"  {word}: ", style).append(", ".join(f"{n.path} {safe_line(n.name)}" for n in nodes))
            )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(safe_line(name) for name in names[:_TARGETS_SHOWN])
    return shown if len(names) <= _TARGETS_SHOWN else f"{shown} and {len(names) - _TARGETS_SHOWN} more"
