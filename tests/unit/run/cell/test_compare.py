from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from builders.crash import execute_and_die
from builders.drawer import CATALOG, Drawer, DrawerConnector, put
from builders.plans import a_plan
from builders.runs import RESPONDER, Bench
from hypothesis import given
from hypothesis import strategies as st

from mimrun.app.decisions import Resolution, resolve
from mimrun.app.execution import Verdict
from mimrun.app.runs import create_run, find_run
from mimrun.app.undo import create_undo, plan_undo
from mimrun.connector import Effect, Finding, Probed
from mimrun.log.kinds import Kind, StepCaptured, StepCompared, StepInDoubt
from mimrun.run.cell.compare import Found, compare, difference, state_in
from mimrun.run.record.state import CellKey
from mimrun.runbook.node import PlannedAction
from mimrun.runbook.plan import Plan

STATES = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3)


@given(before=st.none() | STATES, left=STATES, now=STATES)
def test_only_what_was_left_is_taken_back_and_only_what_was_before_counts_as_done(
    before: dict[str, int] | None, left: dict[str, int], now: dict[str, int]
) -> None:
    found = compare(before, left, now)  # type: ignore[arg-type]
    assert (found is Found.LEFT) == (now == left)
    assert (found is Found.BEFORE) == (now != left and now == before)


@given(before=STATES, left=STATES, now=STATES)
def test_a_difference_names_every_part_that_is_not_as_it_was_left_and_no_other(
    before: dict[str, int], left: dict[str, int], now: dict[str, int]
) -> None:
    told = difference(before, left, now)  # type: ignore[arg-type]
    named = {part.partition(":")[0] for part in told.split("; ") if part}
    assert named == {name for name in left.keys() | now.keys() if left.get(name) != now.get(name)}


def test_how_a_state_was_got_is_no_part_of_it() -> None:
    answer = {"value": 1, "changed": False, "failed": False, "reason": "", "skipped": False, "dur_ms": 7}
    assert state_in(json.dumps(answer).encode()) == {"value": 1}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, CATALOG)


@pytest.fixture
def drawer(bench: Bench) -> Drawer:
    drawer = Drawer(bench.world.with_name("drawer"))
    drawer.put("a", "old")
    drawer.put("b", "old")
    return drawer


def take_back(bench: Bench, run: str) -> tuple[str, Verdict]:
    with bench.home() as home:
        undo = create_undo(home, run, plan_undo(home, run), RESPONDER)
    return undo, bench.execute(undo)


def settle(bench: Bench, undo: str, step: str, resolution: Resolution) -> Verdict:
    with bench.home() as home:
        resolve(home, undo, RESPONDER, step=step, resolution=resolution, reason="looked at it")
    return bench.execute(undo)


def forward(bench: Bench, *slots: str) -> str:
    run, verdict = bench.run(
        a_plan(bench.world, *(put(str(n), slot, "new") for n, slot in enumerate(slots, start=1)))
    )
    assert verdict.status == "succeeded"
    return run


def test_the_state_that_a_step_leaves_is_read_right_behind_its_outcome(bench: Bench, drawer: Drawer) -> None:
    run = forward(bench, "a")
    kinds = bench.kinds(run)
    assert kinds.index("step.captured", kinds.index("step.outcome") + 3) == kinds.index("step.finished") - 1
    with bench.home() as home:
        *_, after = home.store.entries(run=run, kinds={Kind.STEP_CAPTURED})
        assert isinstance(after.body, StepCaptured)
        assert after.body.when == "after"
        assert state_in(home.store.blob(after, "data") or b"") == {"value": "new"}


def test_what_is_as_the_run_left_it_is_put_back(bench: Bench, drawer: Drawer) -> None:
    undo, verdict = take_back(bench, forward(bench, "a", "b"))
    assert (verdict.status, verdict.detail) == ("succeeded", "")
    assert drawer.read() == {"a": "old", "b": "old"}
    assert drawer.effects() == ["a=new", "b=new", "b=old", "a=old"]
    assert bench.kinds(undo).count("step.compared") == 2
    assert bench.is_intact()


