"""Guards one by one: each has to hold by itself, whatever else is looked at before and after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from builders.plans import a_plan, action, gate
from builders.runs import Bench

from mimrun.app.decisions import pending_gate
from mimrun.app.execution import worker_name
from mimrun.app.home import people_reader
from mimrun.app.runs import load_state
from mimrun.errors import LeaseError
from mimrun.log.entry import Actor
from mimrun.log.kinds import RunStarted, StepStarted
from mimrun.log.moment import utc_now
from mimrun.run.guard import Guard, Halt
from mimrun.run.journal import Journal
from mimrun.run.lease import Lease
from mimrun.run.stop import Stop
from mimrun.runbook.plan import Plan


@dataclass
class Worker:
    """What a worker guards its effects with."""

    guard: Guard
    journal: Journal
    lease: Lease
    stop: Stop


@contextmanager
def worker(bench: Bench, plan: Plan) -> Iterator[Worker]:
    run, _ = bench.run(plan)
    with bench.home() as home, Lease(bench.settings.locks, run, at_least=1) as lease:
        journal = Journal(home.store, load_state(home, run), lease, Actor("worker", worker_name()))
        started = RunStarted(worker=journal.actor.id, epoch=lease.epoch, resumed=True)
        for entry in home.store.append([journal.draft(started)]):
            journal.state.apply(entry)
        with Stop(home.store, run, journal.state.seq) as stop:
            guard = Guard(plan, journal, stop, people_reader(bench.settings.people), utc_now)
            yield Worker(guard, journal, lease, stop)


def test_without_the_lease_nothing_is_allowed(bench: Bench) -> None:
    with worker(bench, a_plan(bench.world, action("1"), gate("2"))) as at_work:
        at_work.guard.check("1", changes=True)
        at_work.lease.release()
        with pytest.raises(LeaseError, match="not held any more"):
            at_work.guard.check("1", changes=False)


def test_after_a_wish_to_stop_nothing_is_allowed(bench: Bench) -> None:
    with worker(bench, a_plan(bench.world, action("1"), gate("2"))) as at_work:
        at_work.stop.want("enough")
        with pytest.raises(Halt, match="enough"):
            at_work.guard.check("1", changes=False)


def test_behind_a_gate_that_is_not_open_a_reading_is_allowed_and_a_change_is_not(bench: Bench) -> None:
    with worker(bench, a_plan(bench.world, gate("1"), action("2"))) as at_work:
        at_work.guard.check("2", changes=False)
        with pytest.raises(Halt, match="needs 1 change_manager") as caught:
            at_work.guard.check("2", changes=True)
        assert caught.value.gate == "1"


def test_a_worker_that_let_go_of_its_lease_records_nothing(bench: Bench) -> None:
    with worker(bench, a_plan(bench.world, action("1"), gate("2"))) as at_work:
        at_work.lease.release()
        with pytest.raises(LeaseError, match="let go"):
            at_work.journal.note(StepStarted(name="x", form="y", targets=()), step="1")


def test_votes_are_held_against_the_digest_of_the_segment_that_is_shown(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home:
        pending = pending_gate(home, run)
    assert pending.request.digest == pending.segment.digest == bench.state(run).gates["1"].digest
