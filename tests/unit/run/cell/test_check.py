"""Check mode: what it says of each step, and that it changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from builders.plans import a_plan, action, block, call, gate, manual
from builders.world import WORLD, World

from mimrun.app.checking import Forecast, Prospect, check_plan
from mimrun.connector import Difference, Effect, Failed, LostAnswer, Refused, Unreachable
from mimrun.runbook.node import Node, StepOptions
from mimrun.runbook.plan import Plan


def told(plan: Plan) -> dict[str, tuple[str, str]]:
    """Give prospect and detail of each step on each target."""
    seen = [forecast for step in check_plan(plan, WORLD) for forecast in step]
    return {_place(f): (f.prospect.value, f.detail) for f in seen}


def _place(forecast: Forecast) -> str:
    item = f"#{forecast.iteration}" if forecast.iteration else ""
    return f"{forecast.step} {forecast.target}{item}".strip()


def of(world: Path, *nodes: Node, **more: object) -> dict[str, tuple[str, str]]:
    return told(a_plan(world, *nodes, **more))  # type: ignore[arg-type]


def registering(name: str, **more: object) -> StepOptions:
    return StepOptions(register=name, delay_ms=1, **more)  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A world with one word in it."""
    file = tmp_path / "world"
    file.write_text("a w2 key\n")
    return file


def test_what_would_change_and_what_would_not_are_told_apart(world: Path) -> None:
    seen = of(world, action("1", "idempotent", word="new"), action("2", "idempotent", word="w2"))
    assert seen["1 a"] == ("changes", "the word new is added")
    assert seen["2 a"] == ("unchanged", "the word w2 is there")


def test_what_a_connector_cannot_predict_is_unknown_and_never_fine(world: Path) -> None:
    assert of(world, action("1", "once"))["1 a"] == ("unknown", "world.once cannot be predicted")


def test_nothing_is_changed_by_a_check(world: Path) -> None:
    before = world.read_bytes()
    of(world, *(action(str(n), verb) for n, verb in enumerate(("once", "probe", "idempotent", "read"), 1)))
    assert world.read_bytes() == before


def test_a_reading_is_made_and_decides_what_depends_on_it(world: Path) -> None:
    seen = of(
        world,
        action("1", "read", options=registering("seen")),
        action("2", "idempotent", when="seen.words | length == 0"),
        action("3", "idempotent", when="seen.words | length == 1"),
        action("4", "idempotent", late=["seen"], word="{{ seen.words[0] | replace('a:', '') }}"),
    )
    assert seen["1 a"][0] == "read"
    assert seen["2 a"] == ("skipped", "when: seen.words | length == 0")
    assert seen["3 a"][0] == "changes"
    assert seen["4 a"] == ("unchanged", "the word w2 is there")


def test_a_name_that_check_mode_cannot_know_is_unknown_and_not_undefined(world: Path) -> None:
    seen = of(
        world,
        action("1", "once", options=registering("done")),
        action("2", "idempotent", when="done.changed"),
        action("3", "idempotent", late=["done"], word="{{ done.word }}"),
        action("4", "idempotent", loop="{{ done.list }}", late=["item"], word="{{ item }}"),
    )
    for step in ("2 a", "3 a", "4 a"):
        prospect, why = seen[step]
        assert prospect == "unknown"
        assert why.startswith("it depends on 'done', which is not known: step 1 is not done in check mode")


def test_a_default_does_not_hide_that_a_name_is_not_known(world: Path) -> None:
    guess = action("2", "idempotent", when="done.changed | default(false)")
    assert of(world, action("1", "once", options=registering("done")), guess)["2 a"][0] == "unknown"


def test_a_reading_behind_a_possible_change_is_not_taken_for_what_the_run_will_see(world: Path) -> None:
    seen = of(
        world,
        action("1", "idempotent", word="new"),
        action("2", "read", options=registering("after", expect="'a:new' in result.words")),
        action("3", "idempotent", when="after.words"),
    )
    assert seen["2 a"] == ("unknown", "what it reads may be different once step 1 is done")
    assert seen["3 a"][0] == "unknown"


def test_a_reading_behind_steps_that_change_nothing_is_made(world: Path) -> None:
    assert of(world, action("1", "idempotent", word="w2"), action("2", "read"))["2 a"][0] == "read"


def test_a_reading_that_does_not_say_what_is_expected_fails_and_ends_the_look(world: Path) -> None:
    strict = StepOptions(expect="result.words | length == 7", delay_ms=1)
    seen = of(world, action("1", "read", options=strict), action("2", "idempotent"))
    assert seen["1 a"] == ("fails", "expect is not true: result.words | length == 7")
    assert seen["2"] == ("skipped", "the run would have stopped: a would have failed")


def test_a_wait_that_is_not_over_yet_would_wait(world: Path) -> None:
    patient = StepOptions(until="result.words | length == 7", delay_ms=1)
    assert of(world, action("1", "read", options=patient))["1 a"] == (
        "unknown",
        "it would wait: until result.words | length == 7",
    )