def test_two_steps_that_changed_the_same_thing_are_both_taken_back(bench: Bench, drawer: Drawer) -> None:
    run, _ = bench.run(a_plan(bench.world, put("1", "a", "one"), put("2", "a", "two")))
    assert take_back(bench, run)[1].status == "succeeded"
    assert drawer.effects()[2:] == ["a=one", "a=old"]


def test_what_somebody_else_has_changed_since_is_not_overwritten_but_asked_about(
    bench: Bench, drawer: Drawer
) -> None:
    run = forward(bench, "a", "b")
    drawer.put("b", "theirs")
    undo, verdict = take_back(bench, run)
    assert verdict.status == "in_doubt"
    assert 'before the run "old", left as "new", now "theirs"' in verdict.detail
    assert drawer.effects() == ["a=new", "b=new"], "and what came before it is not begun"
    with bench.home() as home:
        (doubt,) = home.store.entries(run=undo, kinds={Kind.STEP_IN_DOUBT})
        assert isinstance(doubt.body, StepInDoubt)
        assert (doubt.body.why, doubt.body.intent) == ("conflict", 0)
        assert find_run(home, undo).status == "in_doubt"
    assert bench.execute(undo).status == "in_doubt", "nothing but a person's word goes on with it"


def test_a_person_may_have_it_put_back_all_the_same(bench: Bench, drawer: Drawer) -> None:
    run = forward(bench, "a", "b")
    drawer.put("b", "theirs")
    undo, _ = take_back(bench, run)
    assert settle(bench, undo, "1", "not_applied").status == "succeeded"
    assert drawer.read() == {"a": "old", "b": "old"}


def test_a_person_may_leave_it_and_the_rest_is_taken_back(bench: Bench, drawer: Drawer) -> None:
    run = forward(bench, "a", "b")
    drawer.put("b", "theirs")
    undo, _ = take_back(bench, run)
    verdict = settle(bench, undo, "1", "skip")
    assert verdict.status == "succeeded"
    assert drawer.read() == {"a": "old", "b": "theirs"}
    with bench.home() as home:
        reason = find_run(home, undo).summary.reason
    assert reason == "partly taken back: 2 Step 2 on a still stands"
    assert verdict.exit_code == 1


def test_a_person_may_say_that_it_is_back_already(bench: Bench, drawer: Drawer) -> None:
    run = forward(bench, "a", "b")
    drawer.put("b", "theirs")
    undo, _ = take_back(bench, run)
    verdict = settle(bench, undo, "1", "applied")
    assert (verdict.status, verdict.exit_code) == ("succeeded", 0)
    assert drawer.effects() == ["a=new", "b=new", "a=old"]


def test_what_is_back_already_is_ok_and_nothing_is_done(bench: Bench, drawer: Drawer) -> None:
    run = forward(bench, "a", "b")
    drawer.put("b", "old")
    undo, verdict = take_back(bench, run)
    assert verdict.status == "succeeded"
    assert drawer.effects() == ["a=new", "b=new", "a=old"]
    state = bench.state(undo)
    assert (state.recap()["ok"], state.recap()["changed"]) == (2, 1)
    assert state.cells[CellKey("1", "a")].attempts == 0


def test_what_cannot_be_read_any_more_is_asked_about(bench: Bench, drawer: Drawer) -> None:
    run = forward(bench, "a")
    drawer.mark("blind", "a")
    undo, verdict = take_back(bench, run)
    assert verdict.status == "in_doubt"
    assert "cannot compare: nobody can look" in verdict.detail
    with bench.home() as home:
        (found,) = home.store.entries(run=undo, kinds={Kind.STEP_COMPARED})
        assert isinstance(found.body, StepCompared)
        assert found.body.found == "unknown"


