"""Under way: what the steps of a run that have begun are waiting for, and for how long they have been."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeGuard

from mimrun.app.shown.call import call_line
from mimrun.app.shown.text import safe_line
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.runbook.duration import format_duration
from mimrun.runbook.node import Node, PlannedAction

_PARTS: Final = (".verify", ".capture")
WAITING: Final = timedelta(seconds=10)
"""So often it is said of a step that waits."""
WORKING: Final = timedelta(minutes=1)
"""So often it is said of a step that works."""


def step_of(step: str) -> str:
    """Give the step that a look before or after it belongs to, or the step itself."""
    for part in _PARTS:
        step = step.removesuffix(part)
    return step


@dataclass(slots=True)
class _Step:
    """A step under way, with what is known of it.

    Arguments:
        since: when it began.
        said: when something was said of it for the last time.
        left: the hosts of which nobody knows yet how it ended, as far as the log names them.
        looks: the looks that were had, on all hosts.
        proving: it was done, and its verification looks for the effect.
        why: what the last look said, or "".
        is_proven: it has a verification on some host; known once, because there may be many hosts.
    """

    node: PlannedAction | None
    since: datetime
    said: datetime
    left: dict[str, None] = field(default_factory=dict)
    looks: int = 0
    proving: bool = False
    why: str = ""
    is_proven: bool = False

    @property
    def waits(self) -> bool:
        return self.proving or is_wait(self.node) or _waits_by_itself(self.node)

    def words(self, now: datetime) -> str:
        """Say what it is doing."""
        took = _whole_seconds(now - self.since)
        on = f"; {len(self.left)} hosts left" if len(self.left) > 1 else ""
        why = f"; last: {safe_line(self.why, 120)}" if self.why else ""
        looks = f", {self.looks} {'look' if self.looks == 1 else 'looks'}" if self.looks else ""
        node = self.node
        if node is None:
            return f"at work for {took}{on}"
        deadline = node.options.deadline_ms
        took += f" of {format_duration(deadline)}" if deadline is not None else ""
        if self.proving:
            checks = node.targets[0].verify
            return (
                f"waits for its proof, for {took}{looks}{on}: {call_line(checks[0]) if checks else ''}{why}"
            )
        if is_wait(node):
            return f"waits for {took}{looks}{on}, until {safe_line(str(node.options.until), 120)}{why}"
        if _waits_by_itself(node):
            return f"waits for {took}{on}: {safe_line(call_line(node.targets[0].calls[0]), 120)}"
        return f"at work for {took}{on}"


class UnderWay:
    """Follows the entries of a run, and says from time to time what it is busy with.

    Arguments:
        nodes: the steps of its plan, by their paths.
    """

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._steps: dict[str, _Step] = {}

    def take(self, entry: LogEntry) -> None:
        """Take note of an entry."""
        body, path = entry.body, step_of(entry.step)
        if isinstance(body, kinds.StepStarted):
            node = self._nodes.get(path)
            left = dict.fromkeys(body.targets)
            action = node if isinstance(node, PlannedAction) else None
            self._steps[path] = _Step(action, entry.ts, entry.ts, left, is_proven=_is_proven(action))
        elif isinstance(body, kinds.StepFinished):
            self._steps.pop(path, None)
        elif isinstance(body, kinds.RunWaiting | kinds.RunEnded):
            self._steps.clear()
        elif path in self._steps:
            self._note(self._steps[path], entry)

    def _note(self, step: _Step, entry: LogEntry) -> None:
        match entry.body:
            case kinds.StepIntent():
                step.proving = entry.step.endswith(".verify")
            case kinds.StepOutcome() as body:
                step.looks += step.proving or is_wait(step.node)
                step.why = body.reason
                if not (step.proving or is_wait(step.node) or step.is_proven):
                    step.left.pop(entry.target, None)
            case kinds.StepVerified() | kinds.StepSkipped() | kinds.StepInDoubt():
                step.left.pop(entry.target, None)
            case _:
                pass

    def words(self, now: datetime) -> dict[str, str]:
        """Give what every step under way is doing, by its path.

        Arguments:
            now: the present moment, UTC.
        """
        return {path: step.words(now) for path, step in self._steps.items()}

    def due(self, now: datetime) -> Iterator[tuple[str, str]]:
        """Give what there is to say by now: the path of a step, and what it is doing.

        Arguments:
            now: the present moment, UTC.
        """
        for path, step in self._steps.items():
            if now - step.said >= (WAITING if step.waits else WORKING):
                step.said = now
                yield path, step.words(now)


def is_wait(node: Node | None) -> TypeGuard[PlannedAction]:
    """Say whether a step looks again and again until it sees what it waits for."""
    return isinstance(node, PlannedAction) and node.options.until is not None


def _is_proven(node: PlannedAction | None) -> bool:
    return node is not None and any(target.verify for target in node.targets)


def _waits_by_itself(node: PlannedAction | None) -> bool:
    return node is not None and node.action.startswith("wait.")


def _whole_seconds(span: timedelta) -> str:
    return format_duration(int(span.total_seconds()) * 1000)
