from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from builders.drawer import CATALOG, Drawer, put
from builders.plans import a_plan, action, gate
from builders.runs import ALEX, RESPONDER, Bench, person

from mimrun.app.decisions import resolve
from mimrun.app.home import Home
from mimrun.app.killswitch import pull
from mimrun.app.program_log import program_log
from mimrun.app.reverts import RevertStatus, cancel_reverts, list_reverts, start_due
from mimrun.app.runs import find_run
from mimrun.app.undo import create_undo, follow_ups, plan_undo
from mimrun.app.worker import Lookout, Worker
from mimrun.errors import GateError, InputError, RefusedError
from mimrun.log.kinds import StepRevertScheduled
from mimrun.log.moment import read_moment, utc_now
from mimrun.run.record.due import Why
from mimrun.runbook.node import StepOptions
from mimrun.runbook.plan import Plan

LATER = timedelta(hours=2)
FOR_AN_HOUR = StepOptions(delay_ms=1, revert_after_ms=3_600_000)
AT_ONCE = StepOptions(delay_ms=1, revert_after_ms=1)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, CATALOG)


@pytest.fixture
def drawer(bench: Bench) -> Drawer:
    drawer = Drawer(bench.world.with_name("drawer"))
    for slot in "abc":
        drawer.put(slot, "old")
    return drawer


@contextmanager
def later(bench: Bench) -> Iterator[Home]:
    with bench.home() as home:
        yield replace(home, clock=lambda: utc_now() + LATER)


def boxed(world: Path, options: StepOptions = FOR_AN_HOUR) -> Plan:
    """A change for a time, one for good, and another one for a time."""
    return a_plan(
        world,
        put("1", "a", "new", options=options),
        put("2", "b", "new"),
        put("3", "c", "new", options=options),
    )


def statuses(home: Home) -> dict[str, str]:
    return {view.revert.step: view.status.value for view in list_reverts(home)}


def test_what_is_done_for_a_time_is_on_record_with_the_moment_at_which_it_ends(
    bench: Bench, drawer: Drawer
) -> None:
    run, _ = bench.run(boxed(bench.world))
    with bench.home() as home:
        entries = list(home.store.entries(run=run))
        scheduled = [entry for entry in entries if isinstance(entry.body, StepRevertScheduled)]
        assert [entry.step for entry in scheduled] == ["1", "3"]
        body = scheduled[0].body
        assert isinstance(body, StepRevertScheduled)
        done = home.store.entry(body.outcome)
        assert read_moment(body.due_at) - done.ts == timedelta(hours=1)
        assert statuses(home) == {"1": "scheduled", "3": "scheduled"}
        assert start_due(home, set()) == []


def test_what_was_found_so_is_not_taken_back(bench: Bench, drawer: Drawer) -> None:
    drawer.put("a", "new")
    bench.run(boxed(bench.world))
    with bench.home() as home:
        assert list(statuses(home)) == ["3"]


def test_when_its_time_is_up_it_is_taken_back_and_nothing_else(bench: Bench, drawer: Drawer) -> None:
    run, _ = bench.run(boxed(bench.world))
    with later(bench) as home:
        assert statuses(home) == {"1": "overdue", "3": "overdue"}
        (started,) = start_due(home, set())
        undo = started.undo
        summary, forward = find_run(home, undo).summary, find_run(home, run).summary
        assert (summary.incident, summary.launched_by) == (forward.incident, "mimrun:timer")
        (created,) = (e for e in home.store.entries(run=undo) if e.kind == "run.created")
        assert (created.actor.kind, created.actor.via) == ("worker", "timer")
        assert statuses(home) == {"1": "under_way", "3": "under_way"}
        assert start_due(home, set()) == [], "once is enough"
        assert bench.execute(undo).status == "succeeded"
        assert drawer.effects()[3:] == ["c=old", "a=old"]
        assert statuses(home) == {"1": "done", "3": "done"}
        settled: set[tuple[str, int]] = set()
        assert start_due(home, settled) == []
        assert len(settled) == 2


def test_what_a_person_took_back_before_is_not_taken_back_again(bench: Bench, drawer: Drawer) -> None:
    run, _ = bench.run(boxed(bench.world))
    with bench.home() as home:
        undo = create_undo(home, run, plan_undo(home, run), RESPONDER)
    bench.execute(undo)
    with later(bench) as home:
        assert statuses(home) == {"1": "done", "3": "done"}
        assert start_due(home, set()) == []


def test_while_its_run_has_not_ended_it_waits_and_is_shown_as_overdue(bench: Bench, drawer: Drawer) -> None:
    run, verdict = bench.run(a_plan(bench.world, put("1", "a", "new", options=FOR_AN_HOUR), gate("2")))
    assert verdict.status == "waiting"
    with later(bench) as home:
        (view,) = list_reverts(home)
        assert (view.status, view.why) == (RevertStatus.OVERDUE, f"{run} has not ended: it is waiting")
        assert start_due(home, set()) == []
    bench.cancel(run)
    bench.execute(run)
    with later(bench) as home:
        assert [started.undo != "" for started in start_due(home, set())] == [True]


