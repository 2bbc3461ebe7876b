from __future__ import annotations

import threading

from builders.plans import a_plan, action, gate
from builders.runs import Bench

from mimrun.app.following import Follower


def kinds(follower: Follower, executing=None) -> list[str]:
    return [seen.entry.kind.value for seen in follower.until_rest(executing)]


def test_a_run_is_followed_from_its_first_entry_to_its_rest(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), gate("2")))
    with bench.home() as home:
        follower = Follower(home, run)
        assert kinds(follower)[-1] == "run.waiting"
        assert follower.state.status == "waiting"
        assert not follower.interrupted


def test_who_has_it_executed_again_sees_the_new_stretch_and_not_the_old_rest(bench: Bench) -> None:
    """A worker that takes its time to start must not be mistaken for a run that waits still."""
    run, _ = bench.run(a_plan(bench.world, action("1"), gate("2"), action("3")))
    bench.approve(run)
    with bench.home() as home:
        follower = Follower(home, run)
        follower.catch_up()
        begin = threading.Event()

        def work() -> None:
            begin.wait(10)
            bench.execute(run)

        worker = threading.Thread(target=work)
        worker.start()
        looks = []

        def between() -> None:
            looks.append(follower.state.status)
            begin.set()

        seen = [s.entry.kind.value for s in follower.until_rest(worker.is_alive, between)]
        worker.join()
    assert looks[0] == "waiting"
    assert seen[0] == "run.started"
    assert seen[-1] == "run.ended"


def test_a_worker_that_ends_without_a_word_has_left_the_run_interrupted(bench: Bench) -> None:
    run = bench.create(a_plan(bench.world, action("1")))
    with bench.home() as home:
        follower = Follower(home, run)
        follower.catch_up()
        assert kinds(follower, lambda: False) == []
        assert follower.interrupted


def test_a_worker_that_ended_meanwhile_is_seen_to_its_last_entry(bench: Bench) -> None:
    run = bench.create(a_plan(bench.world, action("1")))
    with bench.home() as home:
        follower = Follower(home, run)
        follower.catch_up()
        bench.execute(run)
        assert kinds(follower, lambda: False)[-1] == "run.ended"
        assert not follower.interrupted
