"""Branches: what is planned side by side, and what must not be."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from mimrun.catalog import Catalog
from mimrun.errors import PlanError
from mimrun.runbook.inventory import parse_inventory
from mimrun.runbook.loader import parse_runbook
from mimrun.runbook.node import PlannedAction, PlannedParallel
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
"""
INVENTORY = parse_inventory("[web]\nweb1 zone=a\nweb2 zone=b\nweb3 zone=a\n")
CHANGE = "ssh.command: {argv: [reboot]}"
LOOK = "postgres.query: {sql: select 1}"
Planner = Callable[[str], Plan]


@pytest.fixture
def plan(catalog: Catalog, versions: Mapping[str, str]) -> Planner:
    def make(source: str) -> Plan:
        return make_plan(parse_runbook(HEAD + source), {}, INVENTORY, catalog, versions)

    return make


def branches(*branches: str, more: str = "") -> str:
    listed = ", ".join(f"{{name: b{number}, {branch}}}" for number, branch in enumerate(branches, 1))
    return f"hosts: web\n{more}steps:\n  - name: both\n    parallel: [{listed}]\n"


def test_branches_are_planned_with_their_rule(plan: Planner) -> None:
    made = plan(
        branches(f"hosts: web1, {CHANGE}", f"block: [{{name: in, hosts: web2, {CHANGE}}}]")
        + "    on_failure: finish\n    max_failures: 1\n    when: 1 == 1\n"
    )
    node = made.node("1")
    assert isinstance(node, PlannedParallel)
    assert (node.on_failure, node.max_failures, node.when) == ("finish", 1, "1 == 1")
    assert [n.path for n in made.walk()] == ["1", "1.branch.1", "1.branch.2", "1.branch.2.block.1"]
    assert made.locks == ("host/web1", "host/web2")
    assert Plan.decode(made.encode()) == made


def test_when_nothing_is_said_one_failure_stops_the_others(plan: Planner) -> None:
    node = plan(branches(f"hosts: web1, {CHANGE}", LOOK)).node("1")
    assert isinstance(node, PlannedParallel)
    assert (node.on_failure, node.max_failures) == ("stop", 0)


def test_two_branches_never_change_the_same_host(plan: Planner) -> None:
    with pytest.raises(PlanError) as caught:
        plan(branches(f"hosts: web1, {CHANGE}", LOOK, f"block: [{{name: in, hosts: 'web*', {CHANGE}}}]"))
    (problem,) = caught.value.problems
    assert (problem.line, problem.message) == (
        11,
        "two branches work on web1 at once: this one and 1.branch.1",
    )


def test_one_branch_may_read_what_another_changes(plan: Planner) -> None:
    assert plan(branches(CHANGE, LOOK, LOOK))


def test_two_branches_may_work_on_this_machine(plan: Planner) -> None:
    assert plan(branches(f"hosts: localhost, {CHANGE}", f"hosts: localhost, {CHANGE}"))


def test_batches_in_branches_and_branches_in_batches(plan: Planner) -> None:
    assert plan(branches(f"serial: 1, {CHANGE}", LOOK)).node("1.branch.1.batch.3.block.1")
    inner = f"parallel: [{{name: x, hosts: 'web1,web2', {CHANGE}}}, {{name: y, {LOOK}}}]"
    made = plan(f"hosts: web\nsteps: [{{name: a, serial: 1, block: [{{name: b, {inner}}}]}}]\n")
    third = made.node("1.batch.3.block.1")
    assert isinstance(third, PlannedParallel)
    assert [branch.name for branch in third.branches] == ["y"], "x has nothing to do in the third batch"
    with pytest.raises(PlanError) as caught:
        plan(
            f"hosts: web\nsteps: [{{name: a, serial: 1, block: [{{name: b, "
            f"{inner.replace('y,', 'y, hosts: web*,').replace(LOOK, CHANGE)}}}]}}]\n"
        )
    assert len(caught.value.problems) == 1, "and not once for every batch"


def test_branches_count_together_against_the_domains(plan: Planner) -> None:
    limits = "limits: {domains: {by: zone}}\n"
    assert plan(branches(f"hosts: web1, {CHANGE}", f"hosts: web3, {CHANGE}", more=limits))
    with pytest.raises(PlanError, match=r"2 domains at once .* put them one after the other"):
        plan(branches(f"hosts: web1, {CHANGE}", f"hosts: web2, {CHANGE}", more=limits))


def test_what_a_branch_registers_is_late_behind_it_and_hides_nothing_beside_it(plan: Planner) -> None:
    made = plan(
        branches(f"hosts: web1, {LOOK}, register: zone", "hosts: web2, ssh.command: {argv: [echo, hi]}")
        + "  - {name: after, hosts: web1, ssh.command: {argv: [echo, '{{ zone.rows }}']}}\n"
    )
    after = made.node("2")
    assert isinstance(after, PlannedAction)
    assert after.targets[0].calls[0].late == ("zone",)
