from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from builders.drawer import CATALOG, Drawer, put
from builders.plans import a_plan, action, block, call, gate, include, manual, parallel, serial
from builders.runs import ALEX, BILLIE, RESPONDER, Bench
from builders.world import HOOKS, words

from mimrun.app.decisions import attest, resolve
from mimrun.app.runs import create_run, find_run
from mimrun.app.undo import (
    COVERED,
    WayBackWishes,
    create_undo,
    follow_ups,
    left_standing,
    plan_undo,
    steps_only,
)
from mimrun.errors import InputError, RefusedError, RunError
from mimrun.log.moment import utc_now
from mimrun.run.record.followup import check_followups
from mimrun.runbook.node import Node, PlannedAction, PlannedGate, StepOptions

PIVOT = StepOptions(irreversible=True)


def undone(bench: Bench, run: str) -> list[str]:
    with bench.home() as home:
        return [str(node.targets[0].calls[0].args["word"]) for node in plan_undo(home, run).nodes
                if isinstance(node, PlannedAction)]  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def hooks() -> Iterator[dict[str, Callable[[], object]]]:
    yield HOOKS
    HOOKS.clear()


def back(path: str, **more: object) -> PlannedAction:
    return action(path, undo=call("once", word=f"back{path}"), **more)  # type: ignore[arg-type]


def test_what_was_done_is_taken_back_in_reverse(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, back("1"), back("2")))
    assert undone(bench, run) == ["back2", "back1"]


def test_nothing_in_front_of_an_irreversible_step_is_taken_back_once_it_has_happened(bench: Bench) -> None:
    plan = a_plan(bench.world, back("1"), action("2", options=PIVOT), back("3"))
    run, _ = bench.run(plan)
    assert undone(bench, run) == ["back3"]


def test_behind_an_irreversible_step_alone_the_way_is_forward(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, back("1"), action("2", options=PIVOT)))
    with (
        bench.home() as home,
        pytest.raises(RunError, match="step 2 'Step 2' has happened; the way is forward"),
    ):
        plan_undo(home, run)


def test_an_irreversible_step_that_may_have_happened_counts_as_happened(bench: Bench) -> None:
    plan = a_plan(bench.world, back("1"), action("2", options=PIVOT, word="x", answer="failed"))
    run, _ = bench.run(plan)
    with bench.home() as home, pytest.raises(RunError, match="the way is forward"):
        plan_undo(home, run)


def test_an_irreversible_step_that_provably_did_not_happen_lets_the_rest_be_taken_back(bench: Bench) -> None:
    plan = a_plan(bench.world, back("1"), action("2", options=PIVOT, word="x", answer="unreachable"))
    run, _ = bench.run(plan)
    assert undone(bench, run) == ["back1"]


def test_what_stays_as_it_is_is_named(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, back("1"), action("2", options=PIVOT), back("3")))
    with bench.home() as home:
        assert left_standing(home, run) == ["1 Step 1", "2 Step 2"]


def take_back(bench: Bench, run: str) -> tuple[str, str]:
    with bench.home() as home:
        incident = find_run(home, run).summary.incident
        undo = create_run(home, plan_undo(home, run), RESPONDER, incident=incident)
    return undo, bench.execute(undo).status


def test_what_was_found_as_wanted_is_left_as_it_was_found(bench: Bench) -> None:
    """Starting a unit that ran already must not make the undo stop it."""
    found = action("1", "read", undo=call("once", word="back1"))
    run, _ = bench.run(a_plan(bench.world, found, back("2")))
    assert undone(bench, run) == ["back2"]


def test_what_was_as_wanted_after_a_lost_attempt_may_be_our_doing(bench: Bench) -> None:
    late = action(
        "1",
        "idempotent",
        word="x",
        answer="failed",
        undo=call("once", word="back1"),
        options=StepOptions(retries=1, delay_ms=1, ignore_errors=True),
    )
    run, _ = bench.run(a_plan(bench.world, late))
    assert undone(bench, run) == ["back1"]


def test_a_way_back_that_is_not_over_is_not_begun_again(bench: Bench) -> None:
    second = action("2", undo=call("hook", word="stuck"))
    run, _ = bench.run(a_plan(bench.world, back("1"), second, back("3")))
    assert take_back(bench, run)[1] == "in_doubt", "the hook is not hooked up, so it breaks"
    with bench.home() as home, pytest.raises(RunError, match="is being taken back by"):
        plan_undo(home, run)


