"""The reference page says what the code does: its examples load, its tables and lists are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from mimrun.catalog import Catalog
from mimrun.runbook.evaluator import SPECIAL_FILTERS, SPECIAL_TESTS
from mimrun.runbook.filters import FILTERS
from mimrun.runbook.finding import Level
from mimrun.runbook.habit import RUNBOOK_HABITS, STEP_HABITS
from mimrun.runbook.lint import lint
from mimrun.runbook.loader import parse_runbook
from mimrun.runbook.model import (
    ActionStep,
    Evidence,
    Gate,
    Include,
    Input,
    Manual,
    ParallelStep,
    Runbook,
    Wait,
    WaitStep,
)
from mimrun.runbook.operators import LIST_METHODS, MAPPING_METHODS, TEXT_METHODS
from mimrun.runbook.predicate import PREDICATES

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "runbook-language.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S)
HEAD = """\
schema: mimrun/1
name: small
version: 1.0.0
title: Small
stage: containment
owner: me
risk: low
"""
STEP = "steps: [{name: a, wait.port: {port: 1}}]\n"


def whole(block: str) -> str:
    """Make a runbook of a piece of one: a list of steps, or some keys of the top."""
    if block.startswith("schema:"):
        return block
    if block.startswith("- "):
        return HEAD + "steps:\n" + block
    return HEAD + block + ("" if "steps:" in block else STEP)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_example_loads_and_has_no_errors(number: int, catalog: Catalog) -> None:
    loaded = parse_runbook(whole(BLOCKS[number]), f"example {number}")
    assert [str(f) for f in lint(loaded, catalog) if f.level is Level.ERROR] == []


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 8


def section(title: str) -> str:
    return re.split(r"^#+ ", PAGE.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.M)[0]


@pytest.mark.parametrize(
    ("title", "model", "without"),
    [
        ("The top of the file", Runbook, set()),
        ("Inputs", Input, set()),
        ("Actions", ActionStep, {"kind", "name", "when", "tags", "call", "waits"}),
        ("Branches", ParallelStep, {"kind", "name", "when", "tags"}),
        ("Waiting", Wait, set()),
        ("Included runbooks", Include, set()),
        ("Gates", Gate, set()),
        ("Manual steps", Manual, set()),
        ("Manual steps", Evidence, set()),
    ],
)
def test_every_key_is_explained_and_no_other(title: str, model: type[BaseModel], without: set[str]) -> None:
    keys = {info.alias or name for name, info in model.model_fields.items()} - without
    text = section(title)
    assert {key for key in keys if f"`{key}`" not in text} == set()
    if model is not Evidence:
        rows = re.findall(r"^\| (`[^|]+`) \|", text, re.M)
        assert {key for row in rows for key in re.findall(r"`([^`]+)`", row)} == keys


def test_every_key_beside_wait_is_named() -> None:
    keys = {info.alias or name for name, info in WaitStep.model_fields.items()}
    text = section("Waiting")
    assert {key for key in keys - {"kind", "name", "when", "tags"} if f"`{key}`" not in text} == set()


def words(title: str) -> set[str]:
    match = re.search(r"^`([^`]+)`$", section(title), re.M | re.S)
    assert match
    return set(match[1].split())


def test_every_filter_and_test_is_listed() -> None:
    assert words("Filters") == FILTERS.keys() | SPECIAL_FILTERS
    assert words("Tests") == PREDICATES.keys() | SPECIAL_TESTS


def test_every_method_is_listed() -> None:
    lists = re.search(r"Texts know the methods `([^`]+)`; mappings `([^`]+)`;\s+lists `([^`]+)`", PAGE)
    assert lists
    assert [set(found.split()) for found in lists.groups()] == [TEXT_METHODS, MAPPING_METHODS, LIST_METHODS]


def test_no_hint_names_a_key_that_does_not_exist() -> None:
    hints = " ".join([*STEP_HABITS.values(), *RUNBOOK_HABITS.values()])
    known = {
        info.alias or name for model in (ActionStep, Runbook) for name, info in model.model_fields.items()
    }
    known |= {"block", "rescue", "always", "gate", "manual", "include", "parallel", "wait"}
    named = set(re.findall(r"`([a-z_]+):", hints))
    assert named <= known | {"limits", "changed", "creates", "removes"}
