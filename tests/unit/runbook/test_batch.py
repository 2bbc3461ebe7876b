"""Batches: every host in exactly one, in sizes that grow, and never across more domains than allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.catalog import Catalog
from mimrun.errors import PlanError
from mimrun.runbook.allowance import size_of
from mimrun.runbook.batch import actions_in, cut, hosts_of, step_of, together
from mimrun.runbook.inventory import parse_inventory
from mimrun.runbook.loader import parse_runbook
from mimrun.runbook.node import PlannedAction, PlannedManual, PlannedSerial
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
INVENTORY = parse_inventory("lb1\n[web]\nweb1 zone=a\nweb2 zone=b\nweb3 zone=a\nweb4 zone=b\nweb5 zone=c\n")
SIZE = st.integers(1, 60) | st.integers(1, 100).map(lambda number: f"{number}%")
HOSTS = st.integers(0, 60).map(lambda count: [f"h{number}" for number in range(count)])
Planner = Callable[[str], Plan]


@given(HOSTS, st.lists(SIZE, min_size=1, max_size=5))
def test_batches_are_the_hosts_in_their_order_each_once(hosts: list[str], sizes: list[int | str]) -> None:
    batches = cut(hosts, sizes)
    assert [host for batch in batches for host in batch] == hosts
    assert all(batches)


@given(HOSTS, st.lists(SIZE, min_size=1, max_size=5))
def test_every_batch_but_the_last_has_its_size(hosts: list[str], sizes: list[int | str]) -> None:
    wanted = [size_of(size, len(hosts)) for size in sizes]
    batches = cut(hosts, sizes)
    for number, batch in enumerate(batches):
        size = wanted[min(number, len(wanted) - 1)]
        assert len(batch) == size if number < len(batches) - 1 else len(batch) <= size


@given(
    st.lists(st.sampled_from("abcd"), max_size=40),
    st.lists(SIZE, min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_no_batch_has_hosts_of_more_domains_than_allowed(
    zones: list[str], sizes: list[int | str], at_once: int
) -> None:
    zone = {f"h{number}": zone for number, zone in enumerate(zones)}
    batches = cut(list(zone), sizes, [(zone.get, at_once)])
    assert sorted(host for batch in batches for host in batch) == sorted(zone)
    assert all(len({zone[host] for host in batch}) <= at_once for batch in batches)
    seen = [zone[host] for batch in batches for host in batch]
    assert [z for n, z in enumerate(seen) if n == 0 or seen[n - 1] != z] == list(dict.fromkeys(zones))


def test_sizes_grow_and_the_last_one_holds_on() -> None:
    hosts = [f"h{number}" for number in range(20)]
    assert [len(batch) for batch in cut(hosts, [1, 5, "20%"])] == [1, 5, 4, 4, 4, 2]
    assert [len(batch) for batch in cut(hosts, ["1%"])] == [1] * 20
    assert [len(batch) for batch in cut(hosts, ["100%"])] == [20]
    assert [len(batch) for batch in cut(hosts[:3], [50])] == [3]


@pytest.fixture
def plan(catalog: Catalog, versions: Mapping[str, str]) -> Planner:
    def make(source: str) -> Plan:
        return make_plan(parse_runbook(HEAD + source), {}, INVENTORY, catalog, versions)

    return make


def serial(made: Plan, path: str = "1") -> PlannedSerial:
    node = made.node(path)
    assert isinstance(node, PlannedSerial)
    return node


def targets(node: object) -> list[str]:
    assert isinstance(node, PlannedAction)
    return [target.target for target in node.targets]


STEP = """\
hosts: web
limits: {failures: "40%"}
steps:
  - name: Restart {{ inventory }}
    serial: [1, "50%"]
    pause: 90s
    max_failures: 1
    when: ready
    ssh.command: {argv: [systemctl, restart, "{{ inventory_hostname }}"]}
    register: done
  - {name: See, ssh.command: {argv: [echo, "{{ done.rc }}"]}}
