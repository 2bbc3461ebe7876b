"""A launch under a key is made once, however often it is asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from builders.plans import a_plan, action
from builders.runs import ALEX, RESPONDER, Bench

from mimrun.app.launch_once import launch_once, launched_before
from mimrun.app.runs import list_runs
from mimrun.errors import InputError
from mimrun.runbook.plan import Plan

KEY = "0123456789abcdef"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_key_gives_the_same_run_twice(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home:
        first = launch_once(home, plan, RESPONDER, KEY)
        again = launch_once(home, plan, RESPONDER, KEY)
        assert (first[1], again[1]) == (True, False)
        assert first[0] == again[0] == launched_before(home, RESPONDER, KEY)
        assert len(list_runs(home)) == 1


def test_it_holds_after_the_log_was_opened_anew(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home:
        name, _ = launch_once(home, plan, RESPONDER, KEY)
    with bench.home() as home:
        assert launch_once(home, plan, RESPONDER, KEY) == (name, False)


def test_ten_requests_at_one_moment_make_one_run(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    names: list[tuple[str, bool]] = []
    begin = threading.Barrier(10)
    with bench.home() as home:

        def ask() -> None:
            begin.wait()
            names.append(launch_once(home, plan, RESPONDER, KEY))

        threads = [threading.Thread(target=ask) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({name for name, _ in names}) == 1
        assert [made for _, made in names].count(True) == 1
        assert len(list_runs(home)) == 1


def test_a_run_that_holds_its_own_lock_is_given_back(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1", answer="lost", word="x"))
    locked = Plan.model_validate({**plan.model_dump(mode="json", by_alias=True), "locks": ["host/a"]})
    with bench.home() as home:
        name, _ = launch_once(home, locked, RESPONDER, KEY)
    bench.execute(name)
    with bench.home() as home:
        assert launch_once(home, locked, RESPONDER, KEY) == (name, False)


def test_another_key_or_person_makes_another_run(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1"))
    with bench.home() as home:
        names = {
            launch_once(home, plan, RESPONDER, KEY)[0],
            launch_once(home, plan, RESPONDER, KEY[::-1])[0],
            launch_once(home, plan, ALEX, KEY)[0],
        }
        assert len(names) == 3


@pytest.mark.parametrize("key", ["", "short", "x" * 129, "0123456789abcde\n", "../0123456789abcdef"])
def test_what_is_no_key_is_refused(key: str, bench: Bench) -> None:
    with bench.home() as home, pytest.raises(InputError, match="key of a launch"):
        launch_once(home, a_plan(bench.world, action("1")), RESPONDER, key)
