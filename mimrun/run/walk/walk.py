"""The walk over the plan: each node from wherever the log says it is, in the order in which they are written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from mimrun.log.kinds import StepFinished
from mimrun.run.cell.facts import Facts
from mimrun.run.hold.stop import Stop
from mimrun.run.hold.worktime import heed_time, time_left
from mimrun.run.journal import Journal
from mimrun.run.walk.batches import Batches, leaves_of
from mimrun.run.walk.branches import Branches
from mimrun.run.walk.fanout import Fanout
from mimrun.run.walk.handlers import notified
from mimrun.run.walk.result import (
    AroundStep,
    Denied,
    Done,
    Failed,
    Parked,
    Result,
    StepFailed,
    StepLabel,
    Walked,
)
from mimrun.run.walk.roster import Roster
from mimrun.run.walk.waiting import PeopleSteps
from mimrun.run.walk.way import LeftOff, Way
from mimrun.runbook.node import (
    Leaf,
    Node,
    PlannedAction,
    PlannedBlock,
    PlannedGate,
    PlannedInclude,
    PlannedManual,
    PlannedParallel,
    PlannedSerial,
    inside_of,
)
from mimrun.runbook.plan import Plan

LOOK_S = 0.2
"""So often a branch that waits looks whether it is to be left off."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a walk does its steps with.

    Arguments:
        fanout: does actions.
        people_steps: does gates and manual steps.
        facts: what is known of answers.
        pool: makes the threads of branches; None for those of Python.
        monotonic: a clock in seconds, for waiting; None for that of Python.
    """

    fanout: Fanout
    people_steps: PeopleSteps
    facts: Facts
    pool: Callable[..., Executor] | None = None
    monotonic: Callable[[], float] | None = None


class Walk:
    """Goes through one plan for one run.

    Arguments:
        plan: the frozen plan.
        journal: the worker's journal; it has the state.
        parts: what does the steps.
        stop: a person's wish to stop.
        clock: the present moment, UTC.
        around_step: called around each step that is done now; Prefect shows it as a task run.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        parts: Parts,
        *,
        stop: Stop,
        clock: Callable[[], datetime],
        around_step: AroundStep,
    ) -> None:
        self._plan, self._journal, self._stop = plan, journal, stop
        self._fanout, self._people_steps, self._facts = parts.fanout, parts.people_steps, parts.facts
        self._around = around_step
        self._clock = clock
        self._monotonic = parts.monotonic or time.monotonic
        self._branches = Branches(parts.facts, self.node, pool=parts.pool)
        self._frozen: dict[str, Node] = {}
        self.lost: frozenset[str] = frozenset()
        """The hosts that had failed when the walk came to its end, and took no part any more."""

    def whole(self) -> Result:
        """Go through the whole plan; what is known of hosts and answers is taken up again from the log.

        Raises:
            Halt: somebody asked to stop, or a gate is not open any more.
        """
        self._frozen.clear()
        self._facts.forget()
        way = Way(Roster.of_run(self._plan.max_failures))
        walked = self.sequence(self._plan.nodes, way)
        if isinstance(walked.result, Done):
            walked = self._handlers("", way.with_roster(walked.roster))
        self.lost = walked.roster.failed
        return walked.result

    def _handlers(self, around: str, way: Way) -> Walked:
        """Do each handler that follows a part of the plan once, in the order in which they are written, where it is due.

        Arguments:
            around: a batch, an included runbook, or "" for the plan as a whole.
        """
        for written in self._plan.handlers_behind(around):
            node = self._frozen.get(written.path, written)
            assert isinstance(node, PlannedAction)
            due = notified(self._plan, self._journal.state).get(written.path, frozenset())
            due &= {target.target for target in node.targets}
            if not due:
                continue
            targets = tuple(t for t in node.targets if t.target in due and way.roster.takes_part(t.target))
            if not targets and node.path not in self._journal.state.finished:
                reason = f"due on {', '.join(sorted(due)[:5])}, and every one of them has failed"
                self._journal.note(StepFinished(status="skipped", reason=reason), step=node.path)
            walked = self._leaf(node.model_copy(update={"targets": targets}), way.under(node))
            if not isinstance(walked.result, Done):
                return walked
            way = way.with_roster(walked.roster)
        return Walked(Done(), way.roster)

    def sequence(self, nodes: Sequence[Node], way: Way) -> Walked:
        """Go through nodes one after the other, as long as each is done."""
        for node in nodes:
            walked = self.node(node, way)
            if not isinstance(walked.result, Done):
                return walked
            way = way.with_roster(walked.roster)
        return Walked(Done(), way.roster)

    def node(self, node: Node, way: Way) -> Walked:
        """Go through one node.

        Raises:
            LeftOff: a branch goes no further.
            Halt: somebody asked to stop, or a gate is not open any more.
        """
        node = self._frozen.get(node.path, node)
        around, way = way, way.under(node)
        match node:
            case PlannedBlock():
                return self._block(node, way)
            case PlannedSerial():
                return self._serial(node, way, around)
            case PlannedParallel():
                return self._branches.perform(node, way)
            case PlannedInclude():
                inner = way.roster.within(f"'{node.name}'", node.max_failures)
                walked = self.sequence(node.steps, way.with_roster(inner))
                walked = self._followed(node, walked, around)
                return Walked(walked.result, way.roster.behind(walked.roster))
            case PlannedAction() | PlannedGate() | PlannedManual():
                return self._leaf(node, way)
            case _:
                assert_never(node)

    def _leaf(self, node: Leaf, way: Way) -> Walked:
        if node.path in self._journal.state.finished:
            return self._recall(node, way)
        # A step that was begun is settled first; what is not begun is left alone.
        begun = node.path in self._journal.state.started
        if way.is_looking or (way.is_left_off() and not begun):
            raise LeftOff(way.roster, begun=begun)
        if not begun:
            self._heed()
        match node:
            case PlannedAction():
                action = node
                names = tuple(target.target for target in node.targets)
                return self._step(
                    node, names, lambda: self._fanout.perform(action, way.conditions, way.roster)
                )
            case PlannedGate():
                return Walked(self._gate(node, way), way.roster)
            case PlannedManual():
                result = self._people_steps.manual(node, way.conditions)
                walked = Walked(result, way.roster)
                return walked if isinstance(result, Parked) else self._step(node, (), lambda: walked)
            case _:
                assert_never(node)

    def _heed(self) -> None:
        """Begin nothing new where somebody asked to stop, or where the run's time is over."""
        if self._stop.wanted():
            raise self._stop.halt()
        heed_time(self._plan, self._journal.state, self._clock())

    def _gate(self, node: PlannedGate, way: Way) -> Result:
        result = self._people_steps.gate(node, way.conditions)
        if isinstance(result, Parked):
            return result
        self._freeze(node)
        return self._step(node, (), lambda: Walked(result, way.roster)).result

    def _freeze(self, node: PlannedGate) -> None:
        """From here on, do exactly what people agreed to and not what the plan would render now."""
        gate = self._journal.state.gates.get(node.path)
        if gate is not None and gate.opened:
            self._frozen.update((frozen.path, frozen) for frozen in self._people_steps.frozen(node.path))

    def _recall(self, node: Leaf, way: Way) -> Walked:
        """Take up a step that is over."""
        match node:
            case PlannedAction():
                return self._fanout.recall(node, way.roster)
            case PlannedManual():
                self._people_steps.recall(node)
            case PlannedGate():
                self._freeze(node)
            case _:
                assert_never(node)
        result: Result = Done()
        if self._journal.state.finished[node.path] == "failed":
            reason = f"step {node.path} '{node.name}' failed"
            result = Failed(reason) if isinstance(node, PlannedManual) else Denied(reason)
        return Walked(result, way.roster)

    def _block(self, node: PlannedBlock, way: Way) -> Walked:
        """Do a block; when it fails, its rescue; and in any case, unless it waits, its always part."""
        walked = self.sequence(node.block, way)
        if isinstance(walked.result, Failed) and node.rescue:
            # The hosts that failed take part in the rescue, and after it in the rest of the run.
            walked = self.sequence(node.rescue, way)
        if isinstance(walked.result, Parked | Denied) or not node.always:
            return walked
        last = self.sequence(node.always, way)
        roster = walked.roster.behind(last.roster)
        if not isinstance(last.result, Done):
            return Walked(last.result, roster)
        over = roster.overdrawn() if isinstance(walked.result, Done) else None
        if over:
            return Walked(Failed(f"block {node.path} '{node.name}': {over.told(roster.failed)}"), roster)
        return Walked(walked.result, roster)

    def _followed(self, node: Node, walked: Walked, around: Way) -> Walked:
        """Do the handlers that follow a batch or an included runbook, where that has come to a good end."""
        if not isinstance(walked.result, Done):
            return walked
        return self._handlers(inside_of(node), around.with_roster(walked.roster))

    def _serial(self, node: PlannedSerial, way: Way, around: Way) -> Walked:
        """Do the batches one after the other, each with the handlers that it notified, with a pause in between.

        A batch whose hosts have all failed before is passed over. One in which all fail ends the run
        although more might fail: then nobody has shown yet that it works.
        """
        inner = way.with_roster(way.roster.within(f"the batches of '{node.name}'", node.max_failures))
        whole = Batches(node.batches)
        batches = whole.to_do(way.roster)
        result: Result = Done()
        for number, batch in enumerate(batches):
            if number and whole.is_idle(batch, inner.roster):
                continue
            if number:
                self._pause(node, batches, number, way)
            walked = self._followed(batch, self.node(batch, inner), around)
            inner, result = inner.with_roster(walked.roster), walked.result
            if not isinstance(result, Done):
                break
        return Walked(result, way.roster.behind(inner.roster))

    def _pause(self, node: PlannedSerial, batches: Sequence[Node], number: int, way: Way) -> None:
        """Wait before a batch, from the end of the one before on, as the log has it.

        Raises:
            LeftOff: another branch has failed meanwhile.
            Halt: somebody asked to stop.
        """
        state = self._journal.state
        if not node.pause_ms or way.is_looking or any(state.has_begun(p) for p in leaves_of(batches[number])):
            return
        for batch in reversed(batches[:number]):
            behind = (handler.path for handler in self._plan.handlers_behind(batch.path))
            paths = (*leaves_of(batch), *behind)
            done = [p for p in paths if state.finished.get(p, "skipped") != "skipped"]
            if done:
                ended = max(state.finished_at[path] for path in done)
                self._wait(ended + timedelta(milliseconds=node.pause_ms), way)
                return

    def _wait(self, until: datetime, way: Way) -> None:
        end = self._monotonic() + (until - self._clock()).total_seconds()
        while (left := end - self._monotonic()) > 0:
            if way.is_left_off():
                raise LeftOff(way.roster, begun=False)
            self._heed()
            most = max(0.0, time_left(self._plan, self._journal.state, self._clock()).total_seconds())
            self._stop.wait(min(left, most, LOOK_S if way.joins else left))

    def _step(self, node: Leaf, targets: tuple[str, ...], do: Callable[[], Walked]) -> Walked:
        """Do a step inside whatever drives the run, which may do anything but change the result."""
        label = StepLabel(node.path, node.name, node.kind, targets)
        ends: list[Walked] = []
        raised: list[Exception] = []

        def once() -> None:
            if ends or raised:
                return
            try:
                ends.append(do())
            except Exception as exc:
                raised.append(exc)
                raise StepFailed(str(exc)) from exc
            result = ends[0].result
            if isinstance(result, Failed | Denied | Parked):
                # A gate or manual step comes here decided, so what is parked is in doubt.
                raise StepFailed(result.reason)

        with contextlib.suppress(StepFailed):
            self._around(label, once)
        if not ends and not raised:
            with contextlib.suppress(StepFailed):
                once()
        if raised:
            raise raised[0]
        return ends[0]
