from __future__ import annotations

import json
from typing import Any

import pytest
from builders.plans import a_plan, action, block, check, gate, manual, parallel, serial
from builders.runs import ALEX, Bench
from builders.world import HOOKS

from mimrun.app.decisions import attest, request_cancel
from mimrun.app.replaying import entries_of
from mimrun.app.runs import load_plan
from mimrun.replay.against import Trial
from mimrun.replay.comparison import Comparison
from mimrun.replay.weighing import weigh
from mimrun.run.record.state import CellKey
from mimrun.runbook.node import Node, PlannedAction, StepOptions
from mimrun.runbook.plan import Plan


def against(bench: Bench, run: str, now: Plan, **options: bool) -> Comparison:
    with bench.home() as home:
        entries, then = entries_of(home, run), load_plan(home, run)
        tried = Trial(run, entries, then, now, home.store).play(**options)
        return weigh(run, entries, tried, taken=())


def of(bench: Bench, *nodes: Node, **more: Any) -> Plan:
    return a_plan(bench.world, *nodes, **more)


def called(path: str, name: str, **more: Any) -> PlannedAction:
    """Give a step with a name of its own, which writes that name."""
    return action(path, **{"word": name, **more}).model_copy(update={"name": name})


def names(changes: Any) -> list[str]:
    return [change.name for change in changes]


def test_the_same_plan_takes_the_same_course_over_the_same_answers(bench: Bench) -> None:
    plan = of(
        bench,
        action("1", hosts=("a", "b")),
        gate("2"),
        manual("3"),
        block(
            "4", [action("4.block.1", word="w", answer="failed")], [action("4.rescue.1", hosts=("a", "b"))]
        ),
        serial("5", [["a"], ["b"]], "idempotent"),
        action("6", "probe", word="w6", answer="lost"),
        action("7", word="w7", answer="lost"),
        action("8", "read", options=StepOptions.model_validate({"register": "all", "delay_ms": 1})),
        action("9", word="w9", verify=check("'a:w9' in result.words"), when="all.words | length > 2"),
        hosts=("a", "b"),
        failures=2,
    )
    run, _ = bench.run(plan)
    bench.approve(run)
    bench.execute(run)
    with bench.home() as home:
        attest(home, run, ALEX, {})
    bench.execute(run)
    bench.settle(run, CellKey("7", "b"), applied=True) if CellKey("7", "b") in bench.state(
        run
    ).in_doubt() else (bench.settle(run, CellKey("7", "a"), applied=True))
    bench.execute(run)
    found = against(bench, run, plan)
    assert found.divergence is None, found.divergence
    assert (found.verdict, found.exit_code) == ("same", 0)
    assert found.recorded.status == found.replayed.status
    assert found.recorded.recap == found.replayed.recap
    assert json.loads(json.dumps(found.as_json())) == found.as_json()


def test_an_added_step_is_answered_by_nobody_and_nothing_behind_it_is_guessed(bench: Bench) -> None:
    run, _ = bench.run(of(bench, called("1", "one"), called("2", "two")))
    found = against(bench, run, of(bench, called("1", "one"), called("2", "new"), called("3", "two")))
    assert found.exit_code == 1
    assert found.changes is not None
    assert names(found.changes.added) == ["new"]
    assert [(note.step, note.target, note.action) for note in found.changes.unmatched] == [
        ("2", "a", "world.once")
    ]
    assert found.replayed.status == "unknown"
    assert found.divergence is not None
    assert (found.divergence.step, found.divergence.name) == ("2", "new")
    assert [note.name for note in found.changes.unused] == ["two"]


def test_a_step_that_is_gone_is_the_place_where_the_course_is_left(bench: Bench) -> None:
    run, _ = bench.run(of(bench, called("1", "one"), called("2", "two"), called("3", "three")))
    found = against(bench, run, of(bench, called("1", "one"), called("2", "three")))
    assert found.changes is not None
    assert names(found.changes.removed) == ["two"]
    assert not found.changes.unmatched
    assert found.divergence is not None
    assert found.divergence.name == "two"
    assert found.divergence.today == "nothing: the step is not there any more"
    assert found.replayed.status == "succeeded"
    assert found.exit_code == 1


