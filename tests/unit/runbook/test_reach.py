"""How much a plan changes, in all and at once, against what its runbook allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from mimrun.catalog import Catalog
from mimrun.errors import PlanError
from mimrun.runbook.finding import Level
from mimrun.runbook.inventory import parse_inventory
from mimrun.runbook.lint import lint
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
"""
INVENTORY = parse_inventory(
    """\
[web]
web1 zone=a
web2 zone=b
web3 zone=a
web4 zone=b
web5 zone=c
[bare]
bare1
[all:vars]
x=1
"""
)
CHANGE = "ssh.command: {argv: [reboot]}"
LOOK = "postgres.query: {sql: select 1}"
Planner = Callable[[str], Plan]


@pytest.fixture
def plan(catalog: Catalog, versions: Mapping[str, str]) -> Planner:
    def make(source: str) -> Plan:
        return make_plan(parse_runbook(HEAD + source), {}, INVENTORY, catalog, versions)

    return make


def refused(make: Planner, source: str) -> str:
    with pytest.raises(PlanError) as caught:
        make(source)
    return str(caught.value)


def steps(*steps: str) -> str:
    return "steps: [" + ", ".join(f"{{name: s{n}, {step}}}" for n, step in enumerate(steps)) + "]\n"


@pytest.mark.parametrize(("rule", "allows"), [("0", 0), ("2", 2), ('"10%"', 0), ('"40%"', 2), ('"100%"', 5)])
def test_failures_are_counted_over_the_hosts_of_the_plan_without_this_machine(
    plan: Planner, rule: str, allows: int
) -> None:
    source = f"hosts: web\nlimits: {{failures: {rule}}}\n" + steps(CHANGE, f"hosts: localhost, {LOOK}")
    assert plan(source).max_failures == allows


def test_the_time_of_a_run_is_four_hours_unless_it_is_said(plan: Planner) -> None:
    assert plan("hosts: web\n" + steps(LOOK)).timeout_ms == 4 * 3_600_000
    assert plan("hosts: web\ntimeout: 90s\n" + steps(LOOK)).timeout_ms == 90_000


def test_a_step_has_a_budget_of_its_own_over_its_own_hosts(plan: Planner) -> None:
    made = plan(
        "hosts: web\nlimits: {failures: 2}\n"
        + steps(f'max_failures: "50%", hosts: "web[0:1]", {CHANGE}', f"max_failures: 0, {CHANGE}", CHANGE)
    )
    options = [node.options for node in made.nodes if isinstance(node, PlannedAction)]
    assert [option.max_failures for option in options] == [1, 0, None]


def test_a_step_cannot_widen_what_the_run_allows(plan: Planner) -> None:
    source = "hosts: web\nlimits: {failures: 1}\n" + steps(f'max_failures: "40%", {CHANGE}')
    assert "10:34: 40% of 5 hosts are 2, and the run lets 1 fail" in refused(plan, source)


def test_every_host_that_is_changed_is_locked_and_no_other(plan: Planner) -> None:
    made = plan(
        'hosts: all\nlocks: [shop, "host/web1"]\n'
        + steps(
            f"hosts: bare, {LOOK}", f"hosts: web1, {CHANGE}", f"hosts: web3, {CHANGE}, undo: {{{LOOK}}}"
        ).replace("]\n", f", {{name: here, hosts: localhost, {CHANGE}}}]\n")
    )
    assert made.locks == ("host/web1", "host/web3", "shop")


def test_a_handler_that_changes_something_locks_its_hosts(plan: Planner) -> None:
    made = plan(
        "hosts: web\n" + steps(f"hosts: web2, {LOOK}, notify: h") + f"handlers: [{{name: h, {CHANGE}}}]\n"
    )
    assert made.locks == ("host/web2",)


@pytest.mark.parametrize(
    ("share", "pattern", "fits"),
    [("40%", "web[0:1]", True), ("39%", "web[0:1]", False), ("100%", "web", True), ("0%", "web1", False)],
)
def test_no_more_than_its_share_of_a_group_is_changed(
    plan: Planner, share: str, pattern: str, *, fits: bool
) -> None:
    source = f'hosts: all\nlimits: {{share: {{web: "{share}"}}}}\n' + steps(
        f'hosts: "{pattern}", {CHANGE}', LOOK
    )
    if fits:
        assert plan(source)
    else:
        assert "9:23: the plan may change " in refused(plan, source)


def test_a_group_that_the_inventory_does_not_have_is_named(plan: Planner, catalog: Catalog) -> None:
    source = 'hosts: web\nlimits: {share: {wbe: "10%"}, domains: {by: zoone}}\n' + steps(CHANGE)
    assert "the inventory has no group 'wbe'; did you mean 'web'?" in refused(plan, source)
    found = [str(f) for f in lint(parse_runbook(HEAD + source), catalog, INVENTORY) if f.level is Level.ERROR]
    assert len(found) == 2
    assert "9:18: the inventory has no group 'wbe'; did you mean 'web'?" in found[0]
    assert "no host of the inventory has a variable 'zoone'; did you mean 'zone'?" in found[1]


ZONES = "limits: {domains: {by: zone}}\n"


def test_a_step_that_changes_more_domains_at_once_is_refused(plan: Planner) -> None:
    said = refused(plan, "hosts: web\n" + ZONES + steps(CHANGE))
    assert (
        "10:9: changes hosts of 3 domains at once (zone: a, b, c), and 1 are allowed; write `serial:`" in said
    )


def test_a_step_within_one_domain_or_one_that_only_looks_is_not(plan: Planner) -> None:
    assert plan(
        "hosts: web\n" + ZONES + steps(LOOK, f"hosts: 'web1,web3', {CHANGE}", f"hosts: web2, {CHANGE}")
    )


def test_as_many_domains_as_are_allowed_may_be_changed_at_once(plan: Planner) -> None:
    source = "hosts: web\nlimits: {domains: {by: zone, at_once: 2}}\n"
    assert plan(source + steps(f"hosts: 'web1:web2:web3', {CHANGE}"))
    assert "3 domains at once" in refused(plan, source + steps(CHANGE))


def test_a_changed_host_that_is_in_no_domain_is_an_error(plan: Planner) -> None:
    assert plan("hosts: all\n" + ZONES + steps(f"hosts: bare, {LOOK}"))
    said = refused(plan, "hosts: all\n" + ZONES + steps(f"hosts: bare, {CHANGE}"))
    assert "9:24: no variable 'zone' (on bare1)" in said


def test_handlers_are_held_to_the_domains_too(plan: Planner) -> None:
    source = "hosts: web\n" + ZONES + steps(f"{LOOK}, notify: h") + f"handlers: [{{name: h, {CHANGE}}}]\n"
    made = plan(source)
    assert [[t.target for t in one.targets] for one in made.handlers] == [
        ["web1", "web3"],
        ["web2", "web4"],
        ["web5"],
    ]
