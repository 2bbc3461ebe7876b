from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun import canonical
from mimrun.errors import RunbookError
from mimrun.runbook.loader import load_runbook, parse_runbook
from mimrun.runbook.model import ActionStep, BlockStep

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


def text(steps: str) -> str:
    return HEAD + "steps:\n" + steps


def test_digest_is_over_the_bytes_of_the_file() -> None:
    path = CASES / "sound" / "everything.yaml"
    loaded = load_runbook(path)
    assert loaded.digest == canonical.digest_bytes(path.read_bytes())
    assert loaded.source == path.read_bytes()
    assert loaded.file == str(path)


def test_calls_are_read_with_their_keywords() -> None:
    step = load_runbook(CASES / "sound" / "postgres-failover.yaml").runbook.steps[3]
    assert isinstance(step, ActionStep)
    assert step.call.action == "postgres.promote"
    assert step.verify is not None
    assert (step.verify.action, step.verify.retries, step.verify.delay) == ("postgres.query", 10, 1000)
    assert step.verify.args == {"sql": "select not pg_is_in_recovery() as ok"}


def test_an_action_without_arguments_has_none() -> None:
    step = parse_runbook(text("  - {name: a, ssh.x: }")).runbook.steps[0]
    assert isinstance(step, ActionStep)
    assert step.call.args == {}


def test_a_condition_may_be_written_as_a_boolean() -> None:
    step = parse_runbook(text("  - {name: a, ssh.x: {}, when: true, until: false}")).runbook.steps[0]
    assert isinstance(step, ActionStep)
    assert (step.when, step.until) == ("true", "false")


def test_every_part_of_a_step_can_be_found_in_the_file() -> None:
    loaded = load_runbook(CASES / "sound" / "everything.yaml")
    block = loaded.runbook.steps[1]
    assert isinstance(block, BlockStep)
    place = loaded.call_path("2.block.2", "undo")
    assert place == ("steps", 1, "block", 1, "undo", "ssh.shell")
    problem = loaded.problem((*place, "cmd"), "wrong")
    assert (
        loaded.source.decode().split("\n")[problem.line - 1][problem.column - 1 :].startswith('"echo {{ item')
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("text", "begin with `schema: mimrun/1`"),
        ("a: 1", "begin with `schema: mimrun/1`"),
        ("- a", "not a list of plays"),
        (HEAD, "'steps' is missing"),
        (HEAD + "steps: []", "steps: must not be empty"),
        (HEAD + "steps: {}", "steps: must be a list"),
        (HEAD.replace("mimrun/1", "mimrun/2") + "steps: [{name: a, ssh.x: {}}]", "is not one of 'mimrun/1'"),
        ("a: [", r"runbook\.yaml:1:"),
    ],
)
def test_what_is_no_runbook_is_refused(content: str, message: str) -> None:
    with pytest.raises(RunbookError, match=message):
        parse_runbook(content)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunbookError, match="cannot be read: No such file"):
        load_runbook(tmp_path / "none.yaml")


def test_a_step_that_cannot_be_read_does_not_hide_the_others() -> None:
    steps = "  - {name: a}\n  - {name: b, ssh.x: {}, retires: 3}\n"
    with pytest.raises(RunbookError) as caught:
        parse_runbook(text(steps))
    assert [(p.line, p.hint[:12]) for p in caught.value.problems] == [
        (9, "give it one "),
        (10, "did you mean"),
    ]


PIECES = """
name: a | ssh.x: {} | gate: {} | manual: {} | block: [] | block: [{}] | verify: {ssh.y: {}} | x.: 1 | undo: []
loop: 3 | effect: once | become: {} | args: {} | call: {} | kind: gate | .: {} | when: 1 | capture: {a.b: [1]}
"""
pieces = st.sampled_from(re.split(r" [|] |\n", PIECES.strip()))


@given(st.lists(pieces, max_size=5, unique_by=lambda piece: piece.split(":")[0]))
def test_no_step_makes_the_loader_fall_over(keys: list[str]) -> None:
    source = text("  - {" + ", ".join(keys) + "}\n")
    with contextlib.suppress(RunbookError):
        parse_runbook(source)
