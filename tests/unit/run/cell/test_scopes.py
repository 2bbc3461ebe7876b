"""Names in included runbooks and branches: each sees its own, and hands on what it may."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.plans import a_plan, action, block, gate, include, manual, parallel
from builders.runs import ALEX, Bench
from builders.world import words
from hypothesis import given
from hypothesis import strategies as st

from mimrun.app.decisions import attest, pending_gate
from mimrun.run.cell.answer import recall_all
from mimrun.run.cell.facts import Condition, Facts
from mimrun.run.cell.scopes import Answer, Answers, scopes_of
from mimrun.runbook.node import StepOptions
from mimrun.runbook.plan import Plan

HERE = Path("/world")
LOOKING = StepOptions(register_="seen", delay_ms=1)


def nested(inner_secret: str = "env:INNER") -> Plan:
    """Give a plan with an include in a branch of an include."""
    deep = include("1.include.1.branch.2.include.1", action("1.include.1.branch.2.include.1.include.1"))
    inside = parallel(
        "1.include.1",
        action("1.include.1.branch.1"),
        include("1.include.1.branch.2", deep.steps[0], inputs={"word": "deep"}),
    )
    outer = include(
        "1",
        inside,
        action("1.include.2"),
        inputs={"word": "inner", "token": {"secret": inner_secret}},
        vars_={"constant": "inner"},
    )
    plan = a_plan(HERE, outer, action("2"), hosts=["a", "b"], inputs={"word": "outer"})
    return plan.model_copy(update={"vars": {"constant": "outer", "only": "outer"}})


def test_an_included_runbook_sees_its_own_inputs_and_constants_and_nothing_of_the_one_around() -> None:
    facts = Facts(nested())
    inner, outer = facts.variables("a", path="1.include.2"), facts.variables("a", path="2")
    assert (inner["word"], inner["constant"]) == ("inner", "inner")
    assert "only" not in inner
    assert (outer["word"], outer["constant"], outer["only"]) == ("outer", "outer", "outer")
    assert inner["colour"] == outer["colour"] == "ca", "a host's variables are the same everywhere"
    assert facts.variables("a", path="1")["word"] == "outer", "the include itself stands outside"


def test_a_branch_of_an_included_runbook_belongs_to_it() -> None:
    facts = Facts(nested())
    assert facts.variables("a", path="1.include.1.branch.1")["word"] == "inner"
    assert facts.variables("a", path="1.include.1.branch.2.include.1.include.1")["word"] == "deep"


def test_what_an_included_runbook_registers_stays_within_it() -> None:
    facts = Facts(nested())
    facts.register("seen", "a", "inside", source=5, path="1.include.2")
    facts.register("seen", "a", "outside", source=6, path="2")
    assert facts.variables("a", path="1.include.2")["seen"] == "inside"
    assert facts.variables("a", path="2")["seen"] == "outside"
    inner = facts.variables("a", path="1.include.2")["hostvars"]
    assert isinstance(inner, dict)
    assert isinstance(inner["a"], dict)
    assert inner["a"]["seen"] == "inside"


def test_a_secret_of_an_included_runbook_is_revealed_to_its_own_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INNER", "hunter2-inner")
    facts = Facts(nested())
    assert facts.variables("a", path="1.include.2", secrets=["token"])["token"] == "hunter2-inner"
    assert "token" not in facts.variables("a", path="2", secrets=["token"])
    assert facts.hidden(["token"], path="1.include.2").keys() == {"token"}
    assert not facts.hidden(["token"], path="2")


def test_a_condition_means_what_its_names_mean_where_it_stands() -> None:
    facts = Facts(nested())
    outside, inside = Condition("1", "word == 'outer'"), Condition("1.include.2", "word == 'inner'")
    assert facts.unmet([outside, inside], "a") is None
    assert facts.unmet([inside, Condition("1", "word == 'inner'")], "a") == Condition("1", "word == 'inner'")


def test_every_node_has_a_scope_and_blocks_make_none() -> None:
    plan = a_plan(
        HERE,
        block("1", [action("1.block.1")]),
        parallel("2", block("2.branch.1", [action("2.branch.1.block.1")])),
        handlers=[action("h1")],
    )
    scopes = scopes_of(plan)
    assert scopes.keys() == {node.path for node in plan.walk()}
    assert scopes["1.block.1"].path == scopes["2"].path == scopes["h1"].path == ""
    assert scopes["2.branch.1"].path == scopes["2.branch.1.block.1"].path == "2.branch.1"
    assert scopes["2.branch.1"].outer == ""


@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.sampled_from(["a", "b", ""]), st.integers(0, 3)), max_size=12
    )
)
def test_what_a_target_sees_is_its_own_or_what_one_alone_has_given(told: list[tuple[str, str, int]]) -> None:
    answers = Answers({"a": {}, "b": {}})
    for source, (name, target, value) in enumerate(told):
        answers.register(Answer(name, target, value, source))
    for target in ("a", "b", ""):
        expected: dict[str, int] = {}
        for name in "xyz":
            given_by = {giver: value for n, giver, value in told if n == name}
            if target in given_by:
                expected[name] = given_by[target]
            elif len(given_by) == 1:
                (expected[name],) = given_by.values()
        assert answers.seen_by(target) == expected
        assert answers.fork().seen_by(target) == expected


def test_steps_of_an_included_runbook_are_done_with_its_names(bench: Bench) -> None:
    inside = include(
        "1",
        action("1.include.1", late=["word"], word="{{ word }}", options=LOOKING),
        action("1.include.2", late=["seen"], when="seen.word == word", word="{{ seen.word }}-again"),
        inputs={"word": "inner"},
        when="word == 'outer'",
    )
    behind = action("2", when="seen is defined", word="leaked")
    plan = a_plan(
        bench.world, inside, behind, action("3", late=["word"], word="{{ word }}"), inputs={"word": "outer"}
    )
    run, verdict = bench.run(plan)
    assert verdict.status == "succeeded", verdict.detail
    assert words(bench.world) == ["a:inner", "a:inner-again", "a:outer"]
    assert bench.state(run).finished["2"] == "skipped"


def test_a_gate_in_an_included_runbook_shows_what_is_known_there(bench: Bench) -> None:
    inside = include(
        "1",
        action("1.include.1", word="first", options=LOOKING),
        gate("1.include.2"),
        action("1.include.3", late=["seen", "word"], word="{{ seen.word }}-{{ word }}"),
        inputs={"word": "inner"},
    )
    plan = a_plan(
        bench.world, inside, action("2", late=["word"], word="{{ word }}"), inputs={"word": "outer"}
    )
    run, verdict = bench.run(plan)
    assert verdict.status == "waiting"
    with bench.home() as home:
        pending = pending_gate(home, run)
    shown = [call.args["word"] for node in pending.segment.nodes for t in node.targets for call in t.calls]  # type: ignore[union-attr]
    assert shown == ["first-inner", "outer"]
    bench.approve(run)
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:first", "a:first-inner", "a:outer"]


def test_a_manual_step_in_an_included_runbook_keeps_its_evidence_there(bench: Bench) -> None:
    asks = manual("1.include.1", instructions="Look").model_copy(update={"register_": "told"})
    inside = include("1", asks, action("1.include.2", late=["told"], word="by-{{ told.by }}"))
    run, _ = bench.run(a_plan(bench.world, inside, action("2", when="told is defined")))
    with bench.home() as home:
        attest(home, run, ALEX, {})
    assert bench.execute(run).status == "succeeded"
    assert words(bench.world) == ["a:by-alex"]


def test_what_a_run_knew_in_the_end_is_taken_up_as_it_was(bench: Bench) -> None:
    join = parallel(
        "1",
        action("1.branch.1", word="left", options=LOOKING),
        include("1.branch.2", action("1.branch.2.include.1", word="inner", options=LOOKING)),
    )
    plan = a_plan(bench.world, join, action("2"))
    run, _ = bench.run(plan)
    facts = Facts(plan)
    with bench.home() as home:
        recall_all(plan, bench.state(run), home.store, facts)
    seen = facts.variables("a", path="2")["seen"]
    inner = facts.variables("a", path="1.branch.2.include.1")["seen"]
    assert isinstance(seen, dict)
    assert isinstance(inner, dict)
    assert (seen["word"], inner["word"]) == ("left", "inner")
