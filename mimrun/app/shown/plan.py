"""A plan as people are shown it: what is done, where, in which order, what can be undone, what is not known.

A tree of steps with the lines that are said of each. The doors print it; what is said is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from mimrun.app.shown.call import call_lines, shown_value, whole
from mimrun.app.shown.manual import by_hand
from mimrun.app.shown.text import exact, safe_line
from mimrun.app.shown.tone import Told, Tone, line
from mimrun.connector import Effect
from mimrun.runbook.batch import actions_in, hosts_of, step_of, together, written
from mimrun.runbook.duration import format_duration
from mimrun.runbook.launch import is_by_rules
from mimrun.runbook.node import (
    Node,
    PlannedAction,
    PlannedBlock,
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

_EFFECT: Final[dict[Effect, tuple[str, Tone]]] = {
    Effect.READ: ("reads only", "good"),
    Effect.IDEMPOTENT: ("safe to repeat", "good"),
    Effect.PROBE: ("can be probed", "care"),
    Effect.ONCE: ("happens once", "danger"),
}
_ORDER: Final = list(_EFFECT)
_ITEMS_SHOWN: Final = 20
"""Items of one loop that a plan shows; a gate shows every one."""
_BATCHES_SHOWN: Final = 5
"""Batches whose hosts a plan names; a gate names those of every one."""
HOSTS_SHOWN: Final = 20
"""Hosts that a plan names in one place."""
_OWN: Final = {"target", "items", "compare", "left", "given"}
"""What two hosts may differ in that a plan does not show."""
_LINES: Final = 40
"""So many times hosts with different arguments are shown in a whole plan; a gate shows every one."""


@dataclass(frozen=True, slots=True)
class Section:
    """Steps that belong together within another, or in a plan.

    Arguments:
        title: what they are done for, such as `rescue`; "" where nothing is to be said.
        handlers: they follow where something changed.
    """

    title: str
    steps: tuple[Step, ...]
    handlers: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A step, and what is inside it.

    Arguments:
        form: what kind of step it is: its action, `GATE`, `serial: 3 batches`.
        when: its condition, or "".
    """

    path: str
    name: str
    form: str
    tone: Tone = "quiet"
    when: str = ""
    lines: tuple[Told, ...] = ()
    sections: tuple[Section, ...] = ()