def test_an_undo_that_fails_waits_for_a_person_and_what_is_left_is_not_begun(
    bench: Bench, drawer: Drawer
) -> None:
    run = forward(bench, "a", "b")
    drawer.mark("jammed", "b")
    undo, verdict = take_back(bench, run)
    assert verdict.status == "in_doubt"
    assert "the undo failed: the slot is jammed" in verdict.detail
    assert drawer.effects() == ["a=new", "b=new"]
    assert settle(bench, undo, "1", "not_applied").status == "in_doubt", "tried again, in vain"
    drawer.mark("jammed")
    assert settle(bench, undo, "1", "not_applied").status == "succeeded"
    assert drawer.read() == {"a": "old", "b": "old"}


def test_a_person_may_give_up_the_way_back_and_what_stands_is_named(bench: Bench, drawer: Drawer) -> None:
    run = forward(bench, "a", "b")
    drawer.mark("jammed", "b")
    undo, _ = take_back(bench, run)
    drawer.mark("jammed")
    verdict = settle(bench, undo, "1", "abort")
    assert (verdict.status, verdict.exit_code) == ("failed", 1)
    assert drawer.effects() == ["a=new", "b=new"], "what a person has given up is not tried again"
    with bench.home() as home:
        reason = find_run(home, undo).summary.reason
    assert "2 Step 2 on a, 1 Step 1 on a still stand" in reason


def test_what_a_dead_worker_left_unread_is_asked_about(bench: Bench, drawer: Drawer) -> None:
    """Whoever looks later may see what somebody else did, and would overwrite it."""
    run = forward(bench, "a")
    with bench.home() as home:
        before = plan_undo(home, run)
    target = before.nodes[0].targets[0].model_copy(update={"left": {"before": 1}})  # type: ignore[union-attr]
    assert (
        bench.run(
            before.model_copy(
                update={
                    "nodes": (before.nodes[0].model_copy(update={"targets": (target,)}),),
                }
            )
        )[1].status
        == "in_doubt"
    )
    assert drawer.read()["a"] == "new"


@pytest.mark.parametrize(
    ("effect", "now", "told", "effects"),
    [
        (effect, *one)
        for effect in (Effect.IDEMPOTENT, Effect.PROBE)
        for one in (
            ("theirs", "in_doubt", ["a=new"]),
            ("new", "succeeded", ["a=new", "a=old"]),
            ("old", "succeeded", ["a=new"]),
        )
    ],
)
def test_an_undo_whose_worker_died_is_compared_again_before_it_is_begun_again(
    bench: Bench,
    drawer: Drawer,
    monkeypatch: pytest.MonkeyPatch,
    effect: Effect,
    now: str,
    told: str,
    effects: list[str],
) -> None:
    """Between the death of a worker and the next one there is time for somebody else."""
    nothing = Probed(Finding.NOT_APPLIED, "nothing of it is there")
    monkeypatch.setattr(DrawerConnector, "_probe", lambda drawer, action, call: nothing)
    run = forward(bench, "a")
    with bench.home() as home:
        plan = plan_undo(home, run)
        plan = counted_on_a_probe(plan) if effect is Effect.PROBE else plan
        undo = create_run(home, plan, RESPONDER, incident=find_run(home, run).summary.incident)
    at_intent = partial(bench.execute, undo)
    assert execute_and_die(at_intent, lambda _, drafts: drafts[-1].kind is Kind.STEP_INTENT, before=False)
    drawer.put("a", now)
    assert bench.execute(undo).status == told
    assert drawer.effects() == effects, "what somebody has done since is not overwritten"
    assert bench.is_intact()


def counted_on_a_probe(plan: Plan) -> Plan:
    """Let the undo be something that can be asked about."""
    node = plan.nodes[0]
    assert isinstance(node, PlannedAction)
    target = node.targets[0]
    call = target.calls[0].model_copy(update={"effect": Effect.PROBE})
    one = node.model_copy(update={"targets": (target.model_copy(update={"calls": (call,)}),)})
    return Plan.decode(plan.model_copy(update={"nodes": (one,)}).encode())
