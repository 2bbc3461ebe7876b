from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from mimrun import canonical
from mimrun.catalog import Catalog
from mimrun.connector import Effect
from mimrun.errors import PlanError
from mimrun.runbook.inventory import Inventory, load_inventory, parse_inventory
from mimrun.runbook.loader import load_runbook, parse_runbook
from mimrun.runbook.node import PlannedAction, PlannedBlock, PlannedGate, PlannedManual
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
"""
GIVEN = {"cluster": "alpha", "password": "env:PW"}
Planner = Callable[..., Plan]


@pytest.fixture(scope="session")
def inventory() -> Inventory:
    return load_inventory([CASES / "inventory.ini"])


@pytest.fixture
def plan(inventory: Inventory, catalog: Catalog, versions: Mapping[str, str]) -> Planner:
    def make(source: str | Path, inputs: Mapping[str, JsonValue] | None = None) -> Plan:
        loaded = load_runbook(source) if isinstance(source, Path) else parse_runbook(HEAD + source)
        return make_plan(loaded, inputs or {}, inventory, catalog, versions)

    return make


@pytest.fixture
def failover(plan: Planner) -> Plan:
    return plan(CASES / "sound" / "postgres-failover.yaml", GIVEN)


def action(made: Plan, path: str) -> PlannedAction:
    node = made.node(path)
    assert isinstance(node, PlannedAction)
    return node


def args(made: Plan, path: str = "1") -> JsonValue:
    return action(made, path).targets[0].calls[0].args


def refused(make: Planner, source: str, inputs: Mapping[str, JsonValue] | None = None) -> list[str]:
    with pytest.raises(PlanError) as caught:
        make(source, inputs)
    return [str(p).removeprefix("runbook.yaml:") for p in caught.value.problems]


def test_the_runbooks_hosts_bound_the_hosts_of_its_steps(failover: Plan) -> None:
    assert [t.target for t in action(failover, "1").targets] == ["db2"]
    assert [t.target for t in action(failover, "3").targets] == ["db1"]
    assert [t.name for t in failover.targets] == ["db1", "db2"]
    assert failover.groups["standby"] == ("db2",)
    assert "beta" not in failover.groups


def test_what_is_known_is_filled_in_with_vars_hosts_and_inputs(failover: Plan) -> None:
    assert args(failover, "3") == {"argv": ["systemctl", "stop", "postgresql@alpha"]}
    assert failover.node("3").name == "Fence the old primary of alpha"
    assert failover.vars == {"unit": "postgresql@alpha"}
    assert failover.locks == ("host/db1", "host/db2", "postgres/alpha")


def test_a_secret_is_a_reference_and_its_call_waits(failover: Plan) -> None:
    call = action(failover, "4").targets[0].calls[0]
    assert call.late == ("password",)
    assert call.args["password"] == "{{ password }}"
    assert failover.inputs["password"] == {"secret": "env:PW"}


def test_undo_waits_for_the_state_that_is_captured(failover: Plan) -> None:
    (target,) = action(failover, "3").targets
    assert target.undo[0].late == ("captured",)
    assert target.undo[0].args == {"argv": ["systemctl", "start", "{{ unit }}", "{{ captured.stdout }}"]}
    assert target.capture[0].effect is Effect.READ  # a command that its author marks as looking only


def test_gates_and_manual_steps_keep_what_people_see(failover: Plan) -> None:
    gate, manual = failover.node("2"), failover.node("5")
    assert isinstance(gate, PlannedGate)
    assert isinstance(manual, PlannedManual)
    assert (gate.change, gate.expires_ms, gate.on_timeout) == ("emergency", 1_800_000, "escalate")
    assert manual.late == ("standby",)
    assert "{{ cluster }}" in manual.instructions  # all or nothing: what waits is the author's text


def test_verify_keeps_its_expectation(failover: Plan) -> None:
    check = action(failover, "4").targets[0].verify[0]
    assert (check.expect, check.retries, check.delay_ms) == ("result.rows[0].ok", 10, 1000)


def test_the_plan_can_be_stored_and_read_back(failover: Plan) -> None:
    assert Plan.decode(failover.encode()) == failover
    assert Plan.decode(failover.encode()).digest == failover.digest


def test_connectors_are_named_with_their_versions(failover: Plan) -> None:
    assert failover.connectors == {"postgres": "1.1", "ssh": "1.0"}


def test_blocks_loops_and_this_machine(plan: Planner) -> None:
    made = plan(CASES / "sound" / "everything.yaml")
    block = made.node("2")
    assert isinstance(block, PlannedBlock)
    assert [n.path for n in made.walk()] == ["1", "2", "2.block.1", "2.block.2", "2.rescue.1", "2.always.1"]
    assert [t.target for t in action(made, "1").targets] == ["web1"]  # run_once
    assert action(made, "1").targets[0].calls[0].effect is Effect.READ  # the author's claim, with a reason
    words = action(made, "2.block.1").targets[2]
    assert words.target == "web3"
    assert words.items == ("one", "two")
    assert [call.args["argv"] for call in words.calls] == [
        ["echo", "one", 3, 5],
        ["echo", "two", 3, 5],
    ]
    assert action(made, "2.block.1").options.environment == {"LANG": "C", "SERVICE": "nginx"}
    assert action(made, "2.block.1").options.become == "deploy"
    late = action(made, "2.block.2").targets[0]
    assert late.items is None
    assert late.calls[0].late == ("item", "state")
    assert late.undo[0].late == ("item", "state")
    assert [t.target for t in action(made, "2.always.1").targets] == ["localhost"]
    assert args(made, "2.always.1") == {"port": 8003}
    assert made.targets[-1].name == "localhost"
    assert made.targets[0].vars["weight"] == "1.5"  # a plan holds no fractions


def test_inputs_outweigh_the_inventory_and_the_inventory_outweighs_vars(plan: Planner) -> None:
    steps = 'hosts: web1\nsteps: [{name: a, ssh.command: {argv: ["{{ unit }}"]}}]\n'
    assert args(plan(steps)) == {"argv": ["nginx.service"]}
    assert args(plan("vars: {unit: x}\n" + steps)) == {"argv": ["nginx.service"]}
    assert args(plan("inputs: {unit: {default: y}}\n" + steps)) == {"argv": ["y"]}


OTHERS = """\
hosts: postgres
steps:
  - name: a
    hosts: {pattern}
    ssh.command: {{argv: ["{{{{ hostvars['db2'].pg_port }}}}", "{{{{ groups.standby | join(',') }}}}"]}}
