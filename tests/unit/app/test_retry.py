from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders.commands import until
from builders.plans import a_plan, action, block, call, check, gate, include, manual, parallel, serial
from builders.runs import ALEX, RESPONDER, Bench
from builders.world import HOOKS, words
from pydantic import JsonValue

from mimrun.app.decisions import attest
from mimrun.app.execution import Verdict
from mimrun.app.retry import create_retry, plan_retry
from mimrun.app.runs import find_run
from mimrun.app.undo import create_undo, plan_undo
from mimrun.connector import Effect
from mimrun.errors import RefusedError, RunError
from mimrun.runbook.node import PlannedAction, PlannedGate, StepOptions, TargetCalls
from mimrun.runbook.plan import Plan

HOSTS = ["a", "b", "c"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def hooks() -> Iterator[dict[str, Callable[[], object]]]:
    yield HOOKS
    HOOKS.clear()


def fails_on(node: PlannedAction, *hosts: str) -> PlannedAction:
    """Give the step so that it fails on some hosts for as long as nothing is hooked up."""

    def target(one: TargetCalls) -> TargetCalls:
        failing = call("hook", word=f"w{node.path}{one.target}")
        # What is not hooked up breaks; as something that may be repeated it fails and is not in doubt.
        broken = failing.model_copy(update={"effect": Effect.IDEMPOTENT})
        return one.model_copy(update={"calls": (broken,)}) if one.target in hosts else one

    return node.model_copy(update={"targets": tuple(target(one) for one in node.targets)})


def failing_behind(bench: Bench, *others: str) -> Callable[[], object]:
    """Fail only when other hosts are done: behind a failure, what is not begun yet is not begun any more."""

    def fail() -> None:
        until(lambda: {*others} <= {*words(bench.world)})
        raise OSError("broken")

    return fail


def mend(hooks: dict[str, Callable[[], object]], *words: str) -> None:
    hooks |= dict.fromkeys(words, lambda: None)


def left(plan: Plan) -> dict[str, list[str]]:
    return {
        node.path: [t.target for t in node.targets] if isinstance(node, PlannedAction) else []
        for node in plan.walk()
        if isinstance(node, PlannedAction | PlannedGate) or node.kind == "manual"
    }


def planned(bench: Bench, run: str) -> dict[str, list[str]]:
    with bench.home() as home:
        return left(plan_retry(home, run))


def again(bench: Bench, run: str) -> tuple[str, Verdict]:
    with bench.home() as home:
        retry = create_retry(home, run, plan_retry(home, run), RESPONDER)
    return retry, bench.execute(retry)


def test_only_what_failed_and_what_was_never_begun_is_done_again(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    plan = a_plan(
        bench.world,
        action("1", hosts=HOSTS),
        fails_on(action("2", hosts=HOSTS), "b"),
        action("3", hosts=HOSTS),
        hosts=HOSTS,
    )

    hooks["w2b"] = failing_behind(bench, "a:w2", "c:w2")
    run, verdict = bench.run(plan)
    assert verdict.status == "failed"
    assert planned(bench, run) == {"2": ["b"], "3": HOSTS}
    before = len(words(bench.world))
    mend(hooks, "w2b")
    retry, verdict = again(bench, run)
    assert verdict.status == "succeeded"
    assert sorted(words(bench.world)[before:]) == ["a:w3", "b:w2b", "b:w3", "c:w3"]
    with bench.home() as home:
        first, second = find_run(home, run).summary, find_run(home, retry).summary
    assert (second.incident, second.plan != first.plan) == (first.incident, True)
    assert bench.is_intact()


def test_a_host_that_may_fail_and_did_is_repeated_from_where_it_failed(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    plan = a_plan(
        bench.world,
        fails_on(action("1", hosts=HOSTS), "b"),
        action("2", hosts=HOSTS),
        hosts=HOSTS,
        failures=1,
    )
    run, verdict = bench.run(plan)
    assert verdict.status == "succeeded"
    assert planned(bench, run) == {"1": ["b"], "2": ["b"]}


def test_what_a_person_stopped_is_gone_on_with(bench: Bench, hooks: dict[str, Callable[[], object]]) -> None:
    runs: list[str] = []
    hooks["stop"] = lambda: bench.cancel(runs[0])
    plan = a_plan(bench.world, action("1", "hook", word="stop"), action("2"), action("3"))
    runs.append(bench.create(plan))
    assert bench.execute(runs[0]).status == "cancelled"
    assert again(bench, runs[0])[1].status == "succeeded"
    assert words(bench.world) == ["a:stop", "a:w2", "a:w3"]


def test_readings_are_made_again_where_something_is_left_or_somebody_needs_them(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    needed = action("2", "read", hosts=["c"], options=StepOptions(register="seen"))
    use = action("4", late=["seen"], word="{{ seen.words | length }}")
    plan = a_plan(
        bench.world,
        action("1", "read", hosts=HOSTS),
        needed,
        fails_on(action("3", hosts=["a", "b"]), "a"),
        use,
        hosts=HOSTS,
    )
    hooks["w3a"] = failing_behind(bench, "b:w3")
    run, _ = bench.run(plan)
    assert planned(bench, run) == {"1": ["a"], "2": ["c"], "3": ["a"], "4": ["a"]}


def test_what_a_step_that_is_done_has_said_is_handed_on(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    said = action("1", hosts=["a", "b"], options=StepOptions(register="said"))
    asked = manual("2").model_copy(update={"register_": "desk"})
    use = action(
        "4",
        hosts=["a", "b"],
        late=["said", "desk"],
        when="said.changed",
        word="{{ said.word }}-{{ desk.by }}",
    )
    run, _ = bench.run(a_plan(bench.world, said, asked, fails_on(action("3"), "a"), use, hosts=["a", "b"]))
    with bench.home() as home:
        attest(home, run, ALEX, {})
    assert bench.execute(run).status == "failed"
    assert planned(bench, run) == {"3": ["a"], "4": ["a", "b"]}
    mend(hooks, "w3a")
    assert again(bench, run)[1].status == "succeeded"
    assert words(bench.world)[2:] == ["a:w3a", "a:w1-alex", "b:w1-alex"] or words(bench.world)[2:] == [
        "a:w3a",
        "b:w1-alex",
        "a:w1-alex",
    ]


def test_what_is_handed_on_never_changes_how_a_host_is_reached(bench: Bench) -> None:
    said = action("1", options=StepOptions(register="world"))
    use = action("3", late=["world"], word="{{ world.word }}")
    run, _ = bench.run(a_plan(bench.world, said, fails_on(action("2"), "a"), use))
    with bench.home() as home, pytest.raises(RunError, match="the name of an inventory variable of a"):
        plan_retry(home, run)


def test_of_a_loop_the_items_that_are_left_are_done(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    items: list[JsonValue] = ["x", "y", "z"]
    calls = tuple(
        call("hook", word=str(item)).model_copy(update={"effect": Effect.IDEMPOTENT}) for item in items
    )
    looped = action("1", loop=items)
    looped = looped.model_copy(update={"targets": (looped.targets[0].model_copy(update={"calls": calls}),)})
    mend(hooks, "x", "z")
    run, verdict = bench.run(a_plan(bench.world, looped))
    assert verdict.status == "failed"
    mend(hooks, "y")
    assert again(bench, run)[1].status == "succeeded"
    assert words(bench.world) == ["a:x", "a:y", "a:z"]


def test_gates_are_asked_again_where_something_is_left_behind_them(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    plan = a_plan(bench.world, gate("1"), action("2"), gate("3"), fails_on(action("4"), "a"))
    run, _ = bench.run(plan)
    for _ in range(2):
        bench.approve(run)
        bench.execute(run)
    assert planned(bench, run) == {"3": [], "4": ["a"]}
    mend(hooks, "w4a")
    retry, verdict = again(bench, run)
    assert verdict.status == "waiting"
    bench.approve(retry)
    assert bench.execute(retry).status == "succeeded"


def test_a_block_that_was_rescued_is_over_and_one_that_was_not_keeps_its_rescue(bench: Bench) -> None:
    rescued = block("1", [action("1.block.1", word="x", answer="failed")], [action("1.rescue.1")])
    broken = block(
        "2",
        [action("2.block.1"), action("2.block.2", word="x", answer="failed")],
        [action("2.rescue.1", word="x", answer="failed")],
        [action("2.always.1")],
    )
    run, verdict = bench.run(a_plan(bench.world, rescued, broken))
    assert verdict.status == "failed"
    assert planned(bench, run) == {"2.block.2": ["a"], "2.rescue.1": ["a"], "2.always.1": ["a"]}


def test_batches_branches_and_included_steps_are_cut_to_what_is_left(bench: Bench) -> None:
    batches = serial("1", [["a"], ["b"], ["c"]], "once", max_failures=0)
    second = batches.batches[1].block[0]
    assert isinstance(second, PlannedAction)
    stops = batches.batches[1].model_copy(update={"block": (fails_on(second, "b"),)})
    batches = batches.model_copy(update={"batches": (batches.batches[0], stops, batches.batches[2])})
    branches = parallel("2", action("2.branch.1"), action("2.branch.2"))
    included = include("3", action("3.include.1"))
    run, verdict = bench.run(a_plan(bench.world, batches, branches, included, hosts=HOSTS))
    assert verdict.status == "failed"
    assert planned(bench, run) == {
        "1.batch.2.block.1": ["b"],
        "1.batch.3.block.1": ["c"],
        "2.branch.1": ["a"],
        "2.branch.2": ["a"],
        "3.include.1": ["a"],
    }


def test_what_a_verification_refused_is_done_again(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("1", verify=check("false")), action("2")))
    assert verdict.status == "failed"
    assert planned(bench, run) == {"1": ["a"], "2": ["a"]}


def test_a_reading_that_alone_has_failed_is_made_again(bench: Bench) -> None:
    look = action("2", "read", options=StepOptions(expect="'a:w2' in result.words | string", delay_ms=1))
    run, verdict = bench.run(a_plan(bench.world, action("1"), look, action("3", "read")))
    assert verdict.status == "failed"
    assert planned(bench, run) == {"2": ["a"], "3": ["a"]}
    bench.world.write_text(bench.world.read_text() + "a:w2 w2 k\n")
    assert again(bench, run)[1].status == "succeeded"
    assert words(bench.world)[:1] == ["a:w1"], "what was done is not done again"


def test_the_title_says_what_a_run_repeats_or_takes_back(bench: Bench) -> None:
    steps = (action("1", undo=call("once", word="u")), action("2", verify=check("false")))
    run, _ = bench.run(a_plan(bench.world, *steps))
    retry, _ = again(bench, run)
    with bench.home() as home:
        undo = create_undo(home, run, plan_undo(home, run), RESPONDER)
        titles = [find_run(home, one).summary.title for one in (run, retry, undo)]
    assert titles == ["A test", "retry of A test", "undo of A test"]


def test_where_nothing_failed_nothing_is_repeated(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), action("2", when="false")))
    with bench.home() as home, pytest.raises(RunError, match="failed nowhere"):
        plan_retry(home, run)


def test_a_run_that_is_in_doubt_or_not_over_is_not_repeated(bench: Bench) -> None:
    run, verdict = bench.run(a_plan(bench.world, action("1", word="x", answer="lost")))
    assert verdict.status == "in_doubt"
    with bench.home() as home, pytest.raises(RunError, match=f"mimrun resume {run}"):
        plan_retry(home, run)


def test_a_run_is_repeated_once_at_a_time_and_then_the_newest_is(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, fails_on(action("1"), "a")))
    with bench.home() as home:
        plan = plan_retry(home, run)
        retry = create_retry(home, run, plan, RESPONDER)
        with pytest.raises(RunError, match=f"has been repeated by {retry}, which is created"):
            create_retry(home, run, plan, RESPONDER)
    assert bench.execute(retry).status == "failed"
    with (
        bench.home() as home,
        pytest.raises(RunError, match=f"has been repeated by {retry}, which is failed"),
    ):
        plan_retry(home, run)
    assert planned(bench, retry) == {"1": ["a"]}


def test_a_run_that_was_taken_back_is_not_gone_on_with(bench: Bench) -> None:
    plan = a_plan(bench.world, action("1", undo=call("once", word="back")), fails_on(action("2"), "a"))
    run, _ = bench.run(plan)
    with bench.home() as home:
        seen = plan_retry(home, run)
        undo = create_undo(home, run, plan_undo(home, run), RESPONDER)
        with pytest.raises((RunError, RefusedError), match="is being taken back"):
            create_retry(home, run, seen, RESPONDER)
    assert bench.execute(undo).status == "succeeded"
    with bench.home() as home, pytest.raises(RunError, match=f"has been taken back by {undo}"):
        plan_retry(home, run)
    with bench.home() as home, pytest.raises(RunError, match=f"mimrun undo {run}"):
        plan_retry(home, undo)


def test_handlers_that_the_run_has_not_come_to_are_done_behind_what_is_left(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    handler = action("h1", hosts=HOSTS)
    notifies = action("1", hosts=["a", "b"]).model_copy(update={"notify": ("h1",)})
    plan = a_plan(bench.world, notifies, fails_on(action("2"), "a"), hosts=HOSTS, handlers=[handler])
    run, verdict = bench.run(plan)
    assert verdict.status == "failed"
    before = len(words(bench.world))
    mend(hooks, "w2a")
    assert again(bench, run)[1].status == "succeeded"
    done = words(bench.world)[before:]
    assert done[0] == "a:w2a"
    assert sorted(done[1:]) == ["a:wh1", "b:wh1"]


def test_a_handler_is_not_done_without_the_gate_that_it_stood_behind(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    """Who agreed to it then has agreed to that run only, also where nothing but the handler is left."""
    handler = fails_on(action("h1"), "a")
    left_out, rescue = gate("3", when="1 == 2"), block("4", [action("4.block.1")], [gate("4.rescue.1")])
    plan = a_plan(
        bench.world, gate("1"), action("2", notify=["h1"]), left_out, rescue, action("5"), handlers=[handler]
    )
    run, _ = bench.run(plan)
    bench.approve(run)
    assert bench.execute(run).status == "failed"
    assert planned(bench, run) == {"6": [], "7": ["a"]}
    mend(hooks, "wh1a")
    retry, verdict = again(bench, run)
    assert verdict.status == "waiting"
    assert words(bench.world) == ["a:w2", "a:w4.block.1", "a:w5"]
    bench.approve(retry)
    assert bench.execute(retry).status == "succeeded"
    assert words(bench.world)[3:] == ["a:wh1a"]


def test_a_gate_that_is_asked_again_anyway_is_asked_once(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    steps = (gate("1"), action("2", notify=["h1"]), fails_on(action("3"), "a"))
    run, _ = bench.run(a_plan(bench.world, *steps, handlers=[action("h1")]))
    bench.approve(run)
    assert bench.execute(run).status == "failed"
    assert planned(bench, run) == {"1": [], "3": ["a"], "4": ["a"]}


@pytest.mark.parametrize("failures", [0, 1])
def test_the_always_part_is_repeated_only_where_something_of_its_block_is_left(
    bench: Bench, hooks: dict[str, Callable[[], object]], failures: int
) -> None:
    hosts = ["w3", "w4"]
    part = block(
        "1",
        [fails_on(action("1.block.1", hosts=hosts), "w4")],
        always=[action("1.always.1", hosts=hosts, word="restarted")],
    )
    plan = a_plan(bench.world, part, action("2", hosts=hosts, word="next"), hosts=hosts, failures=failures)
    locked = plan.model_copy(update={"locks": ("host/w3", "host/w4", "db")})
    hooks["w1.block.1w4"] = failing_behind(bench, "w3:w1.block.1")
    run, verdict = bench.run(Plan.decode(locked.encode()))
    assert verdict.status == ("succeeded" if failures else "failed")
    last = ["w4"] if failures else hosts
    assert planned(bench, run) == {"1.block.1": ["w4"], "1.always.1": ["w4"], "2": last}
    with bench.home() as home:
        retry = plan_retry(home, run)
    assert [target.name for target in retry.targets] == last
    assert retry.groups == {"all": tuple(last)}
    assert retry.locks == (*(f"host/{host}" for host in last), "db")
    mend(hooks, "w1.block.1w4")
    assert again(bench, run)[1].status == "succeeded"
    healthy = [word for word in words(bench.world) if word.startswith("w3:")]
    assert healthy == ["w3:w1.block.1", "w3:restarted", "w3:next"]
    assert words(bench.world).count("w4:restarted") == 2


def test_an_always_part_that_failed_is_left_also_where_its_block_is_done(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    rescued = block(
        "1",
        [action("1.block.1", hosts=HOSTS, word="x", answer="failed")],
        [action("1.rescue.1", hosts=HOSTS)],
        [fails_on(action("1.always.1", hosts=HOSTS), "b")],
    )
    hooks["w1.always.1b"] = failing_behind(bench, "a:w1.always.1", "c:w1.always.1")
    run, verdict = bench.run(a_plan(bench.world, rescued, hosts=HOSTS))
    assert verdict.status == "failed"
    assert planned(bench, run) == {"1.always.1": ["b"]}
    before = len(words(bench.world))
    mend(hooks, "w1.always.1b")
    assert again(bench, run)[1].status == "succeeded"
    assert words(bench.world)[before:] == ["b:w1.always.1b"]


def test_a_rescue_that_failed_is_kept_where_it_or_its_block_is_left(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    part = block(
        "1",
        [fails_on(action("1.block.1", hosts=HOSTS), "b")],
        [fails_on(action("1.rescue.1", hosts=HOSTS), "c"), action("1.rescue.2", hosts=["lb"])],
    )
    hooks["w1.block.1b"] = failing_behind(bench, "a:w1.block.1", "c:w1.block.1")
    hooks["w1.rescue.1c"] = failing_behind(bench, "a:w1.rescue.1", "b:w1.rescue.1")
    run, verdict = bench.run(a_plan(bench.world, part, hosts=[*HOSTS, "lb"]))
    assert verdict.status == "failed"
    assert planned(bench, run) == {"1.block.1": ["b"], "1.rescue.1": ["b", "c"], "1.rescue.2": ["lb"]}


def test_a_rescue_that_never_began_spares_the_hosts_on_which_its_block_is_done(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    """What the rescue does once, or elsewhere, has never been done: all of that stays."""
    saved = action("1.rescue.1", "read", hosts=["lb"], options=StepOptions(register="saved"))
    back = action("1.rescue.2", hosts=HOSTS, late=["saved"], word="back{{ saved.words | length * 0 }}")
    once = action("1.rescue.3", hosts=["a"], word="told")
    part = block("1", [fails_on(action("1.block.1", hosts=HOSTS), "b")], [saved, back, once])
    plan = a_plan(bench.world, part, hosts=[*HOSTS, "lb"], failures=1)
    run, verdict = bench.run(plan)
    assert verdict.status == "succeeded"
    assert planned(bench, run) == {
        "1.block.1": ["b"],
        "1.rescue.1": ["lb"],
        "1.rescue.2": ["b"],
        "1.rescue.3": ["a"],
    }
    before = len(words(bench.world))
    assert again(bench, run)[0]
    assert {*words(bench.world)[before:]} <= {"b:back0", "a:told"}


def test_what_was_done_once_for_all_hosts_is_not_done_again(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    hosts = [*HOSTS, "localhost"]
    part = block(
        "2",
        [action("2.block.1", hosts=["a"]), fails_on(action("2.block.2", hosts=HOSTS), "b")],
        always=[
            action("2.always.1", hosts=["a"]),
            action("2.always.2", hosts=["localhost"]),
            fails_on(action("2.always.3", hosts=["localhost"]), "localhost"),
        ],
    )
    plan = a_plan(bench.world, action("1", hosts=["localhost"]), part, hosts=hosts, failures=2)
    run, _ = bench.run(plan)
    assert planned(bench, run) == {"2.block.2": ["b"], "2.always.3": ["localhost"]}


def test_handlers_are_kept_for_the_hosts_on_which_something_may_notify_them(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    said = action("1", hosts=HOSTS, options=StepOptions(register="said"))
    notifies = fails_on(action("2", hosts=HOSTS, notify=["h1"]), "b")
    handlers = [
        action("h1", hosts=HOSTS, late=["said"], word="told-{{ said.word }}"),
        action("h2", hosts=HOSTS),
    ]
    done = action("3", hosts=HOSTS, notify=["h2"])
    plan = a_plan(bench.world, said, notifies, done, hosts=HOSTS, failures=1, handlers=handlers)
    run, verdict = bench.run(plan)
    assert verdict.status == "succeeded"
    assert planned(bench, run) == {"2": ["b"], "3": ["b"], "h1": ["b"], "h2": ["b"]}
    before = len(words(bench.world))
    mend(hooks, "w2b")
    assert again(bench, run)[1].status == "succeeded"
    assert words(bench.world)[before:] == ["b:w2b", "b:w3", "b:told-w1", "b:wh2"]


def test_a_handler_that_was_due_is_done_once_also_where_a_repeated_step_notifies_it_again(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    steps = (
        action("1", hosts=HOSTS, notify=["h1"]),
        fails_on(action("2", hosts=HOSTS, notify=["h1"]), "b"),
    )
    handlers = [action("h1", hosts=HOSTS, word="told")]
    run, verdict = bench.run(a_plan(bench.world, *steps, hosts=HOSTS, failures=1, handlers=handlers))
    assert verdict.status == "succeeded"
    assert planned(bench, run) == {"2": ["b"], "3": ["b"]}
    mend(hooks, "w2b")
    assert again(bench, run)[1].status == "succeeded"
    assert sorted(word for word in words(bench.world) if word.endswith("told")) == [
        "a:told",
        "b:told",
        "c:told",
    ]


@pytest.mark.parametrize("name", ["hostvars", "groups"])
def test_a_plan_in_which_a_step_asks_for_other_hosts_keeps_them_all(
    bench: Bench, hooks: dict[str, Callable[[], object]], name: str
) -> None:
    asks = action("1", hosts=HOSTS, late=[name], word=f"n{{{{ {name} | length }}}}")
    fails = fails_on(action("2", hosts=HOSTS), "b")
    run, _ = bench.run(a_plan(bench.world, fails.model_copy(update={"path": "1"}), hosts=HOSTS, failures=1))
    with bench.home() as home:
        assert [target.name for target in plan_retry(home, run).targets] == ["b"]
    late = asks.model_copy(update={"path": "3"})
    run, _ = bench.run(a_plan(bench.world, fails, late, hosts=HOSTS, failures=1))
    with bench.home() as home:
        plan = plan_retry(home, run)
    assert [target.name for target in plan.targets] == HOSTS
    assert plan.groups == {"all": tuple(HOSTS)}


def test_no_host_is_given_the_answer_of_the_only_one_that_is_asked_again(
    bench: Bench, hooks: dict[str, Callable[[], object]]
) -> None:
    said = fails_on(action("1", hosts=["a", "b"], options=StepOptions(register="said", delay_ms=1)), "b")
    use = action("2", hosts=["a", "b"], late=["said"], word="of-{{ said.word }}")
    hooks["w1b"] = failing_behind(bench, "a:w1")
    run, verdict = bench.run(a_plan(bench.world, said, use, hosts=["a", "b"]))
    assert verdict.status == "failed"
    mend(hooks, "w1b")
    assert again(bench, run)[1].status == "succeeded"
    assert sorted(words(bench.world)[2:]) == ["a:of-w1", "b:of-w1b"]
