"""The plan, for people: what will be done, where, in which order, what can be undone, what is not known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from mimrun.app.decisions import PendingGate
from mimrun.cli.gate_view import print_question
from mimrun.cli.manual_view import by_hand
from mimrun.cli.terminal import exact, safe, safe_json, safe_line
from mimrun.connector import Effect
from mimrun.runbook.batch import actions_in, hosts_of, step_of, together, written
from mimrun.runbook.duration import format_duration
from mimrun.runbook.launch import is_by_rules
from mimrun.runbook.node import (
    Node,
    PlannedAction,
    PlannedBlock,
    PlannedCall,
    PlannedCheck,
    PlannedGate,
    PlannedInclude,
    PlannedManual,
    PlannedParallel,
    PlannedSerial,
    StepOptions,
    TargetCalls,
    handler_place,
    inside_of,
    parts_of,
)
from mimrun.runbook.plan import Plan, Segment
from mimrun.runbook.reach import HOST_LOCK

_RISK: Final = {"low": "green", "medium": "yellow", "high": "bold red"}
_EFFECT: Final = {
    Effect.READ: ("reads only", "green"),
    Effect.IDEMPOTENT: ("safe to repeat", "green"),
    Effect.PROBE: ("can be probed", "yellow"),
    Effect.ONCE: ("happens once", "red"),
}
_ORDER: Final = list(_EFFECT)
_ITEMS_SHOWN: Final = 20
"""Items of one loop that a plan shows; a gate shows every one."""
_BATCHES_SHOWN: Final = 5
"""Batches whose hosts a plan names; a gate names those of every one."""
_LOCKS_SHOWN: Final = 10
"""Hosts whose locks a plan names one by one."""
_HOSTS_SHOWN: Final = 20
"""Hosts that a plan names in one place."""
_OWN: Final = {"target", "items", "compare", "left", "given"}
"""What two hosts may differ in that a plan does not show."""
_STEPS_SHOWN: Final = 8
"""Steps that are named at the end of a plan, of each kind."""
_LINES: Final = 40
"""So many times hosts with different arguments are shown in a whole plan; a gate shows every one."""


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
    out.print(Text(f"  targets: {len(names)}  ").append(_first(names, _HOSTS_SHOWN), "cyan"))
    for line in _bounds(plan):
        out.print(Text(f"  {line}", "dim"))
    out.print()
    actions = sum(isinstance(node, PlannedAction) for node in written((*plan.nodes, *plan.handlers)))
    view = _View(out, plan, full=False, most=min(max(_LINES // max(actions, 1), 2), 12))
    for node in plan.nodes:
        view.node(node, 1)
    view.handlers("", 1, "at the end")
    _judgement(out, plan)


def print_segment(out: Console, pending: PendingGate) -> None:
    """Print what a gate would let through, exactly and in full, as approvers sign it."""
    summary, plan = pending.run.summary, pending.plan
    out.print(Text(f"{summary.run}  ", "bold").append(f"{plan.runbook.name}@{plan.runbook.version}", "dim"))
    line = Text("  gate: ").append(safe_line(pending.node.name), "bold").append("  risk ")
    out.print(line.append(plan.runbook.risk, _RISK[plan.runbook.risk]))
    out.print(Text("  digest: ").append(pending.request.digest[7:], "bold"))
    print_question(out, pending)
    print_behind(out, plan, pending.segment)


def print_behind(out: Console, plan: Plan, segment: Segment) -> None:
    """Print what stands behind a gate, exactly and in full."""
    names = _names([target.name for target in plan.targets])
    out.print(Text(f"  targets: {len(plan.targets)}  ").append(names, "cyan"))
    out.print(Text("\nWhat runs when it opens:", "bold"))
    view = _View(out, plan, full=True)
    for node in together(segment.nodes):
        view.node(node, 1)
    reached = {step_of(node.path).partition(".batch.*")[0] for node in segment.nodes}
    for node in (node for node in plan.walk() if isinstance(node, PlannedSerial) and node.path in reached):
        view.batches(node, "  ")
    out.print()


@dataclass(frozen=True, slots=True)
class _View:
    """Prints the steps of a plan.

    Arguments:
        plan: its targets stand above the steps.
        full: nothing is left out, however long it is.
        most: where hosts of a step differ in what is done on them, so many kinds are shown.
    """

    out: Console
    plan: Plan
    full: bool
    most: int = 0

    def handlers(self, around: str, depth: int, when: str) -> None:
        """Print what follows a part of the plan where something changed; what follows each batch, only once."""
        behind = [h for h in self.plan.handlers if step_of(handler_place(h.path)[0]) == around]
        if behind:
            self._line("  " * depth, f"{when}, where something changed:", "dim")
        for handler in together(behind) if ".batch." in around else behind:
            self.node(handler, depth)

    def node(self, node: Node, depth: int) -> None:
        """Print a step, and what is inside it."""
        indent = "  " * depth
        match node:
            case PlannedAction():
                self._head(indent, node, node.action)
                self._action(indent + "    ", node)
            case PlannedGate():
                self._head(indent, node, "GATE", style="bold yellow")
                self._line(f"{indent}    ", _needed(node), "yellow")
            case PlannedManual():
                self._head(indent, node, f"MANUAL by {node.role or 'anybody'}", style="bold yellow")
                for line in by_hand(node):
                    self._line(f"{indent}    ", line)
            case PlannedSerial():
                self._head(indent, node, _form(node))
                self.batches(node, f"{indent}    ")
                for batch in together(node.batches):
                    self._parts(batch, depth)
                self.handlers(f"{node.path}.batch.*", depth + 1, "behind each batch")
            case PlannedBlock() | PlannedParallel() | PlannedInclude():
                self._head(indent, node, _form(node))
                if isinstance(node, PlannedInclude) and node.inputs:
                    given = ", ".join(f"{name}={_shown(value)}" for name, value in node.inputs.items())
                    self._line(f"{indent}    ", f"inputs: {given}", "cyan")
                self._parts(node, depth)
                if isinstance(node, PlannedInclude):
                    self.handlers(inside_of(node), depth + 1, "behind it")
            case _:
                assert_never(node)

    def _parts(self, node: Node, depth: int) -> None:
        for part in parts_of(node):
            self._title_part(node, part, "  " * depth + "    ")
            self.node(part, depth + 1)

    def batches(self, node: PlannedSerial, indent: str) -> None:
        """Print which hosts are worked on together."""
        total = len(node.batches)
        shown = total if self.full or total <= _BATCHES_SHOWN + 1 else _BATCHES_SHOWN
        for number, batch in enumerate(node.batches[:shown], 1):
            hosts = dict.fromkeys(t.target for action in actions_in(batch) for t in action.targets)
            self._line(indent, f"batch {number} of {total}: {self._hosts(list(hosts))}", "cyan")
        if shown < total:
            most = max(len(hosts_of(batch)) for batch in node.batches[shown:])
            text = f"... and {_count(total - shown, 'batch', 'batches')} more of up to {_count(most, 'host')}"
            self._line(indent, f"{text} (--json shows all)", "cyan")

    def _title_part(self, node: Node, part: Node, indent: str) -> None:
        """Print what begins with this part of a block: its rescue, or what is done in any case."""
        if isinstance(node, PlannedBlock):
            for title, nodes in (("rescue", node.rescue), ("always", node.always)):
                if nodes[:1] == (part,):
                    self._line(indent, f"{title}:", "dim")

    def _line(self, indent: str, text: str, style: str = "") -> None:
        self.out.print(Text(indent).append(text, style))

    def _head(self, indent: str, node: Node, form: str, style: str = "dim") -> None:
        line = Text(indent).append(f"{node.path} ", "bold cyan").append(safe_line(node.name), "bold")
        line.append(f"  {form}", style)
        self.out.print(line.append(f"  when {_whole(node.when)}", "dim") if node.when else line)

    def _action(self, indent: str, node: PlannedAction) -> None:
        groups: dict[str, list[TargetCalls]] = {}
        for target in node.targets:
            groups.setdefault(target.model_dump_json(exclude=_OWN), []).append(target)
        shown = len(groups) if self.full or len(groups) <= self.most + 1 else self.most
        for alike in list(groups.values())[:shown]:
            self._line(indent, self._hosts([target.target for target in alike]), "cyan")
            for line in self._calls(alike[0]):
                self._line(f"{indent}  ", line)
        rest = [target.target for alike in list(groups.values())[shown:] for target in alike]
        if rest:
            told = f"... and {_count(len(rest), 'host')} more, with arguments of their own (--json shows all)"
            self._line(indent, told, "cyan")
        self._circumstances(indent, node)

    def _hosts(self, names: Sequence[str]) -> str:
        if len(names) > 3 and len(names) >= len(self.plan.targets) and self._everybody().issubset(names):
            return f"all {len(names)} targets"
        return _names(names) if self.full else _first(names, _HOSTS_SHOWN)

    def _everybody(self) -> frozenset[str]:
        return frozenset(target.name for target in self.plan.targets)

    def _calls(self, target: TargetCalls) -> Iterator[str]:
        shown = len(target.calls) if self.full else _ITEMS_SHOWN
        for call in target.calls[:shown]:
            yield from call_lines(call)
        if len(target.calls) > shown:
            yield f"... and {len(target.calls) - shown} more items (--json shows all)"
        for keyword, calls in (("verify", target.verify), ("undo", target.undo), ("capture", target.capture)):
            known = list(dict.fromkeys(tuple(call_lines(call)) for call in calls[:shown]))
            for first, *rest in known:
                yield f"{keyword}: {first}"
                yield from rest

    def _circumstances(self, indent: str, node: PlannedAction) -> None:
        options = node.options
        effects = sorted({c.effect for t in node.targets for c in t.calls}, key=_ORDER.index)
        tail = Text(indent)
        for number, effect in enumerate(effects):
            word, style = _EFFECT[effect]
            tail.append(", " * bool(number)).append(word, style)
        if options.effect_reason:
            tail.append(f" (the author says: {_whole(options.effect_reason)})", "red")
        for words, style in _terms(options):
            tail.append(f", {words}", style)
        self.out.print(tail)
        for name, value in options.environment.items():
            self._line(indent, f"environment: {safe_line(name)}={exact(value)}")
        for keyword, expression in (("until", options.until), ("expect", options.expect)):
            if expression:
                self._line(indent, f"{keyword}: {_whole(expression)}", "dim")
        if node.notify:
            told = ", ".join(dict.fromkeys(map(step_of, node.notify)))
            self._line(indent, f"notifies {told} where it changes something", "dim")


def _terms(options: StepOptions) -> Iterator[tuple[str, str]]:
    """Give on what terms a step is done, each with its style."""
    yield from [(f"as {safe_line(options.become)}", "")] if options.become else []
    yield f"at most {format_duration(options.timeout_ms)}", "dim"
    if options.deadline_ms is not None:
        yield f"all attempts within {format_duration(options.deadline_ms)}", "dim"
    if options.retries:
        yield f"{options.retries} retries", "dim"
    if options.max_failures is not None:
        yield f"{_count(options.max_failures, 'host')} may fail", "dim"
    if options.revert_after_ms is not None:
        yield f"undone by itself after {format_duration(options.revert_after_ms)}", "bold"
    flags = (
        (not options.check_mode, "done also when the plan is only checked", "dim"),
        (options.ignore_errors, "a failure is ignored", "red"),
        (options.irreversible, "no way back behind it", "bold red"),
        (options.no_log, "arguments and output are not recorded", "red"),
    )
    yield from ((words, style) for given, words, style in flags if given)


def call_lines(call: PlannedCall) -> Iterator[str]:
    """Give the lines that show a call: its arguments side by side, and texts of several lines below."""
    long = {name: value for name, value in call.args.items() if isinstance(value, str) and "\n" in value}
    short = ", ".join(f"{name}={_shown(value)}" for name, value in call.args.items() if name not in long)
    late = f"   [not known yet: {', '.join(call.late)}]" if call.late else ""
    expect = f", expect {_whole(call.expect)}" if isinstance(call, PlannedCheck) and call.expect else ""
    yield f"{call.action} {short}".rstrip() + expect + late
    for name, value in long.items():
        yield f"  {safe_line(name)}:"
        for line in safe(value.removesuffix("\n")).split("\n"):
            yield f"    | {line}"
        if not value.endswith("\n"):
            yield "    (no new line at the end)"


def _needed(node: PlannedGate) -> str:
    if is_by_rules(node):
        return "needs what the policy says at that moment"
    needed = ", ".join(f"{need.count} {need.role}" for need in node.approvals)
    return f"needs {needed}; {node.change} change; {format_duration(node.expires_ms)}, then {node.on_timeout}"


def call_line(call: PlannedCall) -> str:
    """Give a call on one line, cut short where it has more."""
    return next(call_lines(call))


def _shown(value: JsonValue) -> str:
    if isinstance(value, dict) and set(value) == {"secret"}:
        return f"*****({_whole(str(value['secret']))})"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "[" + ", ".join(exact(str(item)) for item in value) + "]"
    return exact(value) if isinstance(value, str) else safe_json(json.dumps(value, ensure_ascii=False))


def _whole(text: str) -> str:
    """Give an expression on one line, uncut: what is approved is what was seen."""
    return text if safe_line(text, len(text) + 1) == text else exact(text)


def _judgement(out: Console, plan: Plan) -> None:
    """Say at the end what a responder must know before the go."""
    every = list(written((*plan.nodes, *plan.handlers)))
    actions = [node for node in every if isinstance(node, PlannedAction)]
    changing = [n for n in actions if any(c.effect is not Effect.READ for t in n.targets for c in t.calls)]
    # A way back has no way back of its own; to say so of each of its steps would only frighten.
    final = [n for n in changing if plan.undo_of is None and not all(t.undo for t in n.targets)]
    late = [n for n in actions if any(c.late for t in n.targets for c in t.calls)]
    out.print()
    gates = sum(isinstance(node, PlannedGate) for node in every)
    manual = sum(isinstance(node, PlannedManual) for node in every)
    changes = "changes" if len(changing) == 1 else "change"
    doing = f"{_count(len(actions), 'action')}, {len(changing)} of them {changes} something"
    out.print(Text(f"  {doing}; {_count(gates, 'gate')}, {_count(manual, 'manual step')}", "bold"))
    timed = [node for node in actions if node.options.revert_after_ms is not None]
    for word, nodes, style in (
        ("cannot be undone", final, "red"),
        ("takes itself back", timed, "bold"),
        ("not known in full until they are reached", late, "yellow"),
    ):
        if nodes:
            out.print(Text(f"  {word}: ", style).append(_first([*map(_title, nodes)], _STEPS_SHOWN)))


def _bounds(plan: Plan) -> Iterator[str]:
    """Give what holds the run: how much may fail, be changed, and take, and what nobody else works on."""
    limits = plan.limits
    said = [f"{_count(plan.max_failures, 'host')} may fail", f"{format_duration(plan.timeout_ms)} at work"]
    said += [f"at most {share} of {safe_line(group)} changed" for group, share in limits.share.items()]
    if limits.domains is not None:
        said.append(f"hosts of {limits.domains.at_once} {limits.domains.by} at once")
    yield f"limits: {', '.join(said)}"
    named = [safe_line(lock) for lock in plan.locks if not lock.startswith(HOST_LOCK)]
    hosts = [safe_line(lock) for lock in plan.locks if lock.startswith(HOST_LOCK)]
    if len(hosts) > _LOCKS_SHOWN:
        hosts = [f"each of the {len(hosts)} hosts that are changed"]
    if named or hosts:
        yield f"locks: {', '.join(named + hosts)}"


def _title(node: PlannedAction) -> str:
    after = node.options.revert_after_ms
    return f"{node.path} {node.name}" + (f" (after {format_duration(after)})" if after is not None else "")


def _first(names: Sequence[str], most: int) -> str:
    """Give the first of many names, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return _names(names[:most]) + rest


def _count(number: int, noun: str, several: str = "") -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {several or noun + 's'}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(safe_line(name) for name in names)


def _form(node: PlannedBlock | PlannedSerial | PlannedParallel | PlannedInclude) -> str:
    """Say how the parts of a node belong together."""
    match node:
        case PlannedBlock():
            return "block"
        case PlannedSerial():
            pause = f", {format_duration(node.pause_ms)} apart" if node.pause_ms else ""
            budget = "" if node.max_failures is None else f", {_count(node.max_failures, 'host')} may fail"
            return f"serial: {_count(len(node.batches), 'batch', 'batches')}{pause}{budget}"
        case PlannedParallel():
            rule = "no other begins a step" if node.on_failure == "stop" else "the others finish first"
            return f"parallel: when more than {node.max_failures} of {len(node.branches)} fail, {rule}"
        case PlannedInclude():
            ref = node.runbook
            budget = "" if node.max_failures is None else f", {_count(node.max_failures, 'host')} may fail"
            return f"include {ref.name}@{ref.version} ({ref.digest[7:19]}), risk {ref.risk}{budget}"
        case _:
            assert_never(node)
