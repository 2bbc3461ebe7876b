"""Locks: all or none, with generations, kept until the run ends."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from builders.plans import a_plan, action, at_risk, gate, manual
from builders.runs import ALEX, BILLIE, RESPONDER, Bench, person
from builders.world import words

from mimrun.app import runs
from mimrun.app.identity import Identity
from mimrun.app.locks import list_locks, unlock
from mimrun.app.runs import create_run, load_state
from mimrun.connector import Effect
from mimrun.errors import GateError, InputError, KillSwitchError, LeaseError, LockError
from mimrun.log.entry import Actor, Draft
from mimrun.log.kinds import KillswitchPulled, Kind, LockReleased, LockTaken, RunStarted, StepIntent
from mimrun.run.hold.lease import FileLease
from mimrun.run.hold.lock import Holding, Locks, holding_in, locks_of_change
from mimrun.run.hold.stop import Halt
from mimrun.run.journal import Journal
from mimrun.run.record.fold import apply
from mimrun.runbook.model import Risk
from mimrun.runbook.node import Node
from mimrun.runbook.plan import Plan

NO_ARGS = "sha256:" + "0" * 64

Hooks = dict[str, Callable[[], object]]


def locked(bench: Bench, *nodes: Node, locks: tuple[str, ...] = ("orders", "host/a")) -> Plan:
    """Give a plan that needs locks."""
    plan = a_plan(bench.world, *nodes).model_copy(update={"locks": locks})
    return Plan.decode(plan.encode())


def holding(bench: Bench, resource: str) -> Holding:
    with bench.home() as home:
        return holding_in(home.store, resource)


def test_locks_are_taken_with_the_start_and_let_go_of_with_the_end(bench: Bench) -> None:
    run, verdict = bench.run(locked(bench, action("1")))
    assert verdict.status == "succeeded"
    kinds = bench.kinds(run)
    start, end = kinds.index("run.started"), kinds.index("run.ended")
    assert kinds[start : start + 3] == ["run.started", "lock.taken", "lock.taken"]
    assert kinds[end:] == ["run.ended", "lock.released", "lock.released"]
    for resource in ("orders", "host/a"):
        assert holding(bench, resource) == Holding(generation=1), "the generation outlives the release"
    with bench.home() as home:
        taken = [e.body for e in home.store.entries(run=run, kinds={Kind.LOCK_TAKEN})]
        assert [getattr(body, "resource", "") for body in taken] == ["host/a", "orders"]
        assert home.store.rebuild()


@pytest.mark.parametrize(
    ("nodes", "status"),
    [
        ([action("1"), gate("2")], "waiting"),
        ([action("1"), manual("2")], "waiting"),
        ([action("1", word="x", answer="lost")], "in_doubt"),
    ],
)
def test_a_run_that_waits_or_is_in_doubt_keeps_its_locks(
    bench: Bench, nodes: list[Node], status: str
) -> None:
    run, verdict = bench.run(locked(bench, *nodes))
    assert verdict.status == status
    assert holding(bench, "orders").holder == run
    with bench.home() as home, pytest.raises(LockError, match=f"orders is held by {run}") as caught:
        create_run(home, locked(bench, action("1"), locks=("orders",)), ALEX)
    for word in ("A test", "launched by responder", "incident INC-", "UTC", f"that run is {status}"):
        assert word in str(caught.value)


def test_a_refused_launch_leaves_nothing_behind(bench: Bench) -> None:
    bench.run(locked(bench, gate("1")))
    with bench.home() as home:
        size = home.store.head().size
        with pytest.raises(LockError):
            create_run(home, locked(bench, action("1")), RESPONDER)
        assert home.store.head().size == size


def test_what_refuses_a_launch_is_asked_again_in_the_append_that_makes_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that was taken, or a switch that was pulled, right behind the first look."""
    bench.run(locked(bench, gate("1")))
    monkeypatch.setattr(runs, "check_launch", lambda *_, **__: None)
    with pytest.raises(LockError):
        bench.create(locked(bench, action("1")))
    with bench.home() as home:
        home.store.append([Draft(Actor("person", "alex"), KillswitchPulled(reason="stop"))])
    with pytest.raises(KillSwitchError):
        bench.create(a_plan(bench.world, action("1")))


