"""Steps held against steps: which step of a changed runbook is which of the recorded one, and what is different.

A step is known by its name and by the names of what it stands in, not by its number: whoever puts a step in front of
another has not changed the other one. What has another name and does the same at the same place was renamed.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from mimrun.replay.comparison import StepChange
from mimrun.replay.difference import Difference
from mimrun.runbook.batch import step_of
from mimrun.runbook.duration import format_duration
from mimrun.runbook.node import (
    Leaf,
    Node,
    PlannedAction,
    PlannedCall,
    PlannedGate,
    PlannedManual,
    PlannedSerial,
    StepOptions,
    TargetCalls,
    parts_of,
)
from mimrun.runbook.plan import Plan

PINNED = "sha256"
"""What a plan knows besides of a file that is named in it; a replay does not read files of then."""

_CALLS = ("calls", "verify", "undo", "capture")
_WORDS = {"calls": "arguments"}


def without_batch(path: str) -> str:
    """Give the path of a step without the number of its batch."""
    return step_of(path) if ".batch." in path else path


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a plan, whatever batches it is done in.

    Arguments:
        path: where it stands, the first one of those in batches.
        place: the same without the numbers of batches.
        around: the names of what it stands in, the outermost first.
        nodes: it, once for each batch.
        batches: the hosts of each.
    """

    path: str
    place: str
    around: tuple[str, ...]
    nodes: tuple[Leaf, ...]
    batches: tuple[tuple[str, ...], ...]

    @property
    def node(self) -> Leaf:
        """The step itself; of one in batches, that of the first."""
        return self.nodes[0]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.node.name

    @property
    def targets(self) -> Mapping[str, TargetCalls]:
        """What it does on each host, of all batches."""
        actions = (node for node in self.nodes if isinstance(node, PlannedAction))
        return {target.target: target for node in actions for target in node.targets}


def steps_of(plan: Plan) -> tuple[Step, ...]:
    """Give the steps of a plan that are done by themselves, in the order in which they are written."""
    found: dict[str, list[tuple[Leaf, tuple[str, ...]]]] = {}
    for node, around in _leaves(plan, plan.nodes, ()):
        found.setdefault(without_batch(node.path), []).append((node, around))
    for handler in plan.handlers:
        found.setdefault(without_batch(handler.path), []).append((handler, ("handlers",)))
    return tuple(_step(place, nodes) for place, nodes in found.items())


def _step(place: str, found: Sequence[tuple[Leaf, tuple[str, ...]]]) -> Step:
    nodes = tuple(node for node, _ in found)
    return Step(nodes[0].path, place, found[0][1], nodes, tuple(_hosts(node) for node in nodes))


def _leaves(
    plan: Plan, nodes: Sequence[Node], around: tuple[str, ...]
) -> Iterator[tuple[Leaf, tuple[str, ...]]]:
    for node in nodes:
        if isinstance(node, Leaf):
            yield node, around
        elif isinstance(node, PlannedSerial):
            for batch in node.batches:
                yield from _leaves(plan, parts_of(batch), (*around, node.name))
        else:
            yield from _leaves(plan, parts_of(node), (*around, node.name))


def _hosts(node: Leaf) -> tuple[str, ...]:
    return tuple(target.target for target in node.targets) if isinstance(node, PlannedAction) else ()


@dataclass(frozen=True, slots=True)
class Pairs:
    """Which step is which.

    Arguments:
        then, now: the steps of the recorded plan, and of the changed one.
        of: by the place of a step now, its step then.
    """

    then: tuple[Step, ...]
    now: tuple[Step, ...]
    of: Mapping[str, Step]

    def was(self, path: str) -> Step | None:
        """Give the step of then that a step of now is; None where it is new."""
        return self.of.get(without_batch(path))


def pair(then: Plan, now: Plan) -> Pairs:
    """Find out which step of a changed plan is which of the recorded one. The steps, in order:

    1. The same name within the same steps.
    2. The same name anywhere, where there is just one on both sides.
    3. Another name at the same place, for the same work on some of the same hosts.
    """
    old, new = steps_of(then), steps_of(now)
    found: dict[str, Step] = {}
    _pair_by(old, new, found, lambda step: (step.node.kind, step.around, step.name), many=True)
    _pair_by(old, new, found, lambda step: (step.node.kind, step.name), many=False)
    taken = {step.place for step in found.values()}
    by_place = {step.place: step for step in old if step.place not in taken}
    for step in new:
        other = by_place.get(step.place)
        if step.place not in found and other is not None and _does_the_same(step, other):
            found[step.place] = other
            taken.add(other.place)
    spare = [step for step in old if step.place not in taken]
    for step in (step for step in new if step.place not in found):
        left = [one for one in spare if one.place not in taken and _does_the_same(step, one)]
        if len(left) == 1:
            found[step.place] = left[0]
            taken.add(left[0].place)
    return Pairs(old, new, found)


