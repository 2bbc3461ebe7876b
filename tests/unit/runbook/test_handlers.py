"""Handlers: on which hosts they are planned, and behind which gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import pytest

from mimrun.catalog import Catalog
from mimrun.errors import PlanError
from mimrun.runbook.inventory import load_inventory
from mimrun.runbook.lint import lint
from mimrun.runbook.loader import load_runbook, parse_runbook
from mimrun.runbook.node import PlannedAction
from mimrun.runbook.plan import Plan, may_bypass
from mimrun.runbook.planner import make_plan

CASES = Path(__file__).parents[2] / "cases"
HEAD = """\
schema: mimrun/1
name: small
version: 1.0.0
title: Small
stage: containment
owner: me
risk: low
hosts: web
"""
GATE = "gate: {approvals: [{role: x}]}"
RELOAD = "handlers: [{name: Reload, ssh.command: {argv: [id]}}]"
Planner = Callable[[str], Plan]


@pytest.fixture
def plan(catalog: Catalog, versions: Mapping[str, str]) -> Planner:
    inventory = load_inventory([CASES / "inventory.ini"])

    def make(source: str) -> Plan:
        return make_plan(parse_runbook(HEAD + source), {}, inventory, catalog, versions)

    return make


def hosts(node: PlannedAction) -> list[str]:
    return [target.target for target in node.targets]


def test_a_handler_is_planned_where_a_step_notifies_it(catalog: Catalog, versions: Mapping[str, str]) -> None:
    inventory = load_inventory([CASES / "inventory.ini"])
    made = make_plan(load_runbook(CASES / "sound" / "flow.yaml"), {}, inventory, catalog, versions)
    reload, tell = made.handlers
    assert (reload.path, hosts(reload)) == ("h1", ["web1", "web2", "web3", "web4"])
    assert (tell.path, hosts(tell)) == ("h2", ["web1"])
    assert [n.notify for n in made.nodes if isinstance(n, PlannedAction)][:2] == [("h1",), ("h1", "h2")]
    assert reload.targets[0].calls[0].args == {"argv": ["systemctl", "reload", "nginx"]}
    assert tell.targets[0].calls[0].late == ("reloaded",)
    assert Plan.decode(made.encode()) == made
    assert made.node("h2") == tell


def test_a_handler_that_nobody_notifies_is_no_part_of_the_plan(plan: Planner, catalog: Catalog) -> None:
    source = "steps: [{name: a, ssh.command: {argv: [id]}}]\n" + RELOAD
    assert plan(source).handlers == ()
    (finding,) = lint(parse_runbook(HEAD + source), catalog, today=date(2026, 6, 1))
    assert "no step notifies the handler 'Reload'" in str(finding)


def test_a_handler_keeps_its_path_though_another_is_left_out(plan: Planner) -> None:
    made = plan(
        "steps: [{name: a, ssh.command: {argv: [id]}, notify: Late}]\n"
        "handlers: [{name: Early, ssh.command: {argv: [id]}}, {name: Late, ssh.command: {argv: [id]}}]"
    )
    assert [node.path for node in made.handlers] == ["h2"]
    assert made.nodes[0].notify == ("h2",)  # type: ignore[union-attr]


def test_a_handler_on_other_hosts_than_its_notices_is_refused(plan: Planner) -> None:
    with pytest.raises(PlanError, match=r"10:34: the hosts of the handler \(web3\) are not among"):
        plan(
            "steps: [{name: a, hosts: web1, ssh.command: {argv: [id]}, notify: Reload}]\n"
            + RELOAD.replace("ssh", "hosts: web3, ssh")
        )


def test_a_notice_of_a_reading_is_a_warning(catalog: Catalog) -> None:
    source = "steps: [{name: a, wait.port: {port: 1}, notify: Reload}]\n" + RELOAD
    (finding,) = lint(parse_runbook(HEAD + source), catalog)
    assert "wait.port changes nothing, so nobody is ever notified" in str(finding)


def test_handlers_stand_behind_the_last_gate(plan: Planner) -> None:
    made = plan(
        f"""\
steps:
  - {{name: a, ssh.command: {{argv: [id]}}, notify: Reload}}
  - {{name: first, {GATE}}}
  - {{name: b, ssh.command: {{argv: [id]}}}}
  - {{name: second, {GATE}}}
  - {{name: c, ssh.command: {{argv: [id]}}}}
{RELOAD}
"""
    )
    assert [node.path for node in made.segment_after("2")] == ["3"]
    assert [node.path for node in made.segment_after("4")] == ["5", "h1"]


def test_a_gate_that_may_be_skipped_leaves_handlers_to_the_one_before_it(plan: Planner) -> None:
    made = plan(
        f"""\
steps:
  - {{name: first, {GATE}}}
  - {{name: a, ssh.command: {{argv: [id]}}, notify: Reload, register: done}}
  - name: perhaps
    when: done.rc == 0
    block: [{{name: second, {GATE}}}]
{RELOAD}
"""
    )
    assert [node.path for node in made.segment_after("1")] == ["2", "h1"]
    assert [node.path for node in made.segment_after("3.block.1")] == ["h1"]


def test_no_handler_gets_past_a_gate_of_a_block() -> None:
    assert not may_bypass("h1", "3.block.2")
    assert may_bypass("h1", "3.rescue.1")
