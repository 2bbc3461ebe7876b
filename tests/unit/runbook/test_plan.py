from __future__ import annotations

from collections.abc import Mapping

import pytest

from mimrun.catalog import Catalog
from mimrun.runbook.inventory import load_inventory
from mimrun.runbook.loader import parse_runbook
from mimrun.runbook.plan import Plan, Segment
from mimrun.runbook.planner import make_plan

SOURCE = """\
schema: mimrun/1
name: gated
version: 1.0.0
title: Two gates and a block
stage: containment
owner: me
risk: low
steps:
  - {name: a, wait.port: {port: 1}}
  - {name: first, gate: {approvals: [{role: x}]}}
  - name: b
    block:
      - {name: c, wait.port: {port: 2}}
      - {name: second, gate: {approvals: [{role: x}]}}
      - {name: d, wait.port: {port: 3}}
    rescue:
      - {name: e, wait.port: {port: 4}}
  - {name: f, manual: {instructions: look}}
"""


@pytest.fixture
def plan(catalog: Catalog, versions: Mapping[str, str]) -> Plan:
    return make_plan(parse_runbook(SOURCE), {}, load_inventory([]), catalog, versions)


def test_nodes_are_found_by_their_paths(plan: Plan) -> None:
    assert [node.path for node in plan.walk()] == [
        "1",
        "2",
        "3",
        "3.block.1",
        "3.block.2",
        "3.block.3",
        "3.rescue.1",
        "4",
    ]
    assert plan.node("3.rescue.1").name == "e"
    with pytest.raises(KeyError):
        plan.node("5")


def test_a_gate_lets_through_what_can_be_reached_before_the_next_one(plan: Plan) -> None:
    assert [node.name for node in plan.segment_after("2")] == ["c", "e"], "a failure of c leads to e"
    assert [node.name for node in plan.segment_after("3.block.2")] == ["d", "e", "f"]


def test_a_segment_is_bound_to_its_plan_run_and_gate(plan: Plan) -> None:
    segment = Segment(plan=plan.digest, run="r1", gate="2", facts="sha256:0", nodes=plan.segment_after("2"))
    assert Segment.decode(segment.encode()) == segment
    others = [segment.model_copy(update={key: "other"}) for key in ("plan", "run", "gate", "facts")]
    assert len({segment.digest, *(Segment.decode(other.encode()).digest for other in others)}) == 5


def test_variables_of_a_host_that_is_not_in_the_plan_are_an_error(plan: Plan) -> None:
    assert plan.vars_of("localhost")["inventory_hostname"] == "localhost"
    with pytest.raises(KeyError):
        plan.vars_of("db1")
