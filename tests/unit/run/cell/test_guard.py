"""Guards one by one: each has to hold by itself, whatever else is looked at before and after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from builders.plans import a_plan, action, gate
from builders.runs import Bench
from builders.world import words

from mimrun.app.decisions import pending_gate
from mimrun.app.execution import worker_name
from mimrun.app.home import people_reader
from mimrun.app.permits import permits_of
from mimrun.app.runs import load_state
from mimrun.errors import LeaseError, TamperError
from mimrun.log.entry import Actor, Draft, LogEntry
from mimrun.log.kinds import Kind, RunStarted, StepStarted
from mimrun.log.moment import utc_now
from mimrun.log.sqlite.store import SqliteStore
from mimrun.run.cell.guard import Guard, Halt
from mimrun.run.hold.killswitch import Latch
from mimrun.run.hold.lease import FileLease
from mimrun.run.hold.stop import Stop
from mimrun.run.journal import Journal
from mimrun.run.record.fold import apply
from mimrun.run.record.summary import check_takeover
from mimrun.runbook.node import StepOptions
from mimrun.runbook.plan import Plan


@dataclass
class Worker:
    """What a worker guards its effects with."""

    guard: Guard
    journal: Journal
    lease: FileLease
    stop: Stop


@contextmanager
def worker(bench: Bench, plan: Plan) -> Iterator[Worker]:
    run, _ = bench.run(plan)
    with bench.home() as home, FileLease(bench.settings.locks, run, at_least=1) as lease:
        actor = Actor("worker", worker_name())
        journal = Journal(home.store, load_state(home, run), lease, actor, locks=plan.locks)
        started = RunStarted(worker=journal.actor.id, epoch=lease.epoch, resumed=True)
        for entry in home.store.append([journal.draft(started)]):
            apply(journal.state, entry)
        latch = Latch(bench.settings.kill_switch)
        with Stop(home.store, run, journal.state.seq, latch=latch) as stop:
            people = people_reader(bench.settings.people)
            permit = permits_of(home, plan, run, journal.state.incident, people=people)
            guard = Guard(plan, journal, stop, permit, utc_now)
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


def test_with_the_latch_pulled_nothing_is_allowed(bench: Bench) -> None:
    """Without a look at the log, and before any watcher came to look."""
    with worker(bench, a_plan(bench.world, action("1"), gate("2"))) as at_work:
        Latch(bench.settings.kill_switch).pull("alex", "2026-01-01T00:00:00.000000Z", "stop")
        with pytest.raises(Halt, match="the kill switch was pulled by alex") as caught:
            at_work.guard.check("1", changes=False)
        assert caught.value.waits == "killswitch"


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


def test_a_run_that_is_over_is_not_taken_over_by_a_worker_that_looked_before(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("1")))
    assert verdict.status == "succeeded"
    with bench.home() as home, pytest.raises(LeaseError, match="is over already"):
        check_takeover(home.store, run, 99)


def test_a_segment_names_the_answers_that_it_was_filled_in_with(bench: Bench) -> None:
    seen, again = StepOptions(register="seen"), StepOptions(register="again")
    plan = a_plan(
        bench.world,
        action("1", "read", options=seen),
        gate("2"),
        action("3", "read", options=again),
        gate("4"),
    )
    run, _ = bench.run(plan)
    with bench.home() as home:
        first = pending_gate(home, run).segment
    bench.approve(run)
    assert bench.execute(run).status == "waiting"
    with bench.home() as home:
        assert pending_gate(home, run).segment.facts not in (first.facts, "")


@pytest.mark.parametrize("what", ["lease", "wish"])
def test_between_the_intent_and_the_act_lease_and_wish_are_looked_at_once_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    write, wanted = Journal.write, Stop.wanted
    begun = False

    def intended(journal: Journal, *drafts: Draft) -> tuple[LogEntry, ...]:
        nonlocal begun
        entries = write(journal, *drafts)
        if any(draft.kind is Kind.STEP_INTENT for draft in drafts):
            begun = True
            if what == "lease":
                journal.lease.release()
        return entries

    monkeypatch.setattr(Journal, "write", intended)
    monkeypatch.setattr(Stop, "wanted", lambda stop: wanted(stop) or (begun and what == "wish"))
    run, verdict = bench.run(a_plan(bench.world, action("1")))
    assert verdict.status == ("refused" if what == "lease" else "cancelled")
    assert words(bench.world) == []
    assert "step.intent" in bench.kinds(run)


def test_what_was_approved_is_held_against_its_digest_when_it_is_taken_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    blob = SqliteStore.blob

    def other(store: SqliteStore, entry: LogEntry, name: str) -> bytes | None:
        found = blob(store, entry, name) or b""
        return found.replace(b"w2", b"w3") if name == "segment" else found

    monkeypatch.setattr(SqliteStore, "blob", other)
    with pytest.raises(TamperError, match="not those that were approved"):
        bench.execute(run)
    assert words(bench.world) == []


def test_an_epoch_that_is_on_record_is_not_taken_again(bench: Bench) -> None:
    """Two workers that both hold a lease, since somebody removed the lock file between them."""
    run, _ = bench.run(a_plan(bench.world, gate("1")))
    with bench.home() as home:
        check_takeover(home.store, run, 2)
        with pytest.raises(LeaseError, match="epoch 1 is on record and this worker has 1"):
            check_takeover(home.store, run, 1)