def _pair_by(
    old: Sequence[Step],
    new: Sequence[Step],
    found: dict[str, Step],
    key: Callable[[Step], object],
    *,
    many: bool,
) -> None:
    """Pair what has the same key: one by one in their order, or only where each side has one."""
    taken = {step.place for step in found.values()}
    left: dict[object, list[Step]] = {}
    for step in old:
        if step.place not in taken:
            left.setdefault(key(step), []).append(step)
    waiting: dict[object, list[Step]] = {}
    for step in new:
        if step.place not in found:
            waiting.setdefault(key(step), []).append(step)
    for same, steps in waiting.items():
        others = left.get(same, [])
        if many or len(steps) == len(others) == 1:
            found.update((step.place, other) for step, other in zip(steps, others, strict=False))


def _does_the_same(one: Step, other: Step) -> bool:
    if not isinstance(one.node, PlannedAction) or not isinstance(other.node, PlannedAction):
        return False
    shared = one.targets.keys() & other.targets.keys()
    return one.node.action == other.node.action and any(
        _args(one.targets[host].calls) == _args(other.targets[host].calls) for host in shared
    )


def _args(calls: Sequence[PlannedCall]) -> list[dict[str, JsonValue]]:
    return [{key: value for key, value in call.args.items() if key != PINNED} for call in calls]


def renamed(pairs: Pairs) -> Iterator[StepChange]:
    """Give the steps that have another name now."""
    for step, was in _both(pairs):
        if step.name != was.name:
            yield StepChange(step.name, was.path, step.path, (Difference("name", was.name, step.name),))


def added(pairs: Pairs) -> Iterator[StepChange]:
    """Give the steps that were not there then."""
    return (StepChange(step.name, now=step.path) for step in pairs.now if step.place not in pairs.of)


def removed(pairs: Pairs) -> Iterator[StepChange]:
    """Give the steps that are not there any more."""
    kept = {step.place for step in pairs.of.values()}
    return (StepChange(step.name, was=step.path) for step in pairs.then if step.place not in kept)


def reordered(pairs: Pairs) -> Iterator[StepChange]:
    """Give the fewest steps that would have to be moved for the others to stand in the order of then."""
    both = list(_both(pairs))
    place = {step.place: number for number, step in enumerate(pairs.then)}
    order = [place[was.place] for _, was in both]
    staying = _longest_rising(order)
    for number, (step, was) in enumerate(both):
        if number not in staying:
            behind = both[number + 1][0].name if number + 1 < len(both) else ""
            yield StepChange(step.name, was.path, step.path, before=behind)


def _longest_rising(order: Sequence[int]) -> frozenset[int]:
    """Give the places of a longest part of a sequence in which each number is greater than the one before it."""
    ends: list[int] = []
    came: list[int] = []
    for at, number in enumerate(order):
        length = bisect_left(ends, number, key=order.__getitem__)
        came.append(ends[length - 1] if length else -1)
        ends[length : length + 1] = [at]
    found, at = set(), ends[-1] if ends else -1
    while at >= 0:
        found.add(at)
        at = came[at]
    return frozenset(found)


def changed(pairs: Pairs) -> Iterator[StepChange]:
    """Give the steps that are done otherwise than then: other arguments, hosts, conditions or keywords."""
    for step, was in _both(pairs):
        what = tuple(_differences(was, step))
        if what:
            yield StepChange(step.name, was.path, step.path, what)


def changed_plan(then: Plan, now: Plan) -> Iterator[StepChange]:
    """Give what holds for a runbook as a whole and is otherwise than then; its version, inputs and hosts are told apart."""
    limits = [
        (f"limits: {name}", _shown(getattr(then.limits, name)), _shown(getattr(now.limits, name)))
        for name in type(now.limits).model_fields
    ]
    what = (
        *limits,
        ("max_failures", str(then.max_failures), str(now.max_failures)),
        ("locks", ", ".join(then.locks), ", ".join(now.locks)),
        ("timeout", format_duration(then.timeout_ms), format_duration(now.timeout_ms)),
    )
    found = tuple(Difference(*one) for one in what if one[1] != one[2])
    if found:
        yield StepChange("the runbook as a whole", what=found)


