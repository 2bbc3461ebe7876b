"""What is sound of a runbook that is wrong elsewhere is checked too, and nothing false is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimrun.catalog import Catalog
from mimrun.errors import RunbookError
from mimrun.runbook.library import find_runbook, open_library
from mimrun.runbook.lint import lint_rest
from mimrun.runbook.loader import parse_runbook

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
GATE = "  - {name: Agree, gate: {approvals: []}}\n"
WRONG = "  - {name: Look, ssh.comand: {argv: [id]}}\n"
SOUND = [
    (CASES / "sound" / name).read_text()
    for name in ("everything.yaml", "postgres-failover.yaml", "flow.yaml", "include.yaml")
]


def said(source: str, catalog: Catalog | None) -> list[str]:
    """Give what is said about a runbook; without a catalog, what the loader alone says."""
    try:
        parse_runbook(source, "r.yaml", lint_rest(catalog) if catalog else None)
    except RunbookError as exc:
        return [str(problem) for problem in exc.problems]
    return []


def test_a_wrong_step_does_not_hide_the_wrong_arguments_of_another(catalog: Catalog) -> None:
    lines = said(HEAD + "steps:\n" + GATE + WRONG, catalog)
    assert len(lines) == 2
    assert "approvals: must not be empty" in lines[0]
    assert "did you mean 'ssh.command'?" in lines[1]


def test_what_stands_under_a_misspelt_key_is_not_called_undefined(catalog: Catalog) -> None:
    steps = 'steps:\n  - {name: Look, ssh.shell: {cmd: "echo {{ service }}"}, hosts: "{{ service }}"}\n'
    (line,) = said(HEAD + "input: {service: {choices: [a]}}\n" + steps, catalog)
    assert "did you mean 'inputs'?" in line


def test_a_lost_word_is_not_what_somebody_may_have_meant(catalog: Catalog) -> None:
    steps = 'steps:\n  - {name: Look, ssh.command: {argv: ["{{ postgres_port }}"]}}\n'
    (line,) = said(HEAD + "input: {postgres_prt: {}}\n" + steps, catalog)
    assert "did you mean 'inputs'?" in line


@pytest.mark.parametrize(
    "source",
    [
        HEAD.replace("mimrun/1", "mimrun/2") + "steps:\n" + WRONG,
        HEAD + "steps: {name: Look, ssh.comand: {}}\n",
        HEAD + "tasks:\n" + WRONG,
    ],
    ids=["another language", "steps that are no list", "no steps"],
)
def test_where_no_step_can_be_told_nothing_is_said_about_steps(source: str, catalog: Catalog) -> None:
    assert not any("comand" in line for line in said(source, catalog))


def test_a_head_without_what_it_needs_does_not_hide_the_steps(catalog: Catalog) -> None:
    lines = said("schema: mimrun/1\nsteps:\n" + WRONG, catalog)
    assert len(lines) == 7
    assert "did you mean 'ssh.command'?" in lines[-1]


def test_a_library_says_it_too(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / "small.yaml").write_text(HEAD + "steps:\n" + GATE + WRONG)
    (problems,) = open_library([tmp_path], lint_rest(catalog)).broken.values()
    assert len(problems) == 2
    with pytest.raises(RunbookError) as caught:
        find_runbook("small", [tmp_path], lint_rest(catalog))
    assert len(caught.value.problems) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=st.sampled_from(SOUND), data=st.data())
def test_no_broken_part_makes_a_sound_part_wrong(source: str, data: st.DataObject, catalog: Catalog) -> None:
    """Break one place of a sound runbook: nothing is said besides what the loader says about that place."""
    places = [spot for spot in spots(yaml.compose(source)) if spot.start >= source.index("inputs:")]
    place = data.draw(st.sampled_from(places))
    value = data.draw(st.sampled_from(["{what: is, this: [1]}", "[[x]]"]))
    broken = source[: place.start] + value + source[place.stop :]
    assert said(broken, catalog) == said(broken, None)


def spots(node: yaml.Node) -> list[slice]:
    """Give the extent of every value that is written on one line."""
    found = []
    if node.start_mark.line == node.end_mark.line:
        found.append(slice(node.start_mark.index, node.end_mark.index))
    if isinstance(node, yaml.MappingNode):
        found += [spot for _, value in node.value for spot in spots(value)]
    if isinstance(node, yaml.SequenceNode):
        found += [spot for value in node.value for spot in spots(value)]
    return found