def test_an_authors_reading_is_made_only_where_the_author_says_so(world: Path) -> None:
    claimed = call("once", word="w9").model_copy(update={"effect": Effect.READ})
    one = action("1", "once")
    target = one.targets[0].model_copy(update={"calls": (claimed,)})
    quiet = one.model_copy(update={"targets": (target,)})
    seen = of(world, quiet, action("2", "read"))
    assert seen["1 a"][0] == "unknown"
    assert "check_mode: false" in seen["1 a"][1]
    assert seen["2 a"][0] == "read"
    assert "w9" not in world.read_text()
    made = quiet.model_copy(update={"options": StepOptions(check_mode=False)})
    assert of(world, made)["1 a"][0] == "read"


def test_gates_and_manual_steps_ask_and_what_people_leave_is_not_known(world: Path) -> None:
    by_hand = manual("2").model_copy(update={"register_": "ticket"})
    seen = of(world, gate("1"), by_hand, action("3", "idempotent", late=["ticket"], word="{{ ticket.link }}"))
    assert (seen["1"][0], seen["2"][0], seen["3 a"][0]) == ("asks", "asks", "unknown")


def test_a_rescue_of_what_would_not_fail_is_not_looked_at_and_what_is_done_in_any_case_is(
    world: Path,
) -> None:
    inner = block("1", [action("1.block.1", "idempotent")], [action("1.rescue.1")], [action("1.always.1")])
    assert set(of(world, inner)) == {"1.block.1 a", "1.always.1 a"}


def fails(path: str, *hosts: str) -> Node:
    strict = StepOptions(expect=f"inventory_hostname not in {[*hosts]!r}", delay_ms=1)
    return action(path, "read", hosts=["a", "b"], options=strict)


@pytest.mark.parametrize(("failing", "allowed"), [(["a"], 0), (["a", "b"], 1), (["a", "b"], 2)])
def test_a_rescue_is_looked_at_where_its_block_would_fail_and_the_run_goes_on_behind_it(
    world: Path, failing: list[str], allowed: int
) -> None:
    both: Any = {"hosts": ["a", "b"]}
    node = block(
        "1",
        [fails("1.block.1", *failing), action("1.block.2", "idempotent", **both)],
        [action("1.rescue.1", "idempotent", **both)],
        [action("1.always.1", "idempotent", **both)],
    )
    behind = action("2", "idempotent", word="behind", **both)
    plan = a_plan(world, node, behind, hosts=["a", "b"], failures=allowed)
    seen = told(plan)
    assert [seen[f"1.block.1 {host}"][0] for host in failing] == ["fails"] * len(failing)
    assert seen["1.block.2"][0] == "skipped"
    assert seen["1.block.2"][1].startswith("its block would have stopped: a")
    for step in ("1.rescue.1", "1.always.1", "2"):
        assert {seen[f"{step} {host}"][0] for host in "ab"} == {"changes"}, step
    assert all(f.tolerated for step in check_plan(plan, WORLD) for f in step if f.prospect is Prospect.FAILS)


def test_a_failure_that_the_run_may_lose_is_not_rescued(world: Path) -> None:
    node = block("1", [fails("1.block.1", "a")], [action("1.rescue.1", "idempotent", hosts=["a", "b"])])
    later = action("2", "idempotent", hosts=["a", "b"])
    seen = told(a_plan(world, node, later, hosts=["a", "b"], failures=1))
    assert not any(place.startswith("1.rescue") for place in seen)
    assert {place for place in seen if place.startswith("2")} == {"2 b"}


def test_a_rescue_that_would_fail_itself_ends_the_run_behind_what_is_done_in_any_case(world: Path) -> None:
    node = block(
        "1", [fails("1.block.1", "a")], [fails("1.rescue.1", "a", "b")], [action("1.always.1", "idempotent")]
    )
    steps = list(check_plan(a_plan(world, node, action("2"), hosts=["a", "b"]), WORLD))
    seen = {_place(f): (f.prospect.value, f.tolerated) for step in steps for f in step}
    assert seen["1.block.1 a"] == ("fails", True)
    assert seen["1.rescue.1 a"] == ("fails", False)
    assert seen["1.always.1 a"] == ("changes", False)
    assert seen["2"] == ("skipped", False)


def test_what_a_step_here_may_have_prepared_may_cure_a_failure_elsewhere(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "bad")
    here = action("1", "once", hosts=["localhost"])
    seen = told(a_plan(world, here, action("2", word="bad"), hosts=["a", "localhost"]))
    assert seen["2 a"][0] == "unknown"


def test_each_item_of_a_loop_has_its_own_answer(world: Path) -> None:
    seen = of(world, action("1", "idempotent", loop=["w2", "x"], late=["item"], word="{{ item }}"))
    assert (seen["1 a"][0], seen["1 a#1"][0]) == ("unchanged", "changes")


