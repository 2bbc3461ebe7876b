"""The effect class of a call: what is known of it before all of its arguments are."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import JsonValue

from mimrun.catalog import Catalog, installed_catalog
from mimrun.connector import Action, AnyConnector, Connector, Effect, Field, Settings
from mimrun.runbook.inventory import parse_inventory
from mimrun.runbook.lint import lint
from mimrun.runbook.lint_call import effect_of
from mimrun.runbook.loader import parse_runbook
from mimrun.runbook.node import PlannedAction, PlannedCall
from mimrun.runbook.planner import make_plan
from mimrun.runbook.render import render_call

HEAD = """\
schema: mimrun/1
name: small
version: 1.0.0
title: Small
stage: containment
owner: me
risk: high
limits: {hosts: 1}
steps:
  - {name: ask, http.request: {url: "http://127.0.0.1/"}, register: answer}
"""


class Send(Action):
    """Send a message."""

    verb = "send"
    effect = Effect.ONCE
    effect_fields = frozenset({"mode", "sure"})
    text: str = Field(description="What to say.")
    mode: Literal["dry", "real"] = Field("real", description="Whether to send it.")
    sure_: bool = Field(default=False, alias="sure", description="Whether the other side knows repeats.")

    def effect_class(self) -> Effect:
        if self.mode == "dry":
            return Effect.READ
        return Effect.IDEMPOTENT if self.sure_ else Effect.ONCE


class Silent(Send):
    """Does not say what its class hangs on."""

    effect_fields = frozenset()


@pytest.mark.parametrize(
    ("args", "effect"),
    [
        ({"text": "{{ x }}"}, Effect.ONCE),
        ({"text": "{{ x }}", "mode": "dry"}, Effect.READ),
        ({"text": "{{ x }}", "sure": True}, Effect.IDEMPOTENT),
        ({"text": "{{ x }}", "sure": "false"}, Effect.ONCE),
        ({"text": "{{ x }}", "sure": "true"}, Effect.IDEMPOTENT),
        ({"text": "a", "mode": "{{ x }}"}, Effect.ONCE),
        ({"text": "a", "mode": "dry", "sure": "{{ x }}"}, Effect.ONCE),
        ({"text": "{{ x }}", "mode": "wet"}, Effect.ONCE),
        ({"text": "{{ x }}", "mode": "dry", "nonsense": 1}, Effect.READ),
        ({"text": "a", "mode": "dry"}, Effect.READ),
        ({"text": [5], "mode": "dry"}, Effect.ONCE),
    ],
)
def test_the_class_is_known_as_soon_as_what_it_hangs_on_is(
    args: dict[str, JsonValue], effect: Effect
) -> None:
    assert effect_of(Send, args) is effect


def test_an_action_that_does_not_say_what_its_class_hangs_on_has_its_weakest() -> None:
    assert effect_of(Silent, {"text": "{{ x }}", "mode": "dry"}) is Effect.ONCE
    assert effect_of(Silent, {"text": "a", "mode": "dry"}) is Effect.READ


def planned(step: str) -> PlannedAction:
    loaded, catalog = parse_runbook(f"{HEAD}  - {{name: it, {step}}}\n"), installed_catalog()
    node = make_plan(loaded, {}, parse_inventory(""), catalog, {}).node("2")
    assert isinstance(node, PlannedAction)
    return node


@pytest.mark.parametrize(
    ("step", "effect"),
    [
        ('http.request: {url: "/{{ answer.status }}"}', Effect.READ),
        ('http.request: {url: "/{{ answer.status }}", method: PUT}', Effect.IDEMPOTENT),
        ('http.request: {url: "/", method: POST, body: "{{ answer.status }}"}', Effect.ONCE),
        (
            'http.request: {url: "/{{ answer.status }}", method: POST, idempotency_key: true}',
            Effect.IDEMPOTENT,
        ),
        (
            'postgres.execute: {sql: "{{ answer.status }}", applied_table: ours.done}',
            Effect.PROBE,
        ),
        ('local.command: {argv: [touch, "/tmp/{{ answer.status }}"]}', Effect.ONCE),
        ('local.command: {argv: [touch, "/tmp/{{ answer.status }}"], creates: /tmp/x}', Effect.PROBE),
        ('local.command: {argv: [x], creates: "/tmp/{{ answer.status }}"}', Effect.ONCE),
        ('ssh.service: {unit: "a{{ answer.status }}", state: started}', Effect.IDEMPOTENT),
        ('ssh.service: {unit: "a{{ answer.status }}", state: restarted}', Effect.PROBE),
    ],
)
def test_the_class_that_the_plan_shows_is_the_one_that_is_used(step: str, effect: Effect) -> None:
    call = planned(step).targets[0].calls[0]
    assert (call.effect, call.late) == (effect, ("answer",))
    done = render_call(call, installed_catalog(), {"answer": {"status": 200}})
    assert (done.effect, done.late) == (effect, ())


def test_what_an_answer_makes_of_a_call_does_not_weaken_the_class_that_was_approved() -> None:
    (target,) = planned(
        "http.request: {url: /, method: \"{{ 'GET' if answer.status else 'POST' }}\"}"
    ).targets
    done = render_call(target.calls[0], installed_catalog(), {"answer": {"status": 200}})
    assert (done.args["method"], done.effect) == ("GET", Effect.ONCE)


def test_a_stricter_claim_of_the_author_is_not_forgotten_when_the_call_is_filled_in() -> None:
    claim = 'http.request: {url: "/{{ answer.status }}"}, effect: {class: once}'
    (target,) = planned(claim).targets
    call: PlannedCall = render_call(target.calls[0], installed_catalog(), {"answer": {"status": 200}})
    assert call.effect is Effect.ONCE


def test_a_reading_with_a_template_may_be_retried_looked_at_and_waited_for() -> None:
    catalog = installed_catalog()
    for step in (
        'http.request: {url: "/{{ answer.status }}"}, retries: 3',
        'http.request: {url: "/{{ answer.status }}"}, check_mode: false',
        'wait: {http.request: {url: "/{{ answer.status }}"}, until: result.status == 200, deadline: 1m}',
        'wait.duration: {for: 1s}, verify: {http.request: {url: "/{{ answer.status }}"}}',
    ):
        assert not lint(parse_runbook(f"{HEAD}  - {{name: it, {step}}}\n"), catalog)


def test_an_action_of_somebody_else_keeps_its_class_under_a_catalog_of_its_own() -> None:
    class Post(Connector[Settings, Send]):
        name = "post"
        settings_type = Settings
        actions = (Send,)

    post: type[AnyConnector] = Post  # type: ignore[type-abstract]  # abstract: it is planned and never done
    source = HEAD.replace('http.request: {url: "http://127.0.0.1/"}', "post.send: {text: hello, mode: dry}")
    source += '  - {name: it, post.send: {text: "{{ answer.status }}", mode: dry}}\n'
    plan = make_plan(parse_runbook(source), {}, parse_inventory(""), Catalog({"post": post}), {})
    node = plan.node("2")
    assert isinstance(node, PlannedAction)
    assert node.targets[0].calls[0].effect is Effect.READ
