"""Recorded targets: what they said to each attempt, probe and look, in the place of connectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from mimrun.connector import Call, Failed, Finding, Ok, Outcome, Probed
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import Kind
from mimrun.replay.answers import answer_of_attempt, finding_of
from mimrun.replay.board import step_of
from mimrun.replay.follow import FollowedLog
from mimrun.replay.standin import why_refused
from mimrun.replay.tape import Lane, Tape
from mimrun.run.record.key import idempotency_key
from mimrun.run.record.state import CellKey
from mimrun.runbook.node import PlannedAction, PlannedCheck
from mimrun.runbook.plan import Plan

_LOOKS = (kinds.StepCaptured, kinds.StepCompared)


class FollowedTargets:
    """The targets of a run whose worker is followed.

    Arguments:
        log: of the worker.
        plan: the frozen plan.
    """

    def __init__(self, log: FollowedLog, plan: Plan) -> None:
        self._log, self._plan = log, plan
        self._lanes = lanes_by_key(log.run, log.tape)

    def perform(self, call: Call) -> Outcome:
        """Give the answer to the attempt that is open, or to a look without one."""
        intent = self._log.open.get(call.key)
        if intent is None:
            return self._looked(call)
        retries = retries_of(self._plan, intent.step)
        return answer_of_attempt(intent, self._coming(call), retries=retries).outcome

    def _coming(self, call: Call) -> Iterable[LogEntry]:
        lane = self._lanes.get(call.key)
        return self._log.cursor.coming(lane) if lane is not None else ()

    def _looked(self, call: Call) -> Outcome:
        """Give what a look found that the worker recorded right behind it."""
        entry = next(iter(self._coming(call)), None)
        if entry is None or not isinstance(entry.body, _LOOKS):
            return Failed("nothing is on record of this look", clean=True)
        data = self._log.blob(entry, "data")
        if data is not None:
            answer: Mapping[str, Any] = orjson.loads(data)
            return Ok(changed=False, data=answer)
        reason = entry.body.reason.removeprefix("cannot compare: ")
        return Failed(reason, clean=True) if reason else Ok(changed=False)

    def refused(self, action: str) -> str:
        """Say why the connector of then refused the arguments of the call that is about to be made."""
        coming = (entry for entry in self._log.cursor.left() if entry.kind is not Kind.STEP_STARTED)
        entry = next(coming, None)
        return why_refused(entry, action) if entry is not None else ""

    def probe(self, call: Call) -> Probed:
        """Give what a probe found. Where it was asked no further, it was enough."""
        said = list(self._coming(call))[:2]
        if not said or not isinstance(said[0].body, kinds.StepProbed):
            call.stop.set()
            return Probed(Finding.UNKNOWN, "nothing is on record of this probe")
        behind = said[1] if len(said) > 1 else None
        if behind is None or not isinstance(behind.body, kinds.StepProbed):
            call.stop.set()
        return finding_of(said[0], behind)


def lanes_by_key(run: str, tape: Tape) -> Mapping[str, Lane]:
    """Give the lane of every cell that something was asked of, by the key that its targets know it by."""
    lanes = {}
    for entry in tape.entries:
        match entry.body:
            case kinds.StepIntent(key=key):
                lanes[key] = Lane(step_of(entry.step), entry.target)
            case kinds.StepCaptured(iteration=iteration) | kinds.StepCompared(iteration=iteration):
                key = idempotency_key(run, CellKey(entry.step, entry.target, iteration))
                lanes[key] = Lane(entry.step, entry.target)
            case _:
                pass
    return lanes


def retries_of(plan: Plan, step: str) -> int:
    """Say how many more attempts the author allows of a step, or of the look behind it."""
    try:
        node = plan.node(step_of(step))
    except KeyError:
        return 0  # what the plan does not know today's code will not do
    if not isinstance(node, PlannedAction):
        return 0
    if step.endswith(".verify"):
        checks: Iterable[PlannedCheck] = (check for target in node.targets for check in target.verify)
        return max((check.retries for check in checks), default=0)
    return node.options.retries