"""


def test_other_hosts_of_the_plan_are_seen_through_hostvars_and_groups(plan: Planner) -> None:
    assert args(plan(OTHERS.format(pattern="alpha"))) == {"argv": [5433, "db2"]}


def test_hosts_that_the_plan_does_not_touch_are_not_in_it(plan: Planner) -> None:
    assert "hostvars has no key 'db2' (on db1)" in refused(plan, OTHERS.format(pattern="db1"))[0]


def test_a_step_that_is_skipped_for_sure_needs_no_names(plan: Planner) -> None:
    made = plan(
        'hosts: "postgres:web1"\nsteps:\n'
        '  - {name: a, when: unit is defined, ssh.command: {argv: [echo, "{{ unit }}"]}}\n'
    )
    calls = {t.target: t.calls[0] for t in action(made, "1").targets}
    assert calls["web1"].args == {"argv": ["echo", "nginx.service"]}
    assert calls["db1"].late == ("unit",)


def test_an_earlier_answer_hides_the_inventory(plan: Planner) -> None:
    made = plan(
        """\
hosts: web1
steps:
  - {name: a, postgres.query: {sql: x}, register: unit}
  - {name: b, ssh.command: {argv: [echo, "{{ unit.rows }}"]}}
"""
    )
    assert action(made, "2").targets[0].calls[0].late == ("unit",)


@pytest.mark.parametrize(
    ("source", "inputs", "said"),
    [
        ("hosts: wbe\nsteps: [{name: a, wait.port: {port: 1}}]", {}, "8:8: no host or group matches 'wbe'"),
        ("hosts: 'web:&standby'\nsteps: [{name: a, wait.port: {port: 1}}]", {}, "8:8: the host pattern"),
        (
            "hosts: web\nsteps: [{name: a, hosts: db1, wait.port: {port: 1}}]",
            {},
            "9:26: the hosts of the step (db1)",
        ),
        (
            "hosts: web\nlimits: {hosts: 3}\nsteps: [{name: a, wait.port: {port: 1}}]",
            {},
            "9:17: the plan would touch 4",
        ),
        (
            'hosts: web\nsteps: [{name: a, wait.port: {port: "{{ unit }}"}}]',
            {},
            "9:37: port: 'nginx.service' must be an integer (on web1, web2, web3 and 1 more)",
        ),
        ('hosts: web1\nsteps: [{name: a, wait.port: {port: "{{ 1 + }}"}}]', {}, "9:37: `{{ 1 + }}`"),
        (
            'hosts: web1\nsteps: [{name: a, wait.port: {port: "{{ 1 / 0 }}"}}]',
            {},
            "9:37: 1 / 0 divides by zero",
        ),
        (
            'hosts: web1\nsteps: [{name: a, wait.port: {port: "{{ pg_port }}"}}]',
            {},
            "9:37: 'pg_port' is undefined",
        ),
        (
            "hosts: web1\nsteps: [{name: a, when: unti == 1, wait.port: {port: 1}}]",
            {},
            "9:25: 'unti' is undefined (on web1); did you mean 'unit'?",
        ),
        (
            "hosts: web1\nsteps: [{name: a, when: weight, wait.port: {port: 1}}]",
            {},
            "9:25: `weight` is a text",
        ),
        (
            "inputs: {p: {type: integer}}\nsteps: [{name: a, wait.port: {port: 1}}]",
            {"q": 1},
            "inputs: p is missing",
        ),
        (
            "hosts: web1\nsteps: [{name: a, ssh.command: {argv: ['{{ 0.5 }}']}}]",
            {},
            "9:32: command.argv[0]: a float has no canonical form",
        ),
        (
            "hosts: web1\nsteps: [{name: a, loop: '{{ 5 }}', wait.port: {port: 1}}]",
            {},
            "9:25: a loop needs a list",
        ),
        (
            "hosts: web1\nsteps: [{name: a, register: b, postgres.query: {sql: x}},\n  {name: c, wait.port: {port: '{{ b.x + unti }}'}}]",
            {},
            "10:31: 'unti' is undefined",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_at_its_place(
    plan: Planner, source: str, inputs: Mapping[str, JsonValue], said: str
) -> None:
    found = refused(plan, source, inputs)
    assert any(said.split(" (on", maxsplit=1)[0] in text for text in found), found


def test_everything_that_does_not_fit_is_said_at_once(plan: Planner) -> None:
    found = refused(
        plan,
        """\