def give_up(bench: Bench, undo: str, step: str) -> str:
    with bench.home() as home:
        resolve(home, undo, RESPONDER, step=step, resolution="abort", reason="it cannot be mended now")
    return bench.execute(undo).status


def test_a_way_back_that_was_given_up_is_gone_on_with_where_it_broke_off(bench: Bench) -> None:
    second = action("2", undo=call("once", word="stuck", answer="failed"))
    run, _ = bench.run(a_plan(bench.world, back("1"), second, back("3")))
    for _ in range(2):
        undo, status = take_back(bench, run)
        assert status == "in_doubt"
        with bench.home() as home:
            step = find_run(home, undo).summary.waits_at
        assert give_up(bench, undo, step) == "failed"
        assert words(bench.world)[3:] == ["a:back3"]
        assert undone(bench, run) == ["stuck", "back1"]


def test_a_run_is_taken_back_once(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, back("1")))
    assert take_back(bench, run)[1] == "succeeded"
    with bench.home() as home, pytest.raises(RunError, match="has been taken back by"):
        plan_undo(home, run)


def test_an_undo_is_told_all_that_the_run_was_told(bench: Bench) -> None:
    read = action("1", "read", options=StepOptions(register="seen"))
    looped = action(
        "2", loop=["x", "y"], late=["item"], word="{{ item }}", options=StepOptions(register="all")
    )
    asked = manual("3").model_copy(update={"register_": "desk"})
    needs = ("seen", "all", "desk", "result")
    text = "{{ seen.changed }} {{ all.results | length }} {{ desk.by }} {{ result.changed }}"
    last = action("4", undo=call("once", needs, word=text))
    run, _ = bench.run(a_plan(bench.world, read, looped, asked, last))
    with bench.home() as home:
        attest(home, run, ALEX, {})
    assert bench.execute(run).status == "succeeded"
    assert undone(bench, run) == ["False 2 alex True"]


