"""Handlers of what is done in batches: planned behind each batch, and never on more domains than allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from mimrun.catalog import Catalog
from mimrun.errors import PlanError, RunbookError
from mimrun.runbook.inventory import parse_inventory
from mimrun.runbook.loader import LoadedRunbook, parse_runbook
from mimrun.runbook.node import PlannedAction, handler_place
from mimrun.runbook.plan import Plan
from mimrun.runbook.planner import make_plan
from mimrun.runbook.sugar import step_source

HEAD = "schema: mimrun/1\nname: {}\nversion: 1.0.0\ntitle: T\nstage: containment\nowner: me\nrisk: low\nhosts: web\n"
INVENTORY = parse_inventory("[web]\nweb1 zone=a\nweb2 zone=b\nweb3 zone=a\nweb4 zone=b\n")
ZONES = "limits: {domains: {by: zone}}\n"
ACT = "ssh.command: {argv: [id]}"
ONE = f"handlers: [{{name: h, {ACT}}}]\n"
GATE = "{name: g, gate: {approvals: [{role: x}]}}"
Planner = Callable[..., Plan]


@pytest.fixture
def plan(catalog: Catalog, versions: Mapping[str, str]) -> Planner:
    def make(body: str, inner: str = "") -> Plan:
        def find(reference: str) -> LoadedRunbook:
            if not inner:
                raise RunbookError(f"no runbook {reference}")
            return parse_runbook(HEAD.format("inner") + inner, "inner.yaml")

        outer = parse_runbook(HEAD.format("outer") + body, "outer.yaml")
        made = make_plan(outer, {}, INVENTORY, catalog, versions, includes=find)
        assert Plan.decode(made.encode()).digest == made.digest
        return made

    return make


def handlers(made: Plan) -> dict[str, str]:
    """Give the hosts of each handler, by its path."""
    return {node.path: " ".join(t.target.removeprefix("web") for t in node.targets) for node in made.handlers}


def notices(made: Plan) -> dict[str, tuple[str, ...]]:
    return {node.path: node.notify for node in made.walk() if isinstance(node, PlannedAction) and node.notify}


@pytest.mark.parametrize(
    ("limits", "steps", "expected"),
    [
        ("", "{name: s, serial: 2, ACT, notify: h}", {"1.batch.1.h1": "1 2", "1.batch.2.h1": "3 4"}),
        (ZONES, "{name: s, serial: 4, ACT, notify: h}", {"1.batch.1.h1": "1 3", "1.batch.2.h1": "2 4"}),
        ("", "{name: b, serial: 3, block: [{name: s, ACT, notify: h}]}", {"1.batch.1.h1": "1 2 3", "1.batch.2.h1": "4"}),
        ("", "{name: b, serial: 2, block: [{name: s, hosts: web1, ACT, notify: h}, {name: t, ACT}]}", {"1.batch.1.h1": "1"}),
        ("", "{name: s, serial: 2, ACT, notify: h}, {name: t, hosts: web1, ACT, notify: h}", {"1.batch.1.h1": "1 2", "1.batch.2.h1": "3 4", "h1": "1"}),
        ("", "{name: s, ACT, notify: h}", {"h1": "1 2 3 4"}),
        (ZONES, "{name: s, hosts: 'web1:web3', ACT, notify: h}, {name: t, hosts: web2, ACT, notify: h}", {"h1.batch.1": "1 3", "h1.batch.2": "2"}),
        ("limits: {domains: {by: zone, at_once: 2}}\n", "{name: s, ACT, notify: h}", {"h1": "1 2 3 4"}),
        (ZONES, "{name: s, hosts: web1, ACT, notify: h}", {"h1": "1"}),
    ],
)  # fmt: skip
def test_a_handler_follows_the_batch_that_notified_it_and_else_the_last_step(
    plan: Planner, limits: str, steps: str, expected: dict[str, str]
) -> None:
    made = plan(f"{limits}steps: [{steps.replace('ACT', ACT)}]\n{ONE}")
    assert handlers(made) == expected
    told = {path for paths in notices(made).values() for path in paths}
    assert told >= expected.keys()


def test_each_batch_notifies_its_own_handler_in_the_order_of_the_handlers(plan: Planner) -> None:
    both = f"handlers: [{{name: x, {ACT}}}, {{name: y, {ACT}}}]\n"
    made = plan(f"steps: [{{name: s, serial: 2, {ACT}, notify: [y, x]}}]\n{both}")
    assert notices(made) == {
        "1.batch.1.block.1": ("1.batch.1.h1", "1.batch.1.h2"),
        "1.batch.2.block.1": ("1.batch.2.h1", "1.batch.2.h2"),
    }
    assert [node.path for node in made.handlers_behind("1.batch.2")] == ["1.batch.2.h1", "1.batch.2.h2"]


def test_what_follows_a_batch_stands_behind_the_gate_before_it(plan: Planner) -> None:
    made = plan(
        f"steps: [{GATE}, {{name: s, serial: 2, {ACT}, notify: h}}, {GATE}, {{name: t, {ACT}}}]\n{ONE}"
    )
    assert [node.path for node in made.segment_after("1")] == [
        "2.batch.1.block.1", "2.batch.1.h1", "2.batch.2.block.1", "2.batch.2.h1",
    ]  # fmt: skip
    assert [node.path for node in made.segment_after("3")] == ["4"]


def test_handlers_of_an_included_runbook_follow_it_and_are_cut_with_it(plan: Planner) -> None:
    inner = f"steps: [{{name: a, {ACT}, notify: h}}, {{name: b, serial: 2, {ACT}, notify: h}}]\n{ONE}"
    include = "{name: i, include: {runbook: inner@1.0.0}}"
    made = plan(f"steps: [{GATE}, {include}, {GATE}, {{name: t, {ACT}, notify: h}}]\n{ONE}", inner)
    assert handlers(made) == {
        "2.include.2.batch.1.h1": "1 2",
        "2.include.2.batch.2.h1": "3 4",
        "2.include.h1": "1 2 3 4",
        "h1": "1 2 3 4",
    }
    assert notices(made)["2.include.1"] == ("2.include.h1",)
    assert [n.path for n in made.segment_after("1")][-1] == "2.include.h1"
    alone = f"steps: [{{name: a, {ACT}, notify: h}}]\n{ONE}"
    cut = plan(f"steps: [{{name: p, serial: 2, block: [{include}]}}]\n", alone)
    assert handlers(cut) == {
        "1.batch.1.block.1.include.h1": "1 2",
        "1.batch.2.block.1.include.h1": "3 4",
    }
    assert notices(cut)["1.batch.2.block.1.include.1"] == ("1.batch.2.block.1.include.h1",)


def test_a_handler_of_a_batch_knows_nothing_that_is_registered_behind_it(plan: Planner) -> None:
    handler = "handlers: [{name: h, ssh.command: {argv: ['{{ seen.rc }}']}}]\n"
    late = f"{{name: t, {ACT}, register: seen}}"
    roll = f"{{name: s, serial: 2, {ACT}, notify: h}}"
    assert plan(f"steps: [{late}, {roll}]\n{handler}")
    with pytest.raises(PlanError, match=r"outer.yaml:10:.*'seen' is undefined"):
        plan(f"steps: [{roll}, {late}]\n{handler}")


@pytest.mark.parametrize(
    ("path", "place", "source"),
    [
        ("h2", ("", "h2"), ("handlers", 1)),
        ("h2.batch.3", ("", "h2"), ("handlers", 1)),
        ("3.batch.1.h2", ("3.batch.1", "h2"), ("handlers", 1)),
        ("5.include.h2", ("5.include", "h2"), ("steps", 4)),
        ("3.batch.1.block.2", ("", ""), ("steps", 2, "block", 1)),
    ],
)
def test_a_handler_is_found_by_its_path(
    path: str, place: tuple[str, str], source: tuple[str | int, ...]
) -> None:
    assert handler_place(path) == place
    assert step_source(path) == source