inputs: {a: {type: integer}, b: {type: boolean}}
hosts: web
steps:
  - {name: a, ssh.comand: {}}
  - {name: b, wait.port: {port: 0}}
""",
        {"c": 1},
    )
    assert len(found) == 5


ARGV = """\
inputs: {{word: {{type: string{more}}}}}
hosts: web1
steps:
  - {{name: a, ssh.command: {{argv: {argv}}}}}
"""


@pytest.mark.parametrize("argv", ['[ls, "{{ word }}"]', '[ls, "{{ word }}/x"]', '[ls, "{{ word | trim }}"]'])
def test_a_value_that_would_become_an_option_is_refused(plan: Planner, argv: str) -> None:
    (said,) = refused(plan, ARGV.format(more="", argv=argv), {"word": "-rf"})
    assert "begins with a dash and would be an option; it comes from word (on web1); put '--' before" in said
    assert args(plan(ARGV.format(more="", argv=argv), {"word": "rf"}))


def test_a_value_that_would_become_an_option_is_refused_though_the_call_waits(plan: Planner) -> None:
    source = """\
inputs: {word: {type: string}}
hosts: web1
steps:
  - {name: a, postgres.query: {sql: x}, register: b}
  - {name: c, ssh.command: {argv: [ls, "{{ word }}", "{{ b.x }}"]}}