def test_a_secret_of_an_undo_stays_out_of_its_plan_and_is_there_when_it_is_needed(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("hunter2-4711")
    inputs = {"token": {"secret": f"file:{tmp_path}/token"}}
    step = action("1", undo=call("once", ["token"], word="{{ token }}"))
    run, _ = bench.run(a_plan(bench.world, step, inputs=dict(inputs)))
    with bench.home() as home:
        assert b"hunter2" not in plan_undo(home, run).encode()
    assert take_back(bench, run)[1] == "succeeded"
    assert words(bench.world) == ["a:w1", "a:hunter2-4711"]


def test_a_secret_and_what_was_captured_meet_in_an_undo_and_not_in_its_plan(tmp_path: Path) -> None:
    bench = Bench(tmp_path, CATALOG)
    (tmp_path / "token").write_text("hunter2-4711")
    inputs = {"token": {"secret": f"file:{tmp_path}/token"}}
    step = put("1", "a", "new")
    undo = (
        step.targets[0]
        .undo[0]
        .model_copy(
            update={
                "late": ("captured", "token"),
                "args": {"slot": "a", "value": "{{ token }}/{{ captured.value }}"},
            }
        )
    )
    target = step.targets[0].model_copy(update={"undo": (undo,)})
    drawer = Drawer(tmp_path / "drawer")
    drawer.put("a", "{{ token }}")
    run, _ = bench.run(
        a_plan(bench.world, step.model_copy(update={"targets": (target,)}), inputs=dict(inputs))
    )
    with bench.home() as home:
        assert b"hunter2" not in plan_undo(home, run).encode()
    assert take_back(bench, run)[1] == "succeeded"
    assert drawer.read() == {"a": "hunter2-4711/{{ token }}"}, "and what was found is no template"


def test_the_last_outcome_is_taken_back_first_wherever_it_stands_in_the_plan(bench: Bench) -> None:
    looped = action(
        "1",
        loop=["x", "y"],
        late=["item"],
        word="{{ item }}",
        undo=call("once", ["item"], word="-{{ item }}"),
    )
    inner = block("2", [back("2.block.1"), back("2.block.2")], always=[back("2.always.1")])
    run, _ = bench.run(a_plan(bench.world, looped, inner))
    assert undone(bench, run) == ["back2.always.1", "back2.block.2", "back2.block.1", "-y", "-x"]


def test_batches_branches_and_included_steps_are_taken_back_by_their_outcomes(bench: Bench) -> None:
    """Of two branches that run side by side, whichever ended last is taken back first."""
    hosts = ["a", "b"]
    undo = call("once", ["result"], word="-{{ result.word }}-{{ inventory_hostname }}")
    batches = serial("1", [["a"], ["b"]], undo=undo)
    branches = parallel("2", *(action(f"2.branch.{n}", undo=undo) for n in (1, 2)))
    included = include("3", action("3.include.1", undo=undo))
    run, verdict = bench.run(a_plan(bench.world, batches, branches, included, hosts=hosts))
    assert verdict.status == "succeeded"
    with bench.home() as home:
        done = [e for e in home.store.entries(run=run) if e.kind == "step.outcome"]
    assert undone(bench, run) == [f"-w{entry.step}-{entry.target}" for entry in reversed(done)]
    assert len(done) == 5


def test_an_undo_in_a_branch_knows_what_its_branch_has_learned(bench: Bench) -> None:
    def branch(number: int) -> Node:
        at = f"1.branch.{number}"
        asked = action(f"{at}.block.1", "once", word=f"q{number}", options=StepOptions(register="answer"))
        undo = call("once", ["answer"], word="-{{ answer.word }}")
        return block(at, [asked, action(f"{at}.block.2", undo=undo)])

    run, verdict = bench.run(a_plan(bench.world, parallel("1", branch(1), branch(2))))
    assert verdict.status == "succeeded"
    assert sorted(undone(bench, run)) == ["-q1", "-q2"]


def test_a_secret_of_an_included_runbook_is_there_for_the_way_back(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2-4711")
    undo = call("once", ["token"], word="{{ token }}/{{ place }}")
    included = include(
        "1",
        action("1.include.1", undo=undo),
        inputs={"token": {"secret": f"file:{tmp_path}/token"}},
        vars_={"place": "inside"},
    )
    run, _ = bench.run(a_plan(bench.world, included))
    with bench.home() as home:
        assert b"hunter2" not in plan_undo(home, run).encode()
    assert take_back(bench, run)[1] == "succeeded"
    assert words(bench.world)[1:] == ["a:hunter2-4711/inside"]


def test_a_way_back_is_not_taken_back(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, back("1")))
    undo, _ = take_back(bench, run)
    with (
        bench.home() as home,
        pytest.raises(RunError, match=f"takes back {run}; a way back is not taken back"),
    ):
        plan_undo(home, undo)


def test_some_steps_can_be_taken_back_and_the_others_later(bench: Bench) -> None:
    inner = block("2", [back("2.block.1"), back("2.block.2")])
    run, _ = bench.run(a_plan(bench.world, back("1"), inner, back("3")))
    with bench.home() as home:
        some = steps_only(home, run, ["2"])
        undo = create_undo(home, run, plan_undo(home, run, some), RESPONDER, WayBackWishes(some))
        with pytest.raises(InputError, match="no step 7; the run has the steps 1, 2"):
            steps_only(home, run, ["7"])
    assert bench.execute(undo).status == "succeeded"
    assert words(bench.world)[4:] == ["a:back2.block.2", "a:back2.block.1"]
    assert undone(bench, run) == ["back3", "back1"]
    with bench.home() as home, pytest.raises(RunError, match="nothing of these steps"):
        plan_undo(home, run, steps_only(home, run, ["2"]))


def test_of_two_who_take_a_run_back_at_the_same_moment_one_is_heard(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, back("1")))
    ready, said = threading.Barrier(2), []

    def ask() -> None:
        with bench.home() as home:
            plan = plan_undo(home, run)
            ready.wait(10)
            try:
                said.append(create_undo(home, run, plan, RESPONDER))
            except (RefusedError, RunError) as exc:
                said.append(str(exc))

    people = [threading.Thread(target=ask) for _ in range(2)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert sorted(word.startswith("run-") and " " not in word for word in said) == [False, True]
    with bench.home() as home:
        assert len(follow_ups(home, run).undos) == 1


def test_a_way_back_that_was_gone_meanwhile_is_not_asked_for_again(bench: Bench) -> None:
    """Between a look and the go, somebody else may have taken the run back from beginning to end."""
    run, _ = bench.run(a_plan(bench.world, back("1"), back("2")))
    with bench.home() as home:
        seen = follow_ups(home, run)
        plan = plan_undo(home, run)
    assert take_back(bench, run)[1] == "succeeded"
    with bench.home() as home, pytest.raises(RefusedError, match="has changed since you looked"):
        create_run(home, plan, RESPONDER, guard=lambda view: check_followups(view, run, seen))


def test_an_approval_of_long_ago_is_none_of_the_way_back(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), back("2"), gate("3", count=2), back("4")))
    bench.approve(run)
    bench.execute(run)
    bench.approve(run)
    bench.approve(run, BILLIE)
    assert bench.execute(run).status == "succeeded"
    with bench.home() as home:
        assert [node.kind for node in plan_undo(home, run).nodes] == ["action", "action"]
        later = replace(home, clock=lambda: utc_now() + COVERED + timedelta(minutes=1))
        plan = plan_undo(later, run)
    first = plan.nodes[0]
    assert isinstance(first, PlannedGate)
    assert [(need.role, need.count) for need in first.approvals] == [("change_manager", 2)]
    undo, verdict = bench.run(plan)
    assert verdict.status == "waiting"
    assert len(words(bench.world)) == 2
    bench.approve(undo)
    bench.approve(undo, BILLIE)
    assert bench.execute(undo).status == "succeeded"
    assert words(bench.world)[2:] == ["a:back4", "a:back2"]


