"""The cassette: every call that a run made, and what was said to each of its attempts, to be found by what is asked.

An answer is given to the call that it was given to: the same action on the same target with the same arguments. The
step that asks is known by its name; where a step of another name asks the very same, that is said. What nobody asked
then is answered by nobody now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson
from pydantic import JsonValue

from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.replay.answers import Answer, answer_of_attempt
from mimrun.replay.board import PARTS, iteration_of, step_of
from mimrun.replay.difference import Content, Difference, same_value
from mimrun.replay.steps import PINNED
from mimrun.replay.tape import Lane, Tape, lane_of
from mimrun.replay.targets import retries_of
from mimrun.run.record.state import CellKey
from mimrun.run.walk.tally import NOT_BEGUN
from mimrun.runbook.node import Node, PlannedAction, PlannedCall, PlannedGate
from mimrun.runbook.plan import Plan, Segment

Args = Mapping[str, JsonValue]


@dataclass(slots=True, eq=False)
class RecordedCall:
    """One call of the run: a step, or the look before or after it, on one target for one item.

    Arguments:
        key: its cell.
        action: `<connector>.<verb>`.
        attempts: what was said to each.
        left: the state that it left, as the entry has it that recorded it; None where nothing read it.
        resolved: what a person said of it, where it was in doubt.
        given: so many of its attempts were given away.
    """

    key: CellKey
    action: str
    attempts: list[tuple[LogEntry, Answer]] = field(default_factory=list)
    left: LogEntry | None = None
    resolved: list[LogEntry] = field(default_factory=list)
    given: int = 0

    def settled(self) -> LogEntry | None:
        """Give what a person said of the attempt that was given away last; None where nobody was asked."""
        intent = self.attempts[self.given - 1][0].seq if self.given else 0
        return next((entry for entry in self.resolved if getattr(entry.body, "intent", 0) == intent), None)

    @property
    def digest(self) -> str:
        """Of the arguments, as the log has it."""
        return getattr(self.attempts[0][0].body, "args_digest", "") if self.attempts else ""

    @property
    def step(self) -> str:
        """The step that it belongs to."""
        return step_of(self.key.step)

    @property
    def part(self) -> str:
        """Which look it is: `.verify`, `.capture`, or "" for the step itself."""
        return part_of(self.key)


def part_of(key: CellKey) -> str:
    """Say which look a cell is: `.verify`, `.capture`, or "" for the step itself."""
    return next((part for part in PARTS if key.step.endswith(part)), "")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a changed runbook asks.

    Arguments:
        key: the cell that asks.
        was: the place of its step in the recorded plan; "" where it is new.
        action, args: what; None where the arguments are kept out of the log.
        digest: of the arguments, as the log has it.
        call: the author's text.
        node: the step that asks.
    """

    key: CellKey
    was: str
    action: str
    args: Args | None
    digest: str
    call: PlannedCall | None
    node: Node | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """The recorded call that answers.

    Arguments:
        how: `same`, `item` for another item of the step, `elsewhere` for a call of another step, or `anyhow` where the
            arguments are others.
        differences: of the arguments.
    """

    call: RecordedCall
    how: str = "same"
    differences: tuple[Difference, ...] = ()