def _both(pairs: Pairs) -> Iterator[tuple[Step, Step]]:
    return ((step, pairs.of[step.place]) for step in pairs.now if step.place in pairs.of)


def _differences(was: Step, now: Step) -> Iterator[Difference]:
    old, new = was.node, now.node
    if (old.when or "") != (new.when or ""):
        yield Difference("when", old.when or "", new.when or "")
    match old, new:
        case PlannedAction(), PlannedAction():
            yield from _of_action(old, new)
            yield from _of_hosts(was, now)
        case PlannedGate(), PlannedGate():
            yield from _of_gate(old, new)
        case PlannedManual(), PlannedManual():
            yield from _of_fields(old, new, ("role", "instructions", "evidence", "checklist", "second"))
        case _:
            yield Difference("kind", old.kind, new.kind)


def _of_action(old: PlannedAction, new: PlannedAction) -> Iterator[Difference]:
    yield from _of_fields(old, new, ("action", "loop"))
    for name in StepOptions.model_fields:
        was, now = getattr(old.options, name), getattr(new.options, name)
        if was != now:
            word = name.rstrip("_").removesuffix("_ms")
            yield Difference(word, _option(name, was), _option(name, now))


def _option(name: str, value: object) -> str:
    if value is None:
        return ""
    return format_duration(value) if name.endswith("_ms") and isinstance(value, int) else _shown(value)


def _of_hosts(was: Step, now: Step) -> Iterator[Difference]:
    if set(was.targets) != set(now.targets):
        yield Difference("hosts", ", ".join(was.targets), ", ".join(now.targets))
    elif was.batches != now.batches:
        yield Difference("batches", _batches(was), _batches(now))
    for part in _CALLS:
        yield from _of_calls(part, was, now)


def _of_calls(part: str, was: Step, now: Step) -> Iterator[Difference]:
    """Give what is different in the calls on those hosts that are in both; of what is the same on each, once."""
    found: dict[Difference, list[str]] = {}
    shared = [host for host in now.targets if host in was.targets]
    for host in shared:
        old, new = getattr(was.targets[host], part), getattr(now.targets[host], part)
        for one in _calls_differ(_WORDS.get(part, part), old, new):
            found.setdefault(one, []).append(host)
    for one, hosts in found.items():
        everywhere = len(hosts) == len(shared)
        yield one if everywhere else one._replace(what=f"{one.what} on {', '.join(hosts)}")


def _calls_differ(word: str, old: Sequence[PlannedCall], new: Sequence[PlannedCall]) -> Iterator[Difference]:
    if [call.action for call in old] != [call.action for call in new] or len(old) != len(new):
        yield Difference(word, _called(old), _called(new))
        return
    for number, (before, after) in enumerate(zip(old, new, strict=True)):
        item = f" of item {number + 1}" if len(new) > 1 else ""
        for key in dict.fromkeys((*before.args, *after.args)):
            if key == PINNED and key not in after.args:
                continue
            was, now = before.args.get(key), after.args.get(key)
            if was != now:
                yield Difference(f"{word}: {key}{item}", _shown(was), _shown(now))
        for name in ("expect", "retries", "delay_ms"):
            was, now = getattr(before, name, None), getattr(after, name, None)
            if was != now:
                yield Difference(
                    f"{word}: {name.removesuffix('_ms')}", _option(name, was), _option(name, now)
                )


def _called(calls: Sequence[PlannedCall]) -> str:
    return ", ".join(f"{call.action} {_shown(call.args)}" for call in calls)


def _batches(step: Step) -> str:
    return " | ".join(", ".join(hosts) for hosts in step.batches)


def _of_gate(old: PlannedGate, new: PlannedGate) -> Iterator[Difference]:
    was, now = _approvals(old), _approvals(new)
    if was != now:
        yield Difference("approvals", was, now)
    if old.expires_ms != new.expires_ms:
        yield Difference("expires", format_duration(old.expires_ms), format_duration(new.expires_ms))
    yield from _of_fields(old, new, ("change", "on_timeout"))


def _approvals(gate: PlannedGate) -> str:
    return ", ".join(sorted(f"{need.count} {need.role}" for need in gate.approvals))


def _of_fields(old: Leaf, new: Leaf, names: Sequence[str]) -> Iterator[Difference]:
    for name in names:
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            yield Difference(name, _shown(was), _shown(now))


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, default=str, ensure_ascii=False, sort_keys=True)
