"""Batches, for people: which one begins, with which hosts, and how long it is until the next."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, assert_never

from mimrun.run.record.state import RunState
from mimrun.run.walk.handlers import due_hosts, notified
from mimrun.runbook.batch import hosts_of
from mimrun.runbook.duration import format_duration
from mimrun.runbook.node import (
    Node,
    PlannedAction,
    PlannedBlock,
    PlannedGate,
    PlannedInclude,
    PlannedManual,
    PlannedParallel,
    PlannedSerial,
)
from mimrun.runbook.plan import Plan

_BATCH: Final = re.compile(r"\.batch\.(\d+)(?=\.|$)")
_SHOWN: Final = 8
"""Hosts of a batch that are named."""

Ended: TypeAlias = Literal["", "ok", "failed"]
"""How a part of a plan has ended; "" where it has not."""


class BatchView:
    """Says what is to be said of batches, once each.

    Arguments:
        plan: what the run does; None knows of no batches.
    """

    def __init__(self, plan: Plan | None) -> None:
        self._plan = plan
        walked = plan.walk() if plan is not None else iter(())
        self._serials = {node.path: node for node in walked if isinstance(node, PlannedSerial)}
        self._said: set[str] = set()

    def entered(self, step: str) -> Iterator[tuple[str, str]]:
        """Give the batches that begin with a step: the path of the serial step, and what to say."""
        for serial, batch, _ in self._around(step):
            if batch.path not in self._said:
                self._said.add(batch.path)
                yield serial.path, f"{batch.name}: {some(sorted(hosts_of(batch)), _SHOWN)}"

    def left(self, step: str, state: RunState, at: datetime) -> Iterator[tuple[str, str]]:
        """Give the pauses that follow because a step, or a handler, was the last one of its batch.

        Arguments:
            step: a step that has just ended.
            state: how the run stands then.
            at: when, UTC.
        """
        finished = state.finished
        for serial, batch, number in self._around(step):
            if serial.pause_ms and self._has_handlers_to_do(batch, state):
                continue
            if serial.pause_ms and number < len(serial.batches) and ended_in_order([batch], finished) == "ok":
                until = (at + timedelta(milliseconds=serial.pause_ms)).strftime("%H:%M:%S")
                pause = format_duration(serial.pause_ms)
                yield (
                    serial.path,
                    f"pause of {pause}, until {until} UTC, before batch {number + 1} of {len(serial.batches)}",
                )

    def _has_handlers_to_do(self, batch: PlannedBlock, state: RunState) -> bool:
        """Say whether a handler of a batch is due and not done."""
        behind = self._plan.handlers_behind(batch.path) if self._plan is not None else ()
        due = notified(self._plan, state) if self._plan is not None and behind else {}
        return any(due_hosts(one, due) and one.path not in state.finished for one in behind)

    def _around(self, step: str) -> Iterator[tuple[PlannedSerial, PlannedBlock, int]]:
        for found in _BATCH.finditer(step):
            serial, number = self._serials.get(step[: found.start()]), int(found[1])
            if serial is not None and number <= len(serial.batches):
                yield serial, serial.batches[number - 1], number


def ended_in_order(nodes: Sequence[Node], finished: Mapping[str, str]) -> Ended:
    """Say how steps that are done one after the other have ended."""
    for node in nodes:
        word = ended(node, finished)
        if word != "ok":
            return word
    return "ok"


def ended(node: Node, finished: Mapping[str, str]) -> Ended:
    """Say how a part of a plan has ended.

    Arguments:
        finished: the final word on each step that is over, by its path.
    """
    match node:
        case PlannedAction() | PlannedGate() | PlannedManual():
            over = finished.get(node.path)
            return "failed" if over == "failed" else "ok" if over else ""
        case PlannedBlock():
            word = ended_in_order(node.block, finished)
            if word == "failed" and node.rescue:
                word = ended_in_order(node.rescue, finished)
            last = ended_in_order(node.always, finished)
            return word if last == "ok" or not word else last
        case PlannedSerial():
            return ended_in_order(node.batches, finished)
        case PlannedInclude():
            return ended_in_order(node.steps, finished)
        case PlannedParallel():
            ends = [ended(branch, finished) for branch in node.branches]
            many = ends.count("failed") > node.max_failures
            return "failed" if many else "" if "" in ends else "ok"
        case _:
            assert_never(node)


def some(names: Sequence[str], most: int) -> str:
    """Name the first of many."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
