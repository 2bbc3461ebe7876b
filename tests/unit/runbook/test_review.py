"""What a second look at the runbook room found: whose word may decide about hosts and options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.errors import PlanError
from mimrun.runbook.inventory import load_inventory
from mimrun.runbook.loader import parse_runbook
from mimrun.runbook.plan import Plan
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
inputs:
  free: {type: string}
  many: {type: list, required: false, pattern: "[a-z]+"}
  bound: {type: string, pattern: "[a-z0-9]+", default: web}
  wide: {type: string, pattern: "[a-z0-9:,!&*]+", default: web}
  chosen: {type: string, choices: [web, all], default: web}
vars:
  tied: "{{ bound }}"
  loose: "{{ free }}"
  looser: "{{ loose }}"
"""
STEP = "steps: [{name: Look, ssh.command: {argv: [id]}}]\n"
Planner = Callable[..., Plan]


@pytest.fixture
def plan(catalog: Catalog, versions: Mapping[str, str]) -> Planner:
    inventory = load_inventory([CASES / "inventory.ini"])

    def make(source: str, **inputs: JsonValue) -> Plan:
        loaded = parse_runbook(HEAD + source)
        return make_plan(loaded, {"free": "x", **inputs}, inventory, catalog, versions)

    return make


def refused(make: Planner, source: str, **inputs: JsonValue) -> str:
    with pytest.raises(PlanError) as caught:
        make(source, **inputs)
    return str(caught.value)


@pytest.mark.parametrize("name", ["free", "loose", "looser"])
def test_hosts_are_not_widened_by_what_anybody_may_write_nor_by_a_constant_of_it(
    plan: Planner, name: str
) -> None:
    text = refused(plan, f'hosts: "web:&{{{{ {name} }}}}"\n{STEP}', free="web,all")
    assert f"'{name}' can widen the hosts" in text


def test_hosts_of_an_input_with_a_pattern_are_hosts_also_by_way_of_a_constant(plan: Planner) -> None:
    direct = plan(f'hosts: "{{{{ bound }}}}"\n{STEP}')
    assert plan(f'hosts: "{{{{ tied }}}}"\n{STEP}').nodes == direct.nodes


@pytest.mark.parametrize(
    ("name", "value"), [("bound", "all"), ("bound", "ungrouped"), ("many", ["web", "all"])]
)
def test_the_word_for_every_host_is_no_name(plan: Planner, name: str, value: JsonValue) -> None:
    pattern = f"{{{{ {name} | join(',') }}}}" if name == "many" else f"{{{{ {name} }}}}"
    text = refused(plan, f'hosts: "{pattern}"\n{STEP}', **{name: value})
    assert "which is no host or group" in text


@pytest.mark.parametrize("name", ["wide", "chosen"])
def test_who_lets_patterns_be_written_or_offers_every_host_gets_them(plan: Planner, name: str) -> None:
    everywhere = plan(f'hosts: "{{{{ {name} }}}}"\n{STEP}', **{name: "all"})
    assert len(everywhere.targets) > len(plan(f"hosts: web\n{STEP}").targets)


@pytest.mark.parametrize("name", ["free", "loose", "looser"])
def test_a_dash_does_not_become_an_option_by_way_of_a_constant(plan: Planner, name: str) -> None:
    step = f'hosts: web\nsteps: [{{name: Look, ssh.command: {{argv: [rm, "{{{{ {name} }}}}"]}}}}]\n'
    assert "begins with a dash" in refused(plan, step, free="-rf")
    assert plan(step, free="file").targets