vars: {inventory: all, ready: true}
"""


def test_a_step_is_planned_batch_by_batch(plan: Planner) -> None:
    made = plan(STEP)
    node = serial(made)
    assert (node.name, node.when, node.pause_ms, node.max_failures) == ("Restart all", None, 90_000, 1)
    assert [n.path for n in made.walk()][:5] == [
        "1",
        "1.batch.1",
        "1.batch.1.block.1",
        "1.batch.2",
        "1.batch.2.block.1",
    ]
    assert [targets(batch.block[0]) for batch in node.batches] == [
        ["web1"],
        ["web2", "web3"],
        ["web4", "web5"],
    ]
    assert node.batches[1].name == "Restart all (batch 2 of 3)"
    action = made.node("1.batch.2.block.1")
    assert isinstance(action, PlannedAction)
    assert (action.when, action.options.max_failures, action.options.register_) == ("ready", None, "done")
    assert action.targets[0].calls[0].args == {"argv": ["systemctl", "restart", "web2"]}
    assert made.node("2").targets[0].calls[0].late == ("done",)  # type: ignore[union-attr]
    assert Plan.decode(made.encode()) == made


def test_batches_are_part_of_the_digest(plan: Planner) -> None:
    assert plan(STEP).digest != plan(STEP.replace('[1, "50%"]', "2")).digest


BLOCK = """\
hosts: all
steps:
  - name: Roll out
    serial: 2
    when: go
    block:
      - {name: Install, hosts: web, ssh.command: {argv: [install]}, register: seen}
      - {name: Clear, hosts: "web1:web2", ssh.command: {argv: [clear]}}
      - {name: Wait, hosts: localhost, wait.port: {port: 80}}
      - name: Both
        block: [{name: Balance, hosts: lb1, ssh.command: {argv: [balance, "{{ seen.rc }}"]}}]
      - {name: Look, manual: {instructions: Look}}
    rescue: [{name: Back, hosts: web, ssh.command: {argv: [back]}}]
    always: [{name: Say, hosts: web, ssh.command: {argv: [say]}}]
vars: {go: true}
"""


def test_a_block_is_done_whole_on_each_batch(plan: Planner) -> None:
    made = plan(BLOCK)
    node = serial(made)
    assert node.when == "go"
    assert [batch.when for batch in node.batches] == [None, None, None]
    first, second, third = node.batches
    assert [n.path for n in first.block] == [f"1.batch.1.block.{n}" for n in (1, 2, 3, 4, 5)]
    assert targets(first.block[0]) == ["web1"], "in the order of the inventory, lb1 comes first"
    assert [targets(a) for a in actions_in(first)] == [
        ["web1"],
        ["web1"],
        ["localhost"],
        ["lb1"],
        ["web1"],
        ["web1"],
    ]
    assert [n.path for n in third.block] == [f"1.batch.3.block.{n}" for n in (1, 3, 5)], (
        "nothing for the others"
    )
    assert [targets(n) for n in (*third.rescue, *third.always)] == [["web4", "web5"], ["web4", "web5"]]
    assert third.rescue[0].path == "1.batch.3.rescue.1"
    assert isinstance(second.block[-1], PlannedManual)


def test_every_host_of_a_step_is_in_exactly_one_batch(plan: Planner) -> None:
    node = serial(plan(BLOCK))
    seen = [(step_of(a.path), host) for a in actions_in(node) for host in targets(a) if host != "localhost"]
    assert len(seen) == len(set(seen)) == 5 + 2 + 1 + 5 + 5


def test_the_batches_read_together_are_the_step(plan: Planner) -> None:
    (block,) = together(serial(plan(BLOCK)).batches)
    assert block.path == "1.batch.*"
    found = {a.name: targets(a) for a in actions_in(block)}
    assert found["Install"] == ["web1", "web2", "web3", "web4", "web5"]
    assert found["Wait"] == ["localhost"] * 3
    assert list(found) == ["Install", "Clear", "Wait", "Balance", "Back", "Say"]


def test_what_only_works_on_this_machine_is_one_batch(plan: Planner) -> None:
    made = plan("steps: [{name: a, serial: 2, block: [{name: b, wait.port: {port: 80}}]}]\n")
    (batch,) = serial(made).batches
    assert hosts_of(batch) == frozenset()
    assert targets(batch.block[0]) == ["localhost"]


def test_batches_end_at_the_borders_of_domains(plan: Planner) -> None:
    made = plan(
        "hosts: web\nlimits: {domains: {by: zone}}\n"
        "steps: [{name: a, serial: [1, 5], ssh.command: {argv: [reboot]}}]\n"
    )
    assert [sorted(hosts_of(batch)) for batch in serial(made).batches] == [
        ["web1"],
        ["web3"],
        ["web2", "web4"],
        ["web5"],
    ]


def test_more_failures_than_the_run_allows_are_not_bought_by_batches(plan: Planner) -> None:
    with pytest.raises(PlanError, match=r"14:19: 60% of 5 hosts are 3, and the run lets 2 fail"):
        plan(STEP.replace("max_failures: 1", 'max_failures: "60%"'))
