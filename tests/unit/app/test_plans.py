"""Plans: everything that is wrong with what was typed is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimrun.app.plans import draft_plan
from mimrun.app.runbooks import installed_catalog
from mimrun.errors import InputError, InventoryError
from mimrun.settings import Settings

HEAD = """\
schema: mimrun/1
name: small
version: 1.0.0
title: Small
stage: containment
owner: me
risk: low
"""
INPUTS = "inputs: {n: {type: integer, minimum: 3}, must: {}}\n"
STEP = "steps: [{name: Look, local.command: {argv: [id]}}]\n"


def refused(folder: Path, source: str, *words: str, inventories: tuple[str, ...] = ()) -> InputError:
    """Try to plan a runbook, and give what is said about it."""
    path = folder / "small.yaml"
    path.write_text(HEAD + source)
    with pytest.raises(InputError) as caught:
        draft_plan(
            Settings(home=folder),
            installed_catalog(),
            str(path),
            words,
            [folder / name for name in inventories],
        )
    return caught.value


def test_unreadable_unknown_wrong_and_missing_inputs_are_named_together(tmp_path: Path) -> None:
    error = refused(tmp_path, INPUTS + STEP, "n=1", "bb=3", "zz")
    said = str(error)
    for words in ("'zz' is not an input", "no input 'bb'", "n: 1 must be at least 3", "must is missing"):
        assert words in said, said
    assert len(error.problems) == 4


def test_a_wrong_inventory_hides_neither_wrong_inputs_nor_a_wrong_runbook(tmp_path: Path) -> None:
    step = "steps: [{name: Look, local.comand: {argv: [id]}}]\n"
    error = refused(tmp_path, INPUTS + step, "n=1", "zz", inventories=("none.ini", "never.ini"))
    said = str(error)
    for words in (
        "none.ini is not there",
        "never.ini is not",
        "did you mean 'local.command'",
        "'zz'",
        "n: 1",
    ):
        assert words in said, said
    assert len(error.problems) == 6


def test_a_wrong_inventory_alone_stays_an_inventory_error(tmp_path: Path) -> None:
    (tmp_path / "broken.ini").write_text("[web\nweb1\n")
    error = refused(tmp_path, STEP, inventories=("broken.ini",))
    assert isinstance(error, InventoryError)
    assert len(error.problems) == 1


@pytest.mark.parametrize("hosts", ["db1", "web*", "all", "localhost:!db1"])
def test_hosts_without_an_inventory_are_missed_with_the_option_that_gives_one(
    tmp_path: Path, hosts: str
) -> None:
    (problem,) = refused(tmp_path, f'hosts: "{hosts}"\n' + STEP).problems
    assert (problem.line, problem.column) == (8, 8)
    assert "no inventory was given" in problem.hint
    assert "-i" in problem.hint


def test_with_an_inventory_its_own_names_are_suggested(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text("[data]\ndb1\n")
    (problem,) = refused(tmp_path, "hosts: dta\n" + STEP, inventories=("hosts.ini",)).problems
    assert problem.hint == "did you mean 'data'?"


def test_a_wrong_form_of_one_step_does_not_hide_the_wrong_arguments_of_another(tmp_path: Path) -> None:
    steps = "  - {name: Agree, gate: {approvals: []}}\n  - {name: Look, local.command: {agv: [id]}}\n"
    said = str(refused(tmp_path, "steps:\n" + steps))
    for words in ("approvals: must not be empty", "'argv' is missing", "unknown key 'agv'"):
        assert words in said, said
