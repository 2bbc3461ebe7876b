"""The contract that every connector stands on: `perform` lets nothing out but an outcome."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.connector import (
    Action,
    Call,
    Connector,
    ConnectorError,
    Difference,
    Effect,
    Failed,
    Field,
    Finding,
    LostAnswer,
    Ok,
    Outcome,
    Output,
    Probed,
    Refused,
    Secret,
    Settings,
    Target,
    Unknown,
    Unreachable,
)
from mimrun.secret import MASK, Masker

CANARY = "correct horse battery"


class Press(Action):
    """Press the button."""

    verb = "press"
    effect = Effect.ONCE

    times: int = Field(1, ge=1, description="How often.")
    label: str | None = Field(None, description="Which button.")


class PanelSettings(Settings):
    """How to reach the panel."""

    inventory_hostname: str
    port: int = Field(22, alias="panel_port")


class Panel(Connector[PanelSettings, Press]):
    """A connector that does what the test tells it."""

    name = "panel"
    settings_type = PanelSettings
    actions = (Press,)

    def __init__(self, body: Callable[[Call], object], opening: Exception | None = None) -> None:
        super().__init__(PanelSettings.of(Target("panel-1")))
        self.body = body
        self.opening = opening

    def open(self) -> None:
        if self.opening:
            raise self.opening

    def close(self) -> None:
        pass

    def _perform(self, action: Press, call: Call) -> Outcome:
        return self.body(call)

    def _probe(self, action: Press, call: Call) -> Probed:
        return self.body(call)

    def _check(self, action: Press, call: Call) -> Difference:
        return self.body(call)


class Plain(Connector[PanelSettings, Press]):
    """A connector that can neither probe nor predict."""

    name = "plain"
    settings_type = PanelSettings
    actions = (Press,)

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _perform(self, action: Press, call: Call) -> Outcome:
        return Ok(changed=True)


def raising(error: BaseException) -> Callable[[Call], object]:
    def body(call: Call) -> object:
        raise error

    return body


def a_call(secret: str = CANARY) -> Call:
    return Call(key="k", deadline=time.monotonic() + 60, output=Output(Masker([Secret(secret)])))


SURE = [
    (Unreachable("no route"), Failed("no route", clean=True, unreachable=True)),
    (Refused("not you"), Failed("not you", clean=True)),
    (LostAnswer("reset"), Unknown("reset")),
]
UNSURE = [
    ConnectorError("odd"),
    TimeoutError("late"),
    ConnectionResetError("gone"),
    KeyError("bug"),
    OSError(5, "io"),
]


@pytest.mark.parametrize(("error", "outcome"), SURE)
def test_only_listed_errors_may_say_that_nothing_happened(error: Exception, outcome: Outcome) -> None:
    assert Panel(raising(error)).perform(Press(), a_call()) == outcome
    assert Panel(raising(error), opening=error).perform(Press(), a_call()) == outcome


@pytest.mark.parametrize("error", UNSURE, ids=lambda e: type(e).__name__)
def test_any_other_error_leaves_the_outcome_unknown(error: Exception) -> None:
    for panel in (Panel(raising(error)), Panel(raising(error), opening=error)):
        outcome = panel.perform(Press(), a_call())
        assert isinstance(outcome, Unknown)
        assert outcome.reason.startswith(f"panel.press broke: {type(error).__name__}: ")


@pytest.mark.parametrize("answer", [None, "ok", True, Probed(Finding.APPLIED, "")])
def test_an_answer_that_is_no_outcome_is_unknown(answer: object) -> None:
    outcome = Panel(lambda call: answer).perform(Press(), a_call())
    assert isinstance(outcome, Unknown)
    assert type(answer).__name__ in outcome.reason


@pytest.mark.parametrize("stopper", [KeyboardInterrupt(), SystemExit(3)])
def test_being_told_to_stop_is_not_caught_and_the_output_is_kept(stopper: BaseException) -> None:
    def body(call: Call) -> object:
        call.output.feed(stdout=b"half")
        raise stopper

    call = a_call()
    with pytest.raises(type(stopper)):
        Panel(body).perform(Press(), call)
    assert call.output.stdout.text() == "half"


def test_outcomes_come_through_as_they_are() -> None:
    for outcome in (Ok(changed=True, data={"n": 1}), Failed("no", clean=False), Unknown("?", {"pid": 7})):
        assert Panel(lambda call, outcome=outcome: outcome).perform(Press(), a_call()) == outcome


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.just(f"<{CANARY}>"),
        lambda s: st.lists(s) | st.dictionaries(st.text() | st.just(CANARY), s),
    )
)
def test_no_secret_leaves_in_the_data_of_an_outcome(value: object) -> None:
    for outcome in (
        Ok(changed=False, data={"v": value}),
        Failed("no", clean=False, data={"v": value}),
        Unknown("?", data={"v": value}),
    ):
        assert CANARY not in repr(Panel(lambda call, outcome=outcome: outcome).perform(Press(), a_call()))


def test_no_secret_leaves_in_the_words_of_an_error() -> None:
    call = a_call()
    words = f"login failed for {CANARY}"
    for error in (Unreachable(words), Refused(words), LostAnswer(words), ValueError(words)):
        panel = Panel(raising(error))
        answers = (panel.perform(Press(), call), panel.probe(Press(), call), panel.check(Press(), call))
        for answer in answers:
            assert CANARY not in repr(answer)
            assert f"login failed for {MASK}" in repr(answer)


@pytest.mark.parametrize("error", [e for e, _ in SURE] + UNSURE, ids=lambda e: type(e).__name__)
def test_a_probe_or_a_check_that_cannot_ask_does_not_know(error: Exception) -> None:
    for panel in (Panel(raising(error)), Panel(lambda call: None, opening=error)):
        assert panel.probe(Press(), a_call()).finding is Finding.UNKNOWN
        assert panel.check(Press(), a_call()).changes is None


def test_answers_of_probe_and_check_come_through() -> None:
    probed = Probed(Finding.NOT_APPLIED, "nothing is there")
    difference = Difference(False, "as it should be")
    assert Panel(lambda call: probed).probe(Press(), a_call()) == probed
    assert Panel(lambda call: difference).check(Press(), a_call()) == difference


def test_no_secret_leaves_in_what_a_probe_found_out() -> None:
    failed = Failed("exit code 3: hunter2", clean=False, data={"rc": 3, "stderr": "hunter2"})
    found = Panel(lambda call: Probed(Finding.APPLIED, "it ran", outcome=failed))
    masked = Failed("exit code 3: *****", clean=False, data={"rc": 3, "stderr": "*****"})
    assert found.probe(Press(), a_call("hunter2")).outcome == masked


def test_a_connector_that_says_nothing_about_probing_does_not_know() -> None:
    plain = Plain(PanelSettings.of(Target("panel-1")))
    assert plain.probe(Press(), a_call()) == Probed(Finding.UNKNOWN, "plain.press cannot be probed")
    assert plain.check(Press(), a_call()) == Difference(None, "plain.press cannot be predicted")


def test_settings_are_read_from_the_variables_of_the_target() -> None:
    settings = PanelSettings.of(Target("panel-1", {"panel_port": 2222, "unrelated": [1]}))
    assert (settings.inventory_hostname, settings.port) == ("panel-1", 2222)


def test_variables_that_do_not_fit_are_refused_with_their_names() -> None:
    with pytest.raises(Refused, match=r"panel-1: its inventory variables do not fit: panel_port: .*integer"):
        PanelSettings.of(Target("panel-1", {"panel_port": "high"}))


def test_an_action_says_in_one_line_what_it_will_do() -> None:
    assert Press(times=3, label="red").summary() == "times=3, label='red'"
    assert Press().summary() == ""
    assert Press().effect_class() is Effect.ONCE


def test_a_call_knows_how_long_it_has() -> None:
    assert 0 < Call(key="k", deadline=time.monotonic() + 5).left() <= 5
    assert Call(key="k", deadline=time.monotonic() - 5).left() == 0