def plan_steps(plan: Plan, *, full: bool = False, where: str = "--json shows all") -> tuple[Section, ...]:
    """Give the steps of a whole plan.

    Arguments:
        full: nothing is left out; else what repeats itself many times is cut short.
        where: where the rest can be seen then.
    """
    actions = sum(isinstance(node, PlannedAction) for node in written((*plan.nodes, *plan.handlers)))
    view = _View(plan, full=full, most=min(max(_LINES // max(actions, 1), 2), 12), where=where)
    return (Section("", view.steps(plan.nodes)), *view.handlers("", "at the end"))


def segment_steps(plan: Plan, segment: Segment) -> tuple[Section, ...]:
    """Give what stands behind a gate, exactly and in full; then the batches in which it is done."""
    view = _View(plan, full=True)
    reached = {step_of(node.path).partition(".batch.*")[0] for node in segment.nodes}
    serial = (node for node in plan.walk() if isinstance(node, PlannedSerial) and node.path in reached)
    batches = tuple(
        Step(node.path, safe_line(node.name), form_of(node), lines=tuple(view.batches(node)))
        for node in serial
    )
    steps = Section("", view.steps(together(segment.nodes)))
    return (steps, Section("batches", batches)) if batches else (steps,)


@dataclass(frozen=True, slots=True)
class _View:
    """Tells the steps of a plan.

    Arguments:
        plan: its targets stand above the steps.
        full: nothing is left out, however long it is.
        most: where hosts of a step differ in what is done on them, so many kinds are shown.
        where: where the rest can be seen.
    """

    plan: Plan
    full: bool
    most: int = 0
    where: str = ""

    def steps(self, nodes: Iterable[Node]) -> tuple[Step, ...]:
        return tuple(map(self.step, nodes))

    def handlers(self, around: str, when: str) -> Iterator[Section]:
        """Give what follows a part of the plan where something changed; what follows each batch, only once."""
        behind = [h for h in self.plan.handlers if step_of(handler_place(h.path)[0]) == around]
        if behind:
            each = together(behind) if ".batch." in around else behind
            yield Section(f"{when}, where something changed", self.steps(each), handlers=True)

    def step(self, node: Node) -> Step:
        """Give a step, and what is inside it."""
        form = form_of(node)
        tone: Tone = "quiet"
        lines: tuple[Told, ...] = ()
        sections: tuple[Section, ...] = ()
        match node:
            case PlannedAction():
                lines = tuple(self._action(node))
            case PlannedGate():
                tone, lines = "asks", (line(_needed(node), "care"),)
            case PlannedManual():
                tone, lines = "asks", tuple(line(text) for text in by_hand(node))
            case PlannedSerial():
                lines = tuple(self.batches(node))
                parts = [s for batch in together(node.batches) for s in self._parts(batch)]
                sections = (*parts, *self.handlers(f"{node.path}.batch.*", "behind each batch"))
            case PlannedBlock() | PlannedParallel():
                sections = tuple(self._parts(node))
            case PlannedInclude():
                given = ", ".join(f"{name}={shown_value(value)}" for name, value in node.inputs.items())
                lines = (line(f"inputs: {given}", "place"),) if given else ()
                sections = (*self._parts(node), *self.handlers(inside_of(node), "behind it"))
            case _:
                assert_never(node)
        when = whole(node.when) if node.when else ""
        return Step(node.path, safe_line(node.name), form, tone, when, lines, sections)

    def _parts(self, node: Node) -> Iterator[Section]:
        if not isinstance(node, PlannedBlock):
            yield Section("", self.steps(parts_of(node)))
            return
        for title, nodes in (("", node.block), ("rescue", node.rescue), ("always", node.always)):
            if nodes:
                yield Section(title, self.steps(nodes))

    def batches(self, node: PlannedSerial) -> Iterator[Told]:
        """Say which hosts are worked on together."""
        total = len(node.batches)
        shown = total if self.full or total <= _BATCHES_SHOWN + 1 else _BATCHES_SHOWN
        for number, batch in enumerate(node.batches[:shown], 1):
            hosts = dict.fromkeys(t.target for action in actions_in(batch) for t in action.targets)
            yield line(f"batch {number} of {total}: {self._hosts(list(hosts))}", "place")
        if shown < total:
            most = max(len(hosts_of(batch)) for batch in node.batches[shown:])
            text = f"... and {count(total - shown, 'batch', 'batches')} more of up to {count(most, 'host')}"
            yield line(f"{text} ({self.where})", "place")

    def _action(self, node: PlannedAction) -> Iterator[Told]:
        groups: dict[str, list[TargetCalls]] = {}
        for target in node.targets:
            groups.setdefault(target.model_dump_json(exclude=_OWN), []).append(target)
        shown = len(groups) if self.full or len(groups) <= self.most + 1 else self.most
        for alike in list(groups.values())[:shown]:
            yield line(self._hosts([target.target for target in alike]), "place")
            yield from (line(text, deep=True) for text in self._calls(alike[0]))
        rest = [target.target for alike in list(groups.values())[shown:] for target in alike]
        if rest:
            told = f"... and {count(len(rest), 'host')} more, with arguments of their own"
            yield line(f"{told} ({self.where})", "place")
        yield from _circumstances(node)

    def _hosts(self, names: Sequence[str]) -> str:
        if len(names) > 3 and len(names) >= len(self.plan.targets) and self._everybody().issubset(names):
            return f"all {len(names)} targets"
        return named(names) if self.full else first(names, HOSTS_SHOWN)

    def _everybody(self) -> frozenset[str]:
        return frozenset(target.name for target in self.plan.targets)

    def _calls(self, target: TargetCalls) -> Iterator[str]:
        shown = len(target.calls) if self.full else _ITEMS_SHOWN
        for call in target.calls[:shown]:
            yield from call_lines(call)
        if len(target.calls) > shown:
            yield f"... and {len(target.calls) - shown} more items ({self.where})"
        for keyword, calls in (("verify", target.verify), ("undo", target.undo), ("capture", target.capture)):
            known = list(dict.fromkeys(tuple(call_lines(call)) for call in calls[:shown]))
            for head, *rest in known:
                yield f"{keyword}: {head}"
                yield from rest


def _circumstances(node: PlannedAction) -> Iterator[Told]:
    options = node.options
    effects = sorted({c.effect for t in node.targets for c in t.calls}, key=_ORDER.index)
    words: list[tuple[str, Tone]] = []
    for number, effect in enumerate(effects):
        word, tone = _EFFECT[effect]
        words.append((", " * bool(number) + word, tone))
    if options.effect_reason:
        words.append((f" (the author says: {whole(options.effect_reason)})", "danger"))
    words += [(f", {text}", tone) for text, tone in _terms(options)]
    yield Told(tuple(words))
    for name, value in options.environment.items():
        yield line(f"environment: {safe_line(name)}={exact(value)}")
    for keyword, expression in (("until", options.until), ("expect", options.expect)):
        if expression:
            yield line(f"{keyword}: {whole(expression)}", "quiet")
    if node.notify:
        told = ", ".join(dict.fromkeys(map(step_of, node.notify)))
        yield line(f"notifies {told} where it changes something", "quiet")


def _terms(options: StepOptions) -> Iterator[tuple[str, Tone]]:
    """Give on what terms a step is done, each with its tone."""
    if options.become:
        yield f"as {safe_line(options.become)}", ""
    yield f"at most {format_duration(options.timeout_ms)}", "quiet"
    if options.deadline_ms is not None:
        yield f"all attempts within {format_duration(options.deadline_ms)}", "quiet"
    if options.retries:
        yield f"{options.retries} retries", "quiet"
    if options.max_failures is not None:
        yield f"{count(options.max_failures, 'host')} may fail", "quiet"
    if options.revert_after_ms is not None:
        yield f"undone by itself after {format_duration(options.revert_after_ms)}", "strong"
    flags: tuple[tuple[bool, str, Tone], ...] = (
        (not options.check_mode, "done also when the plan is only checked", "quiet"),
        (options.ignore_errors, "a failure is ignored", "danger"),
        (options.irreversible, "no way back behind it", "alarm"),
        (options.no_log, "arguments and output are not recorded", "danger"),
    )
    yield from ((words, tone) for given, words, tone in flags if given)


def _needed(node: PlannedGate) -> str:
    if is_by_rules(node):
        return "needs what the policy says at that moment"
    needed = ", ".join(f"{need.count} {need.role}" for need in node.approvals)
    return f"needs {needed}; {node.change} change; {format_duration(node.expires_ms)}, then {node.on_timeout}"


def form_of(node: Node) -> str:
    """Say what kind of step a node is, and how its parts belong together."""
    match node:
        case PlannedAction():
            return node.action
        case PlannedGate():
            return "GATE"
        case PlannedManual():
            return f"MANUAL by {node.role or 'anybody'}"
        case PlannedBlock():
            return "block"
        case PlannedSerial():
            pause = f", {format_duration(node.pause_ms)} apart" if node.pause_ms else ""
            return f"serial: {count(len(node.batches), 'batch', 'batches')}{pause}{_budget(node)}"
        case PlannedParallel():
            rule = "no other begins a step" if node.on_failure == "stop" else "the others finish first"
            return f"parallel: when more than {node.max_failures} of {len(node.branches)} fail, {rule}"
        case PlannedInclude():
            ref = node.runbook
            return f"include {ref.name}@{ref.version} ({ref.digest[7:19]}), risk {ref.risk}{_budget(node)}"
        case _:
            assert_never(node)


def _budget(node: PlannedSerial | PlannedInclude) -> str:
    return "" if node.max_failures is None else f", {count(node.max_failures, 'host')} may fail"


def first(names: Sequence[str], most: int) -> str:
    """Give the first of many names, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return named(names[:most]) + rest


def named(names: Sequence[str]) -> str:
    """Give names side by side."""
    return ", ".join(safe_line(name) for name in names)


def count(number: int, noun: str, several: str = "") -> str:
    """Give a number of something: `1 host`, `3 batches`."""
    return f"{number} {noun}" if number == 1 else f"{number} {several or noun + 's'}"