def test_steps_in_another_order_are_answered_as_they_were(bench: Bench) -> None:
    run, _ = bench.run(of(bench, called("1", "one"), called("2", "two"), called("3", "three")))
    found = against(bench, run, of(bench, called("1", "three"), called("2", "one"), called("3", "two")))
    assert found.changes is not None
    assert names(found.changes.reordered) == ["three"]
    assert found.changes.reordered[0].before == "one"
    assert found.replayed.status == "succeeded"
    assert found.divergence is not None
    assert found.divergence.name == "three"


def test_a_new_name_alone_is_no_difference_and_is_said(bench: Bench) -> None:
    run, _ = bench.run(of(bench, called("1", "one"), called("2", "two")))
    other = called("2", "two").model_copy(update={"name": "the second"})
    found = against(bench, run, of(bench, called("1", "one"), other))
    assert found.verdict == "same"
    assert found.changes is not None
    assert names(found.changes.renamed) == ["the second"]


def test_what_another_step_asked_then_answers_and_that_is_said(bench: Bench) -> None:
    run, _ = bench.run(of(bench, called("1", "one"), called("2", "two")))
    swapped = of(bench, called("1", "one", word="two"), called("2", "two", word="one"))
    found = against(bench, run, swapped)
    assert found.changes is not None
    assert [note.why for note in found.changes.substituted] == [
        "answered by what was said to step 2 then",
        "answered by what was said to step 1 then",
    ]
    assert not found.changes.unmatched
    assert names(found.changes.changed) == ["one", "two"]
    assert found.exit_code == 1
    assert found.divergence is not None
    assert (found.divergence.recorded, found.divergence.today) == (
        "do world.once (once), as step 2",
        "do it as this step",
    )


def test_a_host_that_is_left_out_is_a_difference(bench: Bench) -> None:
    run, _ = bench.run(of(bench, called("1", "one", hosts=("a", "b")), called("2", "two"), hosts=("a", "b")))
    found = against(bench, run, of(bench, called("1", "one"), called("2", "two"), hosts=("a", "b")))
    assert (found.verdict, found.exit_code) == ("differs", 1)
    assert found.divergence is not None
    assert (found.divergence.step, found.divergence.target) == ("1", "b")
    assert found.divergence.recorded == "do world.once (once)"
    assert found.divergence.today == "nothing: it is not done there any more"


def looped(*items: str) -> PlannedAction:
    return called("1", "each", loop=[*items], late=["item"], word="w{{ item }}")


def test_an_item_that_is_left_out_is_a_difference(bench: Bench) -> None:
    run, _ = bench.run(of(bench, looped("x", "y", "z")))
    found = against(bench, run, of(bench, looped("y", "z")))
    assert found.exit_code == 1
    assert found.divergence is not None
    assert (found.divergence.step, found.divergence.target, found.divergence.item) == ("1", "a", 1)
    assert found.divergence.today == "nothing: it is not done there any more"
    assert found.changes is not None
    assert [note.item for note in found.changes.unused] == [1]
    assert found.changes.substituted[0].why == "answered by what was said to item 2 then"


def test_items_in_another_order_are_a_difference(bench: Bench) -> None:
    run, _ = bench.run(of(bench, looped("x", "y", "z")))
    found = against(bench, run, of(bench, looped("x", "z", "y")))
    assert found.exit_code == 1
    assert found.replayed.status == "succeeded"
    assert found.divergence is not None
    assert (found.divergence.item, found.divergence.today) == (3, "do it as item 3")
    assert found.divergence.recorded == "do world.once (once), as item 2"