@pytest.fixture
def asked_anew(bench: Bench, hooks: dict[str, Callable[[], object]]) -> str:
    """A run whose gate was open for its second and third step, and is not any more for the fifth."""
    bench.world.write_text("a q k1\na r k2\n")
    hooks["fired"] = lambda: bench.settings.people.write_text("people:\n  responder: {}\n")
    plan = a_plan(
        bench.world,
        action("1", "read", options=StepOptions(register="seen")),
        gate("2"),
        action(
            "3",
            loop="{{ seen.words }}",
            late=["item"],
            word="{{ item }}",
            undo=call("once", ["item"], word="back-{{ item }}"),
        ),
        action("4", "hook", word="fired"),
        action("5"),
    )
    run, _ = bench.run(plan)
    bench.approve(run)
    assert bench.execute(run).status == "waiting"
    bench.cancel(run)
    assert bench.execute(run).status == "cancelled"
    assert not bench.state(run).gates["2"].opened
    return run


def test_an_approval_that_was_void_in_the_end_still_says_what_was_done_by_it(
    bench: Bench, asked_anew: str
) -> None:
    """What stands behind a gate was filled in there, the items of a loop among it."""
    assert undone(bench, asked_anew) == ["back-a:r", "back-a:q"]


def test_an_approval_of_long_ago_that_was_void_in_the_end_is_none_of_the_way_back(
    bench: Bench, asked_anew: str
) -> None:
    with bench.home() as home:
        assert not any(isinstance(node, PlannedGate) for node in plan_undo(home, asked_anew).nodes)
        later = replace(home, clock=lambda: utc_now() + COVERED + timedelta(minutes=1))
        assert isinstance(plan_undo(later, asked_anew).nodes[0], PlannedGate)


def test_what_a_step_has_notified_follows_its_way_back_as_well(bench: Bench) -> None:
    """A service that read the new file reads the old one again, once and behind everything else."""
    reload = action("h1", "idempotent", word="reload", hosts=["a", "b"])
    never = action("h2", "idempotent", word="never", when="1 == 2")
    steps = [
        action("1", undo=call("once", word="back1"), notify=["h1", "h2"]),
        action("2", undo=call("once", word="back2"), notify=["h1"]),
    ]
    run, _ = bench.run(a_plan(bench.world, *steps, hosts=["a", "b"], handlers=[reload, never]))
    assert words(bench.world) == ["a:w1", "a:w2", "a:reload"]
    take_back(bench, run)
    assert words(bench.world)[3:] == ["a:back2", "a:back1", "a:reload"]


def test_a_handler_of_what_is_not_taken_back_does_not_follow(bench: Bench) -> None:
    steps = [action("1", undo=call("once", word="back1")), action("2", notify=["h1"])]
    handlers = [action("h1", "idempotent", word="reload")]
    run, _ = bench.run(a_plan(bench.world, *steps, handlers=handlers))
    take_back(bench, run)
    assert words(bench.world)[3:] == ["a:back1"]