def test_a_run_that_lost_the_race_after_its_launch_waits_and_goes_on_when_the_lock_is_free(
    bench: Bench,
) -> None:
    second = bench.create(locked(bench, action("1"), locks=("orders", "zz")))
    first, verdict = bench.run(locked(bench, manual("1")))
    assert verdict.status == "waiting"
    waits = bench.execute(second)
    assert (waits.status, waits.exit_code) == ("waiting", 3)
    assert f"orders is held by {first}" in waits.detail
    state = bench.state(second)
    assert (state.waits_on, state.locks) == ("lock", {})
    assert holding(bench, "zz") == Holding(), "all or none"
    bench.cancel(first)
    assert bench.execute(first).status == "cancelled"
    assert bench.execute(second).status == "succeeded"
    assert words(bench.world) == ["a:w1"]
    assert holding(bench, "orders").generation == 2


def test_a_run_keeps_its_generation_over_a_resume(bench: Bench) -> None:
    run, _ = bench.run(locked(bench, gate("1"), action("2")))
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    assert bench.kinds(run).count("lock.taken") == 2


def test_a_run_that_is_to_end_takes_no_lock(bench: Bench) -> None:
    run = bench.create(locked(bench, action("1")))
    bench.cancel(run)
    assert bench.execute(run).status == "cancelled"
    assert "lock.taken" not in bench.kinds(run)


def test_a_worker_whose_lock_was_taken_and_taken_again_changes_nothing(bench: Bench, hooks: Hooks) -> None:
    """The generation tells: also where nobody holds the lock, or this very run has it anew."""

    def lose() -> None:
        with bench.home() as home:
            assert unlock(home, ALEX, "orders", "it hangs", force=True)

    hooks["lose"] = lose
    plan = locked(bench, action("1", "hook", word="lose"), action("2", "read"), action("3"))
    run, verdict = bench.run(plan)
    assert (verdict.status, bench.state(run).waits_on) == ("waiting", "lock")
    assert "the lock orders was taken from this run; orders is free" in verdict.detail
    assert words(bench.world) == ["a:lose"]
    assert "2" in bench.state(run).finished, "a reading needs no lock"
    assert bench.execute(run).status == "succeeded", "a resume takes what it lost again"
    assert bench.is_intact()


def test_an_older_generation_of_the_same_run_is_refused_too(bench: Bench, hooks: Hooks) -> None:
    def again() -> None:
        with bench.home() as home:
            actor, now = Actor("worker", "somebody"), holding_in(home.store, "orders")
            run = now.holder
            free = LockReleased(resource="orders", generation=now.generation)
            take = LockTaken(resource="orders", generation=now.generation + 1)
            home.store.append([Draft(actor, body, run=run, inc=now.incident) for body in (free, take)])

    hooks["again"] = again
    run, verdict = bench.run(locked(bench, action("1", "hook", word="again"), action("2")))
    assert verdict.status == "waiting"
    assert "the lock orders was taken from this run" in verdict.detail
    assert words(bench.world) == ["a:again"]
    assert holding(bench, "orders").holder == run


def test_without_its_locks_a_worker_records_no_intent_of_a_change(bench: Bench) -> None:
    plan = locked(bench, action("1"))
    run = bench.create(plan)

    def intent(journal: Journal, effect: Effect) -> Draft:
        body = StepIntent(
            action="world.once", effect=effect, key="k", args_digest=NO_ARGS, deadline_ms=1, check_mode=False
        )
        return journal.draft(body, step=effect.value, target="b", attempt=1)

    with bench.home() as home, FileLease(home.settings.locks, run) as lease:
        journal = Journal(home.store, load_state(home, run), lease, Actor("worker", "w"), locks=plan.locks)
        journal_started = RunStarted(worker="w", epoch=lease.epoch, resumed=False)
        for entry in home.store.append([journal.draft(journal_started)]):
            apply(journal.state, entry)
        with pytest.raises(Halt, match="does not hold the lock orders") as caught:
            journal.write(intent(journal, Effect.ONCE))
        assert caught.value.waits == "lock"
        assert journal.write(intent(journal, Effect.READ))


def test_of_hosts_only_the_target_counts_for_a_change() -> None:
    names = ["host/a", "host/b", "orders"]
    assert locks_of_change(names, "a") == ["host/a", "orders"]
    assert locks_of_change(names, "localhost") == ["orders"]


def test_taking_what_is_held_is_no_history(bench: Bench) -> None:
    run, _ = bench.run(locked(bench, gate("1")))
    with bench.home() as home, pytest.raises(Exception, match=r"while .* holds it"):
        home.store.append([Draft(Actor("worker", "x"), LockTaken(resource="orders", generation=2), run=run)])


def test_releasing_twice_changes_nothing(bench: Bench) -> None:
    state = Locks().empty()
    assert Holding.decode(state) == Holding()
    run, _ = bench.run(locked(bench, action("1")))
    with bench.home() as home:
        body = LockReleased(resource="orders", generation=1)
        home.store.append([Draft(Actor("worker", "x"), body, run=run)])
        assert holding_in(home.store, "orders") == Holding(generation=1)