def test_hosts_in_other_batches_are_a_difference(bench: Bench) -> None:
    def plan(*batches: tuple[str, ...]) -> Plan:
        return of(bench, serial("1", batches, word="w"), hosts=("a", "b"))

    run, _ = bench.run(plan(("a",), ("b",)))
    assert against(bench, run, plan(("a",), ("b",))).verdict == "same"
    for batches, first in (((("a", "b"),), "a, b"), ((("b",), ("a",)), "b")):
        found = against(bench, run, plan(*batches))
        assert found.exit_code == 1
        assert found.divergence is not None
        assert found.divergence.recorded == "begin the step on a"
        assert found.divergence.today == f"begin the step on {first}"


def test_what_is_done_as_somebody_else_is_not_answered(bench: Bench) -> None:
    run, _ = bench.run(of(bench, called("1", "one")))
    for options in (StepOptions(delay_ms=1, become="root"), StepOptions(delay_ms=1, environment={"A": "b"})):
        found = against(bench, run, of(bench, called("1", "one", options=options)))
        assert found.exit_code == 1
        assert found.changes is not None
        assert found.changes.unmatched[0].why.startswith("it was asked otherwise then: ")


def test_what_is_otherwise_in_the_runbook_as_a_whole_is_listed(bench: Bench) -> None:
    run, _ = bench.run(of(bench, called("1", "one")))
    now = of(bench, called("1", "one"), failures=1, timeout_ms=60_000).model_copy(update={"locks": ("db",)})
    found = against(bench, run, now)
    assert (found.verdict, found.changes is not None) == ("same", True)
    assert found.changes is not None
    (whole,) = found.changes.changed
    assert whole.what == (
        ("limits: failures", "0", "1"),
        ("max_failures", "0", "1"),
        ("locks", "", "db"),
        ("timeout", "4h", "1m"),
    )


def test_a_condition_that_holds_elsewhere_is_told_by_what_was_left_out_then(bench: Bench) -> None:
    def plan(host: str) -> Plan:
        step = called("1", "one", hosts=("a", "b"), when=f"inventory_hostname == '{host}'")
        return of(bench, step, hosts=("a", "b"))

    run, _ = bench.run(plan("a"))
    found = against(bench, run, plan("b")).divergence
    assert found is not None
    assert (found.step, found.target, found.recorded) == ("1", "b", "leave it out")


def test_other_arguments_are_not_answered_unless_somebody_wants_it_so(bench: Bench) -> None:
    run, _ = bench.run(of(bench, called("1", "one"), called("2", "two")))
    now = of(bench, called("1", "one", word="uno"), called("2", "two"))
    found = against(bench, run, now)
    assert found.changes is not None
    (note,) = found.changes.unmatched
    assert note.why == "it was asked otherwise then: word: one → uno"
    (change,) = found.changes.changed
    assert change.what == (("arguments: word", "one", "uno"),)
    allowed = against(bench, run, now, any_arguments=True)
    assert allowed.changes is not None
    assert not allowed.changes.unmatched
    assert allowed.changes.substituted[0].why.endswith("word: one → uno")
    assert allowed.replayed.status == "succeeded"


def test_a_branch_that_nobody_can_answer_for_ends_and_the_others_go_on(bench: Bench) -> None:
    def plan(more: str) -> Plan:
        first = block(
            "1.branch.1", [called("1.branch.1.block.1", f"one{more}"), called("1.branch.1.block.2", "x")]
        )
        second = block(
            "1.branch.2", [called("1.branch.2.block.1", "two"), called("1.branch.2.block.2", "three")]
        )
        return of(bench, parallel("1", first, second), called("2", "last"))

    run, _ = bench.run(plan(""))
    found = against(bench, run, plan(" more"))
    assert found.replayed.status == "unknown"
    assert found.replayed.reason == "nobody knows how it goes on in one of its branches"
    assert found.replayed.recap["changed"] == 2
    assert found.changes is not None
    assert [note.step for note in found.changes.unmatched] == ["1.branch.1.block.1"]


def test_one_attempt_more_than_was_made_is_answered_by_nobody(bench: Bench) -> None:
    step = action("1", "idempotent", word="w", answer="lost-before")
    run, _ = bench.run(of(bench, step))
    again = step.model_copy(update={"options": StepOptions(retries=1, delay_ms=1)})
    found = against(bench, run, of(bench, again))
    assert found.changes is not None
    assert found.changes.unmatched[0].why == "it was tried 1 time then, and is tried once more now"


