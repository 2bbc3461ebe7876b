from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from mimrun.catalog import Catalog, installed_catalog
from mimrun.errors import RunbookError
from mimrun.runbook.document import load_document
from mimrun.runbook.loader import load_runbook, parse_runbook
from mimrun.runbook.model import ActionStep, GateStep, Runbook
from mimrun.runbook.schema import runbook_schema

CASES = Path(__file__).parents[2] / "cases"
LIBRARY = Path(__file__).parents[3] / "runbooks"
HEAD = {
    "schema": "mimrun/1",
    "name": "small",
    "version": "1.0.0",
    "title": "Small",
    "stage": "containment",
    "owner": "me",
    "risk": "low",
}


@pytest.fixture
def validator(catalog: Catalog) -> jsonschema.Draft202012Validator:
    schema = runbook_schema(catalog)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(
    "name",
    [path.relative_to(CASES).with_suffix("").as_posix() for path in sorted(CASES.glob("[rs]*/*.yaml"))],
)
def test_what_loads_is_valid(validator: jsonschema.Draft202012Validator, name: str) -> None:
    path = CASES / f"{name}.yaml"
    load_runbook(path)
    assert [e.message for e in validator.iter_errors(load_document(path).value)] == []


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_the_library_is_valid_with_the_actions_that_are_installed(path: Path) -> None:
    whole = jsonschema.Draft202012Validator(runbook_schema(installed_catalog()))
    assert [e.message for e in whole.iter_errors(load_document(path).value)] == []


def test_every_key_says_what_it_is_for_while_one_writes() -> None:
    schema = runbook_schema(installed_catalog())
    silent = [
        f"{where}.{key}"
        for where, definition in [("", schema), *schema["$defs"].items()]
        for key, about in definition.get("properties", {}).items()
        if not about.get("description") and "$ref" not in about
    ]
    assert not silent


STEPS = [
    "{name: a, shell: id}",
    "{name: a}",
    "{ssh.command: {argv: [id]}}",
    "{name: a, ssh.command: {argv: [id]}, gate: {approvals: [{role: x}]}}",
    "{name: a, ssh.command: {argv: [id]}, retires: 3}",
    "{name: a, gate: {approvals: []}}",
    "{name: a, gate: {approvals: [{role: x}], on_timeout: approve}}",
    "{name: a, gate: {approvals: [{role: x}]}, retries: 3}",
    "{name: a, manual: {instructions: ''}}",
    "{name: a, block: []}",
    "{name: a, block: [{name: b}]}",
    "{name: a, ssh.command: {argv: [id]}, verify: {expect: x}}",
    "{name: a, ssh.command: {argv: [id]}, undo: {ssh.command: {argv: [id]}, retries: 1}}",
    "{name: a, ssh.command: {argv: [id]}, notify: 5}",
    "{name: a, ssh.command: {argv: [id]}, serial: 0}",
    "{name: a, ssh.command: {argv: [id]}, serial: []}",
    "{name: a, ssh.command: {argv: [id]}, serial: ['10']}",
    "{name: a, ssh.command: {argv: [id]}, max_failures: '200%'}",
    "{name: a, gate: {approvals: [{role: x}]}, serial: 1}",
    "{name: a, parallel: [{name: b, ssh.command: {argv: [id]}}]}",
    "{name: a, parallel: []}",
    "{name: a, ssh.command: {argv: [id]}, waits: true}",
    "{name: a, ssh.command: {argv: [id]}, check_mode: true}",
    "{name: a, include: drain@1.2.0}",
    "{name: a, include: {runbook: drain}}",
    "{name: a, include: {inputs: {x: y}}}",
    "{name: a, include: {runbook: drain@1.2.0, hosts: web}}",
    "{name: a, include: {runbook: drain@1.2.0}, hosts: web}",
    "{name: a, wait: 5s}",
    "{name: a, wait: {until: x, deadline: 5m}}",
    "{name: a, wait: {postgres.query: {sql: x}, until: x}}",
    "{name: a, wait: {postgres.query: {sql: x}, deadline: 5m}}",
    "{name: a, wait: {postgres.query: {sql: x}, until: x, deadline: 5m, retries: 3}}",
    "{name: a, wait: {postgres.query: {sql: x}, until: x, deadline: 5m}, until: x}",
    "{name: a, wait: {postgres.query: {sql: x}, until: x, deadline: 5m}, undo: {ssh.command: {argv: [id]}}}",
    "{name: a, parallel: [{name: b, ssh.command: {argv: [id]}}, {name: c}]}",
    "{name: a, on_failure: go, parallel: [{name: b, wait.port: {port: 1}}, {name: c, wait.port: {port: 2}}]}",
]
HANDLERS = [
    "{name: a, gate: {approvals: [{role: x}]}}",
    "{name: a, ssh.command: {argv: [id]}, notify: b}",
    "{name: a, ssh.command: {argv: [id]}, run_once: true}",
    "{ssh.command: {argv: [id]}}",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_does_not_load_is_not_valid(
    validator: jsonschema.Draft202012Validator, step: str
) -> None:
    import yaml  # noqa: PLC0415 - the judge's own reader, and not ours

    with pytest.raises(RunbookError):
        parse_runbook("\n".join(f"{k}: {v}" for k, v in HEAD.items()) + f"\nsteps: [{step}]")
    assert not validator.is_valid({**HEAD, "steps": [yaml.safe_load(step)]})


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_that_does_not_load_is_not_valid(
    validator: jsonschema.Draft202012Validator, handler: str
) -> None:
    import yaml  # noqa: PLC0415 - the judge's own reader, and not ours

    steps = "steps: [{name: a, wait.port: {port: 1}}]"
    with pytest.raises(RunbookError):
        parse_runbook("\n".join(f"{k}: {v}" for k, v in HEAD.items()) + f"\n{steps}\nhandlers: [{handler}]")
    whole = {**HEAD, **yaml.safe_load(steps)}
    assert validator.is_valid(whole)
    assert not validator.is_valid({**whole, "handlers": [yaml.safe_load(handler)]})


@pytest.mark.parametrize(
    ("args", "valid"),
    [
        ({"port": 80}, True),
        ({"port": "{{ port }}"}, True),
        ({"port": "eighty"}, False),
        ({"port": 0}, False),
        ({}, False),
        ({"port": 80, "prot": 1}, False),
    ],
)
def test_arguments_are_those_of_the_installed_action(
    validator: jsonschema.Draft202012Validator, args: object, valid: bool
) -> None:
    assert validator.is_valid({**HEAD, "steps": [{"name": "a", "wait.port": args}]}) is valid


def test_every_key_can_be_completed_and_explained(catalog: Catalog) -> None:
    schema = runbook_schema(catalog)
    assert set(schema["properties"]) == {info.alias or name for name, info in Runbook.model_fields.items()}
    action = schema["$defs"]["ActionStep"]["properties"]
    keys = {info.alias or name for name, info in ActionStep.model_fields.items()} - {"kind", "call", "waits"}
    assert set(action) == keys | {
        "ssh.command",
        "ssh.shell",
        "postgres.query",
        "postgres.promote",
        "wait.port",
    }
    assert "kind" not in schema["$defs"][GateStep.__name__]["properties"]
    assert action["ssh.command"]["description"] == "Run a program."
