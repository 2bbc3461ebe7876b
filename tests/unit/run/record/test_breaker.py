"""The breaker: what counts, what closes it, and what is never refused."""

from __future__ import annotations

import pytest
from builders.plans import a_plan, action, call, gate
from builders.runs import ALEX, Bench, person

from mimrun.app.breakers import close_breaker, list_breakers
from mimrun.app.undo import plan_undo
from mimrun.errors import BreakerError, GateError, InputError, LockError, RefusedError
from mimrun.run.record.breaker import OPENS_AFTER
from mimrun.runbook.plan import Plan


def failing(bench: Bench) -> Plan:
    return a_plan(bench.world, action("1", word="x", answer="failed"))


def fail(bench: Bench, times: int) -> None:
    for _ in range(times):
        assert bench.run(failing(bench))[1].status == "failed"


def test_after_three_failures_in_a_row_a_launch_is_refused_and_leaves_nothing(bench: Bench) -> None:
    fail(bench, OPENS_AFTER)
    with bench.home() as home:
        size = home.store.head().size
        with pytest.raises(BreakerError, match=r"the last 3 runs of test failed .*mimrun breaker close test"):
            bench.create(failing(bench))
        assert home.store.head().size == size


def test_a_success_in_between_closes_it_and_a_cancelled_run_says_nothing(bench: Bench) -> None:
    fail(bench, OPENS_AFTER - 1)
    assert bench.run(a_plan(bench.world, action("1")))[1].status == "succeeded"
    fail(bench, OPENS_AFTER - 1)
    run, _ = bench.run(a_plan(bench.world, gate("1")))
    bench.cancel(run)
    assert bench.execute(run).status == "cancelled"
    with bench.home() as home:
        assert not list_breakers(home)["test"].open
    fail(bench, 1)
    with pytest.raises(BreakerError):
        bench.create(failing(bench))


def test_it_is_closed_by_somebody_known_with_a_reason(bench: Bench) -> None:
    fail(bench, OPENS_AFTER)
    with bench.home() as home:
        with pytest.raises(InputError, match="--reason"):
            close_breaker(home, ALEX, "test", "")
        with pytest.raises(GateError, match="casey is not known"):
            close_breaker(home, person("casey"), "test", "x")
        with pytest.raises(RefusedError, match="'other' is not open; open are: test"):
            close_breaker(home, ALEX, "other", "x")
        assert len(close_breaker(home, ALEX, "test", "looked").failures) == OPENS_AFTER
        assert home.store.rebuild()
    fail(bench, 1)


def test_the_way_back_and_a_second_try_are_never_refused_and_never_counted(bench: Bench) -> None:
    fail(bench, OPENS_AFTER)
    for update in ({"undo_of": "run-x"}, {"retry_of": "run-x"}):
        plan = Plan.decode(failing(bench).model_copy(update=update).encode())
        assert bench.run(plan)[1].status in ("failed", "in_doubt")
    with bench.home() as home:
        assert len(list_breakers(home)["test"].failures) == OPENS_AFTER


def test_the_way_back_takes_the_locks_that_its_run_has_let_go_of(bench: Bench) -> None:
    """And is refused, before it is made, where another run has taken them since."""
    undo = call("once", word="back")
    plan = a_plan(bench.world, action("1", undo=undo)).model_copy(update={"locks": ("orders",)})
    run, _ = bench.run(Plan.decode(plan.encode()))
    with bench.home() as home:
        back = plan_undo(home, run)
    assert back.locks == ("orders",)
    holder, _ = bench.run(
        Plan.decode(a_plan(bench.world, gate("1")).model_copy(update={"locks": ("orders",)}).encode())
    )
    with pytest.raises(LockError, match=f"held by {holder}"):
        bench.create(back)
    bench.cancel(holder)
    bench.execute(holder)
    undone, verdict = bench.run(back)
    assert verdict.status == "succeeded"
    kinds = bench.kinds(undone)
    assert (kinds.count("lock.taken"), kinds.count("lock.released")) == (1, 1)