def test_an_expectation_that_is_not_met_any_more_is_the_divergence(bench: Bench) -> None:
    step = action("1", "read", options=StepOptions(expect="result.words | length == 0"))
    run, _ = bench.run(of(bench, step, called("2", "two")))
    stricter = step.model_copy(update={"options": StepOptions(expect="result.words | length == 1")})
    rescued = of(
        bench, block("1", [stricter.model_copy(update={"path": "1.block.1"})], [called("1.rescue.1", "mend")])
    )
    found = against(bench, run, rescued)
    assert found.divergence is not None
    assert (found.divergence.step, found.divergence.target) == ("1.block.1", "")
    assert (found.divergence.recorded, found.divergence.today) == ("ok", "failed")
    assert found.changes is not None
    assert names(found.changes.added) == ["mend"]
    assert names(found.changes.removed) == ["two"]
    assert [note.name for note in found.changes.unmatched] == ["mend"]


def test_a_gate_that_nobody_decided_then_is_waited_at_unless_it_is_assumed_to_open(bench: Bench) -> None:
    run, _ = bench.run(of(bench, called("1", "one"), called("2", "two")))
    now = of(bench, called("1", "one"), gate("2"), called("3", "two"))
    found = against(bench, run, now)
    assert found.replayed.status == "waiting"
    assert "nobody said then" in found.replayed.reason
    assumed = against(bench, run, now, assume_approved=True)
    assert assumed.replayed.status == "succeeded"
    assert assumed.changes is not None
    assert assumed.changes.assumed == (
        "at gate 'Gate 2' 1 change_manager would agree: nobody was asked then",
    )
    assert names(assumed.changes.added) == ["Gate 2"]


def test_a_gate_that_asks_for_fewer_people_opens_by_those_who_agreed_then(bench: Bench) -> None:
    run, _ = bench.run(of(bench, gate("1", count=2), called("2", "two")))
    bench.approve(run)
    bench.execute(run)
    found = against(bench, run, of(bench, gate("1", count=2), called("2", "two")))
    assert (found.verdict, found.replayed.status) == ("same", "waiting")
    found = against(bench, run, of(bench, gate("1", count=1), called("2", "two")))
    assert (found.replayed.status, found.replayed.reason) == ("unknown", "the record ends here")


def test_a_cancelled_run_is_cancelled_at_the_same_answer(bench: Bench) -> None:
    plan = of(bench, called("1", "one"), action("2", "hook", word="stop"), called("3", "three"))
    run = bench.create(plan)

    def stop() -> None:
        with bench.home() as home:
            request_cancel(home, run, ALEX, "enough")

    HOOKS["stop"] = stop
    try:
        assert bench.execute(run).status == "cancelled"
    finally:
        HOOKS.clear()
    found = against(bench, run, plan)
    assert found.replayed.status == "cancelled"
    assert found.verdict == "same"


def test_secrets_are_neither_fetched_nor_shown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_THEN", "hunter2-hunter2")
    step = action("1", "idempotent", word="{{ token }}", late=["token"])
    plan = of(bench, step, inputs={"token": {"secret": "env:TOKEN_OF_THEN"}})
    run, _ = bench.run(plan)
    monkeypatch.delenv("TOKEN_OF_THEN")
    found = against(bench, run, plan)
    assert found.verdict == "same"
    assert "hunter2" not in json.dumps(found.as_json())


def test_what_a_plan_waits_for_takes_no_time_to_replay(bench: Bench) -> None:
    plan = of(bench, serial("1", [["a"], ["b"]], pause_ms=1), hosts=("a", "b"))
    run, _ = bench.run(plan)
    slower = of(bench, serial("1", [["a"], ["b"]], pause_ms=3_600_000), hosts=("a", "b"))
    found = against(bench, run, slower)
    assert found.replayed.worked_ms >= 3_600_000
    assert found.replayed.status == "succeeded"
    assert found.verdict == "same"
