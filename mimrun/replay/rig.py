"""The rig: the executor that runs are executed with, put together as a worker does, on the ground of a replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mimrun.catalog import Catalog
from mimrun.log.entry import Actor
from mimrun.replay.permits import AskingGuard, GuardPermit
from mimrun.replay.scratch import WorkLog
from mimrun.replay.standin import RecordedLease, at_once, stand_in
from mimrun.replay.turns import Turns
from mimrun.replay.wishes import Hints, RecordedStop
from mimrun.run.cell.attempt import Attempts
from mimrun.run.cell.connections import Connections
from mimrun.run.cell.facts import Facts
from mimrun.run.cell.permit import Permit
from mimrun.run.executor import Executor
from mimrun.run.journal import Journal
from mimrun.run.record.state import RunState
from mimrun.run.walk.fanout import Fanout
from mimrun.run.walk.result import directly
from mimrun.run.walk.waiting import PeopleSteps
from mimrun.run.walk.walk import Parts, Walk
from mimrun.runbook.plan import Plan
from mimrun.secret import Secret


@dataclass(frozen=True, slots=True)
class Ground:
    """What a replayed worker stands on.

    Arguments:
        log: takes what it writes.
        lease: its right to the run.
        turns: lets its threads go on one at a time, and time pass.
        hints: what the record tells of what was noticed when.
        catalog: the actions, with the recorded targets behind them.
        clock: the moment.
        worker: what it is called.
        gates, guards: what gates ask, where the run comes to one, and in front of each change.
        secret: gives what stands for a secret.
    """

    log: WorkLog
    lease: RecordedLease
    turns: Turns
    hints: Hints
    catalog: Catalog
    clock: Callable[[], datetime]
    worker: str
    gates: Permit
    guards: Permit
    secret: Callable[[str], Secret] = stand_in


def executor_on(ground: Ground, plan: Plan, state: RunState) -> tuple[Executor, RecordedStop]:
    """Put today's executor together.

    Arguments:
        state: of the run, right behind the takeover.

    Returns:
        it, and its watcher for wishes to stop.
    """
    actor = Actor("worker", ground.worker, "replay")
    journal = Journal(ground.log, state, ground.lease, actor, locks=plan.locks)
    facts = Facts(plan, read=ground.secret)
    stop = RecordedStop(ground.log, state.run, state.seq, already=state.wish, hints=ground.hints)
    guard = AskingGuard(plan, journal, stop, ground.guards, ground.clock)
    guard.asks = ground.guards.asks if isinstance(ground.guards, GuardPermit) else {}
    attempts = Attempts(
        journal,
        guard,
        Connections(ground.catalog, plan, watch=at_once),
        catalog=ground.catalog,
        masker=facts.masker,
        stop=stop,
        clock=ground.clock,
    )
    parts = Parts(
        Fanout(journal, attempts, facts, ground.catalog, pool=ground.turns.pool),
        PeopleSteps(plan, journal, facts, ground.gates, ground.clock),
        facts,
        pool=ground.turns.pool,
        monotonic=lambda: ground.turns.seconds,
    )
    walk = Walk(plan, journal, parts, stop=stop, clock=ground.clock, around_step=directly)
    return Executor(plan, journal, walk, stop=stop), stop
