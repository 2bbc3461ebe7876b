"""The gate in front of a launch: which plans have one, and what it changes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.plans import a_plan, action, at_risk, block, gate, include, manual, parallel, serial

from mimrun.runbook.launch import LAUNCH, launch_gate, row_of, with_launch_gate
from mimrun.runbook.model import Risk
from mimrun.runbook.node import Node, PlannedAction, PlannedGate
from mimrun.runbook.plan import Plan

WORLD = Path("world")


def planned(*nodes: Node, handlers: tuple[PlannedAction, ...] = ()) -> Plan:
    return a_plan(WORLD, *nodes, handlers=handlers)


def reading(path: str) -> PlannedAction:
    return action(path, "read")


GATED = {
    "a change": planned(action("1")),
    "a change in front of the author's gate": planned(action("1"), gate("2"), action("3")),
    "a change behind a gate that may be skipped": planned(gate("1", when="x"), action("2")),
    "a change behind a gate of a rescue": planned(
        block("1", [reading("1.block.1")], rescue=[gate("1.rescue.1")]), action("2")
    ),
    "a rescue that does not pass the gate of its block": planned(
        block("1", [gate("1.block.1"), action("1.block.2")], rescue=[action("1.rescue.1")])
    ),
    "a change in a batch": planned(serial("1", [["a"]])),
    "a change in a branch": planned(parallel("1", reading("1.branch.1"), action("1.branch.2"))),
    "a change of an included runbook": planned(include("1", action("1.include.1"))),
    "a handler that changes something": planned(reading("1"), handlers=(action("h1"),)),
}
UNGATED = {
    "only readings": planned(reading("1"), reading("2")),
    "the author's gate in front of the first change": planned(reading("1"), gate("2"), action("3")),
    "the gate of an included runbook in front": planned(
        include("1", gate("1.include.1"), action("1.include.2")), action("2")
    ),
    "work by hand alone": planned(manual("1")),
    "a gate, with the handlers behind it": planned(gate("1"), action("2"), handlers=(action("h1"),)),
}


@pytest.mark.parametrize("what", GATED)
def test_a_plan_that_changes_something_unasked_gets_a_gate_in_front(what: str) -> None:
    made = with_launch_gate(GATED[what])
    assert made.nodes == (launch_gate(), *GATED[what].nodes)
    assert isinstance(made.node(LAUNCH), PlannedGate)
    assert made.digest != GATED[what].digest
    assert Plan.decode(made.encode()).digest == made.digest


@pytest.mark.parametrize("what", UNGATED)
def test_a_plan_that_asks_first_or_only_reads_stays_as_it_is(what: str) -> None:
    assert with_launch_gate(UNGATED[what]) is UNGATED[what]


@pytest.mark.parametrize("what", [*GATED])
def test_a_second_gate_is_never_put_in_front_of_the_first(what: str) -> None:
    made = with_launch_gate(GATED[what])
    assert with_launch_gate(made) is made


def test_the_gate_shows_everything_up_to_the_authors_first_one() -> None:
    made = with_launch_gate(planned(action("1"), gate("2"), action("3")))
    assert [node.path for node in made.segment_after(LAUNCH)] == ["1"]


def test_the_sources_of_a_plan_stay_with_it() -> None:
    assert with_launch_gate(planned(action("1")).with_sources({"d": "text"})).sources == {"d": "text"}


def test_the_row_is_read_only_where_nothing_is_changed_whatever_the_runbook_declares() -> None:
    assert row_of(at_risk(planned(reading("1"), gate("2"), reading("3")), Risk.HIGH)) == "read_only"


@pytest.mark.parametrize("node", [action("1"), manual("1"), block("1", [action("1.block.1")])])
def test_the_row_is_the_declared_risk_where_something_is_changed_or_done_by_hand(node: Node) -> None:
    assert row_of(at_risk(planned(node), Risk.LOW)) == "low"
    assert row_of(at_risk(planned(node), Risk.HIGH)) == "high"


def test_an_included_runbook_raises_the_row() -> None:
    inner = include("1", action("1.include.1"))
    risky = inner.model_copy(update={"runbook": inner.runbook.model_copy(update={"risk": Risk.HIGH})})
    assert row_of(at_risk(planned(risky), Risk.LOW)) == "high"
    assert row_of(at_risk(planned(inner), Risk.LOW)) == "medium"