def test_who_holds_what_and_why_is_shown(bench: Bench) -> None:
    run, _ = bench.run(locked(bench, action("1"), gate("2")))
    with bench.home() as home:
        shown = list_locks(home)
    assert [one.resource for one in shown] == ["host/a", "orders"]
    assert shown[1].why == "the run waits (gate 2)"
    assert shown[1].as_json()["launched_by"] == "responder"
    assert shown[1].next == f"mimrun status {run}"


def test_a_lock_is_taken_from_a_run_by_two_people_at_high_risk(bench: Bench) -> None:
    run, _ = bench.run(at_risk(locked(bench, gate("1"), action("2")), Risk.HIGH))
    with bench.home() as home:
        with pytest.raises(InputError, match="--reason"):
            unlock(home, ALEX, "orders", " ")
        with pytest.raises(GateError, match="casey is not known"):
            unlock(home, person("casey", "responder"), "orders", "x")
        with pytest.raises(LockError, match="nobody holds 'other'; held is: host/a, orders"):
            unlock(home, ALEX, "other", "x")
        assert not unlock(home, ALEX, "orders", "the run is lost")
        assert "alex proposed" in list_locks(home)[1].next
        with pytest.raises(GateError, match="another person"):
            unlock(home, ALEX, "orders", "really")
        with pytest.raises(GateError, match="at the account alex, which counts as well"):
            unlock(home, Identity(BILLIE.person, "claimed:alex"), "orders", "the same keyboard")
        assert unlock(home, BILLIE, "orders", "I agree")
        assert holding_in(home.store, "orders") == Holding(generation=1)
        assert create_run(home, locked(bench, action("1"), locks=("orders",)), RESPONDER)
    assert bench.kinds(run)[-2:] == ["lock.release_proposed", "lock.released"]


def test_at_low_risk_one_person_takes_a_lock(bench: Bench) -> None:
    bench.run(at_risk(locked(bench, gate("1")), Risk.LOW))
    with bench.home() as home:
        assert unlock(home, ALEX, "orders", "the run is lost")


def test_a_lock_is_not_taken_from_a_worker_at_work(bench: Bench, hooks: Hooks) -> None:
    said: list[str] = []

    def attempt() -> None:
        with bench.home() as home, pytest.raises(LeaseError) as caught:
            unlock(home, ALEX, "orders", "x")
        said.append(str(caught.value))

    hooks["try"] = attempt
    bench.run(locked(bench, action("1", "hook", word="try")))
    assert "is being executed" in said[0]


def _compete(folder: Path, number: int) -> None:
    """Run a few plans that need overlapping locks, until each of them has ended."""
    bench, draw = Bench(folder), Random(number)
    for _ in range(3):
        locks = tuple(draw.sample(["a", "b", "c", "d"], 2))
        plan = locked(bench, action("1", word="-".join(locks)), locks=locks)
        run = _created(bench, plan)
        end = time.monotonic() + 60
        while (verdict := bench.execute(run)).status == "waiting":
            assert time.monotonic() < end, verdict.detail
            time.sleep(draw.random() * 0.02)
        assert verdict.status == "succeeded", verdict
    os._exit(0)


def _created(bench: Bench, plan: Plan) -> str:
    end = time.monotonic() + 60
    while True:
        try:
            return bench.create(plan)
        except LockError:
            assert time.monotonic() < end
            time.sleep(0.005)


def test_eight_processes_with_overlapping_locks_never_hold_one_twice_and_all_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    forked = multiprocessing.get_context("fork")
    all_ = [forked.Process(target=_compete, args=(tmp_path, number)) for number in range(8)]
    for process in all_:
        process.start()
    for process in all_:
        process.join(120)
    assert [process.exitcode for process in all_] == [0] * 8
    held: dict[str, str] = {}
    taken = 0
    with bench.home() as home:
        for entry in home.store.entries(kinds={Kind.LOCK_TAKEN, Kind.LOCK_RELEASED, Kind.STEP_INTENT}):
            match entry.body:
                case LockTaken(resource=name):
                    assert name not in held, f"{name} is held twice"
                    held[name] = entry.run
                    taken += 1
                case LockReleased(resource=name):
                    assert held.pop(name) == entry.run
                case _:
                    assert list(held.values()).count(entry.run) == 2, "it acts without its locks"
        assert home.store.rebuild()
    assert (taken, held) == (8 * 3 * 2, {})
    assert len(words(bench.world)) == 24
    assert bench.is_intact()