def test_each_host_has_its_own_answer_and_one_that_fails_takes_no_part_any_more(world: Path) -> None:
    strict = StepOptions(expect="inventory_hostname == 'a'", delay_ms=1)
    steps = (
        action("1", "read", hosts=["a", "b"], options=strict),
        action("2", "idempotent", hosts=["a", "b"]),
    )
    plan = a_plan(world, *steps, hosts=["a", "b"]).model_copy(update={"max_failures": 1})
    seen = told(Plan.decode(plan.encode()))
    assert (seen["1 a"][0], seen["1 b"][0]) == ("read", "fails")
    assert set(seen) == {"1 a", "1 b", "2 a"}


def test_a_check_that_breaks_is_unknown(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: World, action: object, call: object) -> object:
        raise OSError("no route")

    monkeypatch.setattr(World, "_check", broken)
    assert of(world, action("1", "once"))["1 a"] == ("unknown", "the check failed: no route")


@pytest.mark.parametrize("kind", [Unreachable, Refused])
def test_what_cannot_be_reached_or_refuses_would_fail(
    world: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def closed(self: World) -> None:
        raise kind("nobody lets us in")

    monkeypatch.setattr(World, "open", closed)
    seen = of(world, action("1", "once"), action("2", "once"))
    assert seen["1 a"] == ("fails", "nobody lets us in")
    assert seen["2"] == ("skipped", "the run would have stopped: a would have failed")


def test_a_lost_answer_is_unknown(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(self: World, action: object, call: object) -> Difference:
        raise LostAnswer("reset")

    monkeypatch.setattr(World, "_check", lost)
    assert of(world, action("1", "once"))["1 a"] == ("unknown", "the check failed: reset")


def refusing(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """Have the world say beforehand that it would not take a word."""
    normal = World._check

    def check(self: World, action: Any, call: Any) -> Difference:
        no = Difference(None, f"it would not take {word}", fails=True)
        return no if action.word == word else normal(self, action, call)

    monkeypatch.setattr(World, "_check", check)


def test_what_a_connector_knows_to_fail_now_fails(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, "bad")
    plan = a_plan(world, action("1", word="bad"))
    (forecast,) = (forecast for step in check_plan(plan, WORLD) for forecast in step)
    assert (forecast.prospect, forecast.detail) == (Prospect.FAILS, "it would not take bad")
    assert not forecast.tolerated


def test_what_a_step_before_it_may_cure_on_the_same_target_is_unknown(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "bad")
    cure, ill = action("1", hosts=["a"]), action("2", hosts=["a", "b"], word="bad")
    plan = a_plan(world, cure, ill, hosts=["a", "b"])
    seen = told(plan)
    assert seen["2 a"] == (
        "unknown",
        "it fails as long as step 1 has not changed that: it would not take bad",
    )
    assert seen["2 b"] == ("fails", "it would not take bad")
    by_hand = of(world, manual("1"), action("2", word="bad"))
    assert by_hand["2 a"][0] == "unknown"
    loop = of(world, action("1", loop=["new", "bad"], late=["item"], word="{{ item }}"))
    assert (loop["1 a"][0], loop["1 a#1"][0]) == ("unknown", "unknown")


def test_a_failure_that_is_ignored_is_shown_and_does_not_end_the_look(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: World, action: object, call: object) -> Failed:
        return Failed("exit status 1", clean=True)

    monkeypatch.setattr(World, "_perform", failing)
    plan = a_plan(
        world,
        action("1", "read", options=registering("seen", ignore_errors=True)),
        action("2", "idempotent", when="seen.words"),
    )
    seen = [forecast for step in check_plan(plan, WORLD) for forecast in step]
    assert [(f.prospect, f.tolerated) for f in seen] == [(Prospect.FAILS, True), (Prospect.UNKNOWN, False)]
    assert seen[0].as_json()["tolerated"] is True
    assert seen[1].detail == "it depends on 'seen', which is not known: step 1 failed: exit status 1"


def test_what_a_step_that_would_fail_leaves_is_not_known(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "bad")
    lenient = registering("done", ignore_errors=True)
    seen = of(world, action("1", options=lenient, word="bad"), action("2", when="done.changed"))
    assert seen["2 a"][1].endswith("step 1 would fail: it would not take bad")


def test_the_nearest_possible_change_before_a_reading_is_named(world: Path) -> None:
    same = action("3", "idempotent", word="w2")
    seen = of(world, action("1"), action("2"), same, action("4", "read"))
    assert seen["4 a"] == ("unknown", "what it reads may be different once step 2 is done")


def test_a_step_that_cannot_be_rendered_fails_before_it_is_asked(world: Path) -> None:
    seen = of(
        world,
        action("1", "read", options=registering("seen")),
        action("2", "idempotent", late=["seen"], word="{{ seen.nothing }}"),
    )
    assert seen["2 a"][0] == "fails"


@pytest.mark.parametrize("prospect", list(Prospect))
def test_every_prospect_has_a_style(prospect: Prospect) -> None:
    from mimrun.cli.check_view import STYLES  # noqa: PLC0415 - a door, for this one test

    assert STYLES[prospect]