def test_what_the_timer_could_not_take_back_is_a_persons(bench: Bench, drawer: Drawer) -> None:
    run, _ = bench.run(boxed(bench.world))
    drawer.put("c", "theirs")
    with later(bench) as home:
        (started,) = start_due(home, set())
        assert bench.execute(started.undo).status == "in_doubt"
        bench.cancel(started.undo)
        resolve(home, started.undo, ALEX, step="1", resolution="abort", reason="theirs is right")
        assert bench.execute(started.undo).status in ("failed", "cancelled")
        assert statuses(home) == {"1": "tried", "3": "tried"}
        assert start_due(home, set()) == [], "the timer does not insist"
        assert find_run(home, run).summary.status == "succeeded"


def test_an_approval_of_long_ago_does_not_cover_what_the_timer_does(bench: Bench, drawer: Drawer) -> None:
    long = StepOptions(delay_ms=1, revert_after_ms=30 * 3_600_000)
    run, _ = bench.run(a_plan(bench.world, gate("1"), put("2", "a", "new", options=long)))
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    with bench.home() as home:
        days = replace(home, clock=lambda: utc_now() + timedelta(hours=31))
        (started,) = start_due(days, set())
    assert bench.execute(started.undo).status == "waiting"
    assert drawer.read()["a"] == "new"


def test_somebody_may_let_it_stand_for_good(bench: Bench, drawer: Drawer) -> None:
    run, _ = bench.run(boxed(bench.world))
    with bench.home() as home:
        with pytest.raises(InputError, match="--reason"):
            cancel_reverts(home, run, RESPONDER, step="1", reason=" ")
        with pytest.raises(InputError, match=r"nothing of step 2 .* to be taken back: 1 on a, 3 on a"):
            cancel_reverts(home, run, RESPONDER, step="2", reason="it proved itself")
        cancel_reverts(home, run, RESPONDER, step="1", reason="it proved itself")
    with later(bench) as home:
        view = list_reverts(home)[0]
        assert (view.status, view.why, view.revert.by) == ("cancelled", "it proved itself", "responder")
        (started,) = start_due(home, set())
        assert bench.execute(started.undo).status == "succeeded"
        with pytest.raises(InputError, match="to be taken back: nothing"):
            cancel_reverts(home, run, RESPONDER, step="3", reason="too late")
    assert drawer.effects()[3:] == ["c=old"]


def test_what_is_being_taken_back_cannot_be_let_stand(bench: Bench, drawer: Drawer) -> None:
    run, _ = bench.run(boxed(bench.world))
    with later(bench) as home:
        (started,) = start_due(home, set())
        with pytest.raises(RefusedError, match=f"{started.undo} is taking it back"):
            cancel_reverts(home, run, RESPONDER, step="1", reason="no")


def test_two_workers_at_the_same_moment_take_it_back_once(bench: Bench, drawer: Drawer) -> None:
    run, _ = bench.run(boxed(bench.world, AT_ONCE))
    workers = [Worker(bench.settings, catalog=CATALOG) for _ in range(2)]
    threads = [threading.Thread(target=worker.once) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawer.effects()[3:] == ["c=old", "a=old"]
    with bench.home() as home:
        assert len(follow_ups(home, run).undos) == 1
        assert statuses(home) == {"1": "done", "3": "done"}


def test_a_lookout_takes_what_the_timer_asked_for_and_no_run_that_a_person_is_about_to_begin(
    bench: Bench, drawer: Drawer
) -> None:
    bench.run(boxed(bench.world))
    asked = bench.create(a_plan(bench.world, action("1", "read")))
    with later(bench) as home:
        due = Lookout().due(home, program_log(bench.settings))
    assert [why for _, why in due] == [Why.TIMER]
    assert asked not in [run for run, _ in due]


def test_nothing_begins_while_the_kill_switch_is_pulled(bench: Bench, drawer: Drawer) -> None:
    bench.run(boxed(bench.world))
    pull(bench.settings, RESPONDER, "everything is wrong")
    with later(bench) as home:
        assert Lookout().due(home, program_log(bench.settings)) == []
        assert statuses(home) == {"1": "overdue", "3": "overdue"}


def test_who_is_not_known_lets_nothing_stand(bench: Bench, drawer: Drawer) -> None:
    run, _ = bench.run(boxed(bench.world))
    with bench.home() as home:
        with pytest.raises(GateError, match="stranger is not known"):
            cancel_reverts(home, run, person("stranger", "responder"), step="1", reason="it is fine")
        assert [view.status for view in list_reverts(home, run)] == [RevertStatus.SCHEDULED] * 2
