from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.connector import Effect
from mimrun.errors import InputError, PlanError
from mimrun.runbook.node import PlannedAction, PlannedCall, PlannedCheck, PlannedManual, TargetCalls
from mimrun.runbook.render import render_call, render_nodes


def call(*argv: str, late: tuple[str, ...] = (), effect: Effect = Effect.ONCE) -> PlannedCall:
    return PlannedCall(action="ssh.command", args={"argv": list(argv)}, late=late, effect=effect)


def node(calls: PlannedCall, *, loop: JsonValue = None, undo: PlannedCall | None = None) -> PlannedAction:
    target = TargetCalls(target="h1", calls=(calls,), undo=(undo,) if undo else ())
    return PlannedAction(path="1", name="a", action="ssh.command", targets=(target,), loop=loop)


def test_a_call_is_filled_in_and_checked_just_before_it_is_done(catalog: Catalog) -> None:
    done = render_call(call("echo", "{{ answer.x }}", late=("answer",)), catalog, {"answer": {"x": "y"}})
    assert (done.args, done.late) == ({"argv": ["echo", "y"]}, ())


def test_a_check_stays_a_check(catalog: Catalog) -> None:
    check = PlannedCheck(
        action="wait.port", args={"port": "{{ p }}"}, late=("p",), effect=Effect.READ, expect="x"
    )
    done = render_call(check, catalog, {"p": 80})
    assert isinstance(done, PlannedCheck)
    assert (done.args, done.expect) == ({"port": 80}, "x")


def test_a_name_that_is_still_missing_is_an_error(catalog: Catalog) -> None:
    with pytest.raises(PlanError, match=r"ssh\.command: argv\.1: 'answer' is undefined"):
        render_call(call("echo", "{{ answer }}", late=("answer",)), catalog, {})


def test_arguments_that_do_not_fit_are_an_error_that_does_not_show_them(catalog: Catalog) -> None:
    late = PlannedCall(action="wait.port", args={"port": "{{ key }}"}, late=("key",), effect=Effect.READ)
    with pytest.raises(PlanError, match=r"wait\.port: its arguments do not fit: port") as caught:
        render_call(late, catalog, {"key": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_an_answer_that_would_become_an_option_is_refused(catalog: Catalog) -> None:
    with pytest.raises(PlanError, match="begins with a dash and would be an option; it comes from answer"):
        render_call(call("rm", "{{ answer }}", late=("answer",)), catalog, {"answer": "-rf"})
    done = render_call(call("rm", "--", "{{ answer }}", late=("answer",)), catalog, {"answer": "-rf"})
    assert done.args == {"argv": ["rm", "--", "-rf"]}


def test_an_action_that_is_not_installed_is_an_error(catalog: Catalog) -> None:
    with pytest.raises(InputError, match="no connector 'gone'"):
        render_call(PlannedCall(action="gone.x", args={}, effect=Effect.READ), catalog, {})


@given(st.one_of(st.text(max_size=30), st.sampled_from(["{{ x }}", "{% if x %}", "{{ x", "{# x #}"])))
def test_what_is_rendered_is_never_rendered_again(text: str) -> None:
    (once,) = render_nodes([node(call("echo", "<{{ word }}", late=("word",)))], lambda *_: {"word": text})
    (twice,) = render_nodes([once], lambda *_: {"word": "other", "x": "boom"})
    assert isinstance(twice, PlannedAction)
    assert twice.targets[0].calls[0].args == {"argv": ["echo", f"<{text}"]}
    assert twice == once


def test_at_a_gate_what_is_known_is_filled_in_and_the_rest_waits() -> None:
    nodes = [node(call("echo", "{{ a }}", late=("a",)), undo=call("x", "{{ captured }}", late=("captured",)))]
    (filled,) = render_nodes(nodes, lambda target, _: {"a": target})
    assert isinstance(filled, PlannedAction)
    assert filled.targets[0].calls[0] == call("echo", "h1")
    assert filled.targets[0].undo[0].late == ("captured",)


def test_a_call_is_filled_in_whole_or_not_at_all() -> None:
    late = call("echo", "{{ a }}", "{{ b }}", late=("a", "b"))
    (filled,) = render_nodes([node(late)], lambda *_: {"a": "{{ b }}"})
    assert isinstance(filled, PlannedAction)
    assert filled.targets[0].calls[0] == late


def test_at_a_gate_a_loop_that_is_known_by_then_is_written_out() -> None:
    late = call("echo", "{{ item.x }}", late=("answer", "item"))
    again = call("undo", "{{ item.x }}", late=("answer", "item"))
    (filled,) = render_nodes(
        [node(late, loop="{{ answer.rows }}", undo=again)],
        lambda *_: {"answer": {"rows": [{"x": "1"}, {"x": "2"}]}},
    )
    assert isinstance(filled, PlannedAction)
    (target,) = filled.targets
    assert target.items == ({"x": "1"}, {"x": "2"})
    assert [c.args["argv"] for c in target.calls] == [["echo", "1"], ["echo", "2"]]
    assert [c.args["argv"] for c in target.undo] == [["undo", "1"], ["undo", "2"]]
    assert filled.loop == "{{ answer.rows }}"


@pytest.mark.parametrize("answer", [{}, {"rows": 5}, {"rows": [{}]}])
def test_at_a_gate_what_has_no_value_stays_as_the_author_wrote_it(answer: JsonValue) -> None:
    late = call("echo", "{{ item.x }}", late=("answer", "item"))
    (filled,) = render_nodes([node(late, loop="{{ answer.rows }}")], lambda *_: {"answer": answer})
    assert isinstance(filled, PlannedAction)
    assert filled.targets[0].calls[0] == late


def test_instructions_are_filled_in_unless_a_value_has_braces() -> None:
    manual = PlannedManual(path="1", name="m", role=None, instructions="do {{ a }}", late=("a",))
    (filled,) = render_nodes([manual], lambda *_: {"a": "it"})
    assert isinstance(filled, PlannedManual)
    assert (filled.instructions, filled.late) == ("do it", ())
    (kept,) = render_nodes([manual], lambda *_: {"a": "{{ b }}"})
    assert kept == manual