"""
    (said,) = refused(plan, source, {"word": "-rf"})
    assert said.startswith("12:40: '-rf' begins with a dash")


@pytest.mark.parametrize(
    ("more", "argv"),
    [
        (', pattern: "-?[a-z]+"', '[ls, "{{ word }}"]'),
        ("", '[ls, --, "{{ word }}"]'),
        ("", '[ls, "-{{ word }}"]'),
    ],
)
def test_a_dash_that_the_author_allows_is_kept(plan: Planner, more: str, argv: str) -> None:
    assert "-rf" in str(args(plan(ARGV.format(more=more, argv=argv), {"word": "-rf"})))


def test_secrets_in_plain_text_stay_out_of_the_plan(catalog: Catalog) -> None:
    inventory = parse_inventory(
        "h1 ansible_password=hunter2 db_token=hunter2 key_ref_secret=env:KEY ansible_ssh_pass=hunter2 pin=1\n"
    )
    made = make_plan(
        parse_runbook(HEAD + "hosts: h1\nsteps: [{name: a, wait.port: {port: 1}}]"),
        {},
        inventory,
        catalog,
        {},
    )
    assert b"hunter2" not in made.encode()
    assert made.targets[0].vars["key_ref_secret"] == "env:KEY"
    assert made.targets[0].vars["pin"] == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.one_of(st.text(max_size=30), st.sampled_from(["{{ 7*7 }}", "{% raw %}", "{{ password }}", "{# #}"]))
)
def test_inputs_are_never_parsed(plan: Planner, text: str) -> None:
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        return
    source = """\
inputs: {word: {type: string}}
hosts: web1
vars: {twice: "{{ word }}{{ word }}"}
steps:
  - {name: "n {{ word }}", ssh.command: {argv: [x, --, "{{ word }}", "<{{ twice }}>"]}, environment: {W: "{{ word }}"}}
  - {name: m, manual: {instructions: "{{ word }}"}}
"""
    made = plan(source, {"word": text})
    assert args(made) == {"argv": ["x", "--", text, f"<{text}{text}>"]}
    assert action(made, "1").targets[0].calls[0].late == ()
    assert action(made, "1").options.environment == {"W": text}
    manual = made.node("2")
    assert isinstance(manual, PlannedManual)
    # Filled in, or the author's own text: never a text in which the value's braces could be taken for a template.
    assert (manual.instructions, manual.late) in [(text, ()), ("{{ word }}", ("word",))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(
    st.permutations(["max_lag_bytes", "cluster", "password"]), st.permutations(["ssh", "postgres", "wait"])
)
def test_the_order_in_which_things_are_given_does_not_matter(
    plan: Planner, inventory: Inventory, catalog: Catalog, names: list[str], connectors: list[str]
) -> None:
    every = {**GIVEN, "max_lag_bytes": 1048576}
    loaded = load_runbook(CASES / "sound" / "postgres-failover.yaml")
    versions = dict.fromkeys(connectors, "1")
    made = make_plan(loaded, {name: every[name] for name in names}, inventory, catalog, versions)
    assert made.digest == make_plan(loaded, GIVEN, inventory, catalog, dict.fromkeys(versions, "1")).digest


def test_the_same_plan_has_the_same_bytes_in_every_process() -> None:
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from conftest import VERSIONS, Postgres, Ssh, Wait
from mimrun.catalog import Catalog
from mimrun.runbook.inventory import load_inventory
from mimrun.runbook.loader import load_runbook
from mimrun.runbook.planner import make_plan
cases = Path({str(CASES)!r})
catalog = Catalog({{"ssh": Ssh, "postgres": Postgres, "wait": Wait}})
for name, inputs in (("postgres-failover", {GIVEN!r}), ("everything", {{}})):
    loaded = load_runbook(cases / "sound" / (name + ".yaml"))
    print(make_plan(loaded, inputs, load_inventory([cases / "inventory.ini"]), catalog, VERSIONS).encode())
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale, "TZ": zone},
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[3],
            timeout=60,
        ).stdout
        for seed, locale, zone in (("1", "C", "UTC"), ("2", "C.UTF-8", "Asia/Tokyo"))
    }
    assert len(said) == 1
    assert len(next(iter(said))) > 1000


def test_one_character_more_is_another_digest(plan: Planner) -> None:
    source = 'hosts: web1\nsteps: [{name: a, ssh.command: {argv: [echo, "a"]}}]'
    one, other = plan(source), plan(source.replace('"a"', '"b"'))
    assert one.digest != other.digest
    assert one.digest == canonical.digest_bytes(one.encode())
