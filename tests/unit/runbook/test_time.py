"""Waiting, deadlines, and what is undone by itself: how they are planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from mimrun.catalog import Catalog
from mimrun.connector import Effect
from mimrun.errors import PlanError
from mimrun.runbook.inventory import parse_inventory
from mimrun.runbook.loader import parse_runbook
from mimrun.runbook.node import PlannedAction
from mimrun.runbook.plan import Plan
from mimrun.runbook.planner import make_plan

HEAD = """\
schema: mimrun/1
name: small
version: 1.0.0
title: Small
stage: containment
owner: me
risk: low
hosts: web1
"""
Planner = Callable[[str], PlannedAction]


@pytest.fixture
def first(catalog: Catalog, versions: Mapping[str, str]) -> Planner:
    def make(step: str) -> PlannedAction:
        loaded = parse_runbook(HEAD + f"steps: [{{name: a, {step}}}]\n")
        plan = make_plan(loaded, {}, parse_inventory("web1 port=80"), catalog, versions)
        assert Plan.decode(plan.encode()) == plan
        node = plan.node("1")
        assert isinstance(node, PlannedAction)
        return node

    return make


def test_a_wait_is_a_reading_that_is_repeated_until_its_deadline(first: Planner) -> None:
    node = first("wait: {postgres.query: {sql: x}, until: result.ok, deadline: 5m, every: 10s}, register: r")
    options = node.options
    assert (options.until, options.delay_ms, options.deadline_ms) == ("result.ok", 10_000, 300_000)
    assert options.retries == 30, "as many as can begin before the deadline"
    assert options.register_ == "r"
    assert node.targets[0].calls[0].effect is Effect.READ


def test_a_wait_looks_every_five_seconds_and_at_least_twice(first: Planner) -> None:
    assert first("wait: {postgres.query: {sql: x}, until: true, deadline: 60s}").options.retries == 12
    assert first("wait: {postgres.query: {sql: x}, until: true, deadline: 1s}").options.retries == 1


@pytest.mark.parametrize("word", ["look", '"{{ port }}"', '"{{ item }}"'])
def test_a_command_that_only_looks_can_be_waited_for(first: Planner, word: str) -> None:
    loop = ", loop: [x]" if "item" in word else ""
    step = f"wait: {{ssh.command: {{argv: [{word}], changed: false}}, until: true, deadline: 1m}}{loop}"
    assert first(step).targets[0].calls[0].effect is Effect.READ


def test_what_is_wrong_in_a_wait_is_named_at_its_place(first: Planner) -> None:
    with pytest.raises(PlanError, match=r"9:60: 'prt' is undefined \(on web1\); did you mean 'port'"):
        first("wait: {postgres.query: {sql: x, params: ['{{ prt }}']}, until: true, deadline: 1m}")


def test_deadline_revert_and_check_mode_are_options_of_the_step(first: Planner) -> None:
    step = "ssh.command: {argv: [id]}, undo: {ssh.command: {argv: [id]}}, revert_after: 2h, deadline: 1m"
    options = first(step).options
    assert (options.revert_after_ms, options.deadline_ms, options.check_mode) == (7_200_000, 60_000, True)
    options = first("postgres.query: {sql: x}, check_mode: false").options
    assert (options.revert_after_ms, options.deadline_ms, options.check_mode) == (None, None, False)