class Cassette:
    """The calls of a run.

    Arguments:
        tape: the record.
        plan: the recorded plan.
        content: of an entry.
    """

    def __init__(self, tape: Tape, plan: Plan, content: Content) -> None:
        self._content = content
        self._planned = frozen_nodes(tape, plan, content)
        self.calls: dict[CellKey, RecordedCall] = {}
        self.left_alone: set[tuple[str, str]] = set()
        """Steps and hosts that were not begun, as too many others had failed before."""
        self.begun: set[str] = set()
        """The steps that were begun."""
        self.untold: list[LogEntry] = []
        """The entries of steps that failed for what stood in front of them, such as a secret nobody could fetch."""
        self._by_work: dict[tuple[str, str, str], list[RecordedCall]] = defaultdict(list)
        self._by_step: dict[tuple[str, str, str], list[RecordedCall]] = defaultdict(list)
        self._read(tape, plan)

    def _read(self, tape: Tape, plan: Plan) -> None:
        lanes: dict[Lane, list[LogEntry]] = defaultdict(list)
        for entry in tape.entries:
            if entry.kind is Kind.STEP_STARTED:
                self.begun.add(entry.step)
            if entry.step and entry.target:
                lanes[lane_of(entry)].append(entry)
        for entries in lanes.values():
            for number, entry in enumerate(entries):
                self._take(entry, entries[number + 1 :], plan)

    def _take(self, entry: LogEntry, behind: list[LogEntry], plan: Plan) -> None:
        key = CellKey(entry.step, entry.target, iteration_of(entry))
        match entry.body:
            case kinds.StepIntent() as body:
                call = self._call(key, body.action)
                answer = answer_of_attempt(entry, behind, retries=retries_of(plan, entry.step))
                if not answer.held_back:
                    # What a worker left that died was tried again; only its last trace is an answer.
                    if call.attempts and _died(call.attempts[-1]):
                        call.attempts.pop()
                    call.attempts.append((entry, answer))
            case kinds.StepSkipped(reason=reason) if reason.startswith(NOT_BEGUN):
                self.left_alone.add((entry.step, entry.target))
            case kinds.StepVerified(passed=False):
                self.untold.append(entry)
            case kinds.StepCaptured(when="after") if key in self.calls:
                self.calls[key].left = entry
            case kinds.StepResolved() if key in self.calls:
                self.calls[key].resolved.append(entry)
            case _:
                pass

    def _call(self, key: CellKey, action: str) -> RecordedCall:
        if key not in self.calls:
            self.calls[key] = call = RecordedCall(key, action)
            self._by_work[action, key.target, call.part].append(call)
            self._by_step[call.step, key.target, call.part].append(call)
        return self.calls[key]

    def find(self, asked: Asked, *, any_arguments: bool = False) -> Match | None:
        """Find the call that answers what is asked; None where there is none. The steps, in order:

        1. The same step with the same arguments, its same item first.
        2. Another step with the same arguments.
        3. Where that is allowed, the same step and item with other arguments.
        """
        part, target = part_of(asked.key), asked.key.target
        own = [c for c in self._by_step[asked.was, target, part] if not c.given and c.action == asked.action]
        own.sort(key=lambda call: call.key.iteration != asked.key.iteration)
        for call in own:
            if not self.differences(asked, call):
                return Match(call, "same" if call.key.iteration == asked.key.iteration else "item")
        for call in self._by_work[asked.action, target, part]:
            if not call.given and call.step != asked.was and not self.differences(asked, call):
                return Match(call, "elsewhere")
        near = [call for call in own if call.key.iteration == asked.key.iteration]
        if any_arguments and near:
            return Match(near[0], "anyhow", tuple(self.differences(asked, near[0])))
        return None

    def failed_before(self, asked: Asked) -> LogEntry | None:
        """Give the entry with which the same step failed then before anything was asked; None where it did not."""
        planned = call_of(self._planned.get(asked.was), asked.key._replace(step=asked.was))
        if planned is None or asked.call is None or planned.args != asked.call.args:
            return None
        where = (asked.was, asked.key.target, asked.key.iteration)
        found = (e for e in self.untold if (e.step, e.target, iteration_of(e)) == where)
        key = CellKey(asked.was, asked.key.target, asked.key.iteration)
        return next(found, None) if key not in self.calls else None

    def nearest(self, asked: Asked) -> RecordedCall | None:
        """Give the call that the same step made then, whatever it asked; None where it made none."""
        key = CellKey(f"{asked.was}{part_of(asked.key)}", asked.key.target, asked.key.iteration)
        return self.calls.get(key) if asked.was else None

    def differences(self, asked: Asked, call: RecordedCall) -> list[Difference]:
        """Give what is different in the arguments of what is asked and what was asked then."""
        if call.action != asked.action:
            return [Difference("action", call.action, asked.action)]
        return [*self._around(asked, call), *self._in_arguments(asked, call)]

    def _around(self, asked: Asked, call: RecordedCall) -> Iterator[Difference]:
        """Give what is different in what a call is made with besides its arguments: as whom, and in which environment."""
        was, now = self._planned.get(call.step), asked.node
        if isinstance(was, PlannedAction) and isinstance(now, PlannedAction):
            for name in ("become", "environment"):
                then, today = getattr(was.options, name), getattr(now.options, name)
                if then != today:
                    yield Difference(name, _shown(then), _shown(today))

    def _in_arguments(self, asked: Asked, call: RecordedCall) -> list[Difference]:
        if asked.args is not None and call.digest == asked.digest:
            return []
        planned, then = self._planned_call(call), self._args(call)
        if asked.args is None or then is None:
            # What was asked is not on record; the author's text of then and of now is.
            was, now = planned.args if planned else {}, asked.call.args if asked.call else {}
        else:
            own = planned.args.keys() if planned else then.keys()
            was, now = {key: value for key, value in then.items() if key in own}, dict(asked.args)
        keys = dict.fromkeys((*was, *now))
        return [
            Difference(key, _shown(was.get(key)), _shown(now.get(key)))
            for key in keys
            if not (key == PINNED and key not in now) and not same_value(was.get(key), now.get(key))
        ]

    def _args(self, call: RecordedCall) -> Args | None:
        """Give the arguments that were recorded; None where they were kept out of the log, or erased."""
        data = self._content(call.attempts[0][0], "args") if call.attempts else None
        return orjson.loads(data) if data else None

    def _planned_call(self, call: RecordedCall) -> PlannedCall | None:
        return call_of(self._planned.get(call.step), call.key)

    def unused(self) -> Iterator[RecordedCall]:
        """Give the calls that nobody asked for."""
        return (call for call in self.calls.values() if call.attempts and not call.given)


def _died(attempt: tuple[LogEntry, Answer]) -> bool:
    """Say whether a worker died over an attempt, and nobody found out that it had its effect."""
    intent, answer = attempt
    kept = answer.kept
    if kept is None:
        return True
    return kept.epoch > intent.epoch and getattr(kept.body, "status", "") != "ok"


def frozen_nodes(tape: Tape, plan: Plan, content: Content) -> Mapping[str, Node]:
    """Give every step as it was really done: as approved where there was a gate, else as planned."""
    nodes: dict[str, Node] = {node.path: node for node in plan.walk()}
    for entry in tape.entries:
        if isinstance(entry.body, kinds.GateRequested) and isinstance(nodes.get(entry.step), PlannedGate):
            data = content(entry, "segment")
            if data:
                nodes.update((node.path, node) for node in Segment.decode(data).nodes)
    return nodes


def call_of(node: Node | None, key: CellKey) -> PlannedCall | None:
    """Give the planned call of a cell."""
    if not isinstance(node, PlannedAction):
        return None
    target = next((one for one in node.targets if one.target == key.target), None)
    if target is None:
        return None
    choose: Mapping[str, Callable[[], tuple[PlannedCall, ...]]] = {
        ".verify": lambda: target.verify,
        ".capture": lambda: target.capture,
    }
    calls = choose.get(part_of(key), lambda: target.calls)()
    if not calls:
        return None
    return calls[key.iteration if len(calls) > key.iteration else 0]


def _shown(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()
