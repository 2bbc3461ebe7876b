"""The policy in force: where plans get their gate in front, and a file that changes between two decisions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from builders.plans import a_plan, action, gate
from builders.runs import Bench

from mimrun.app.plans import draft_plan
from mimrun.app.policies import asks_at_launch, policy_reader
from mimrun.app.retry import plan_retry
from mimrun.catalog import installed_catalog
from mimrun.connector import Effect
from mimrun.errors import RefusedError
from mimrun.runbook.launch import LAUNCH
from mimrun.runbook.node import PlannedAction, PlannedGate
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

BOOK = """\
schema: mimrun/1
name: small
version: 1.0.0
title: Small
stage: containment
owner: me
risk: low
steps:
  - name: Do it
    local.command: {argv: ["true"]}
"""


def drafted(folder: Path) -> Plan:
    (folder / "small.yaml").write_text(BOOK)
    return draft_plan(Settings(home=folder), installed_catalog(), str(folder / "small.yaml"), [], [])


def test_without_policy_and_calendars_a_plan_is_what_it_always_was(tmp_path: Path) -> None:
    without = drafted(tmp_path)
    assert [node.path for node in without.walk()] == ["1"]
    (tmp_path / "calendars").mkdir()
    (tmp_path / "calendars" / "README").write_text("nothing here yet")
    assert drafted(tmp_path).digest == without.digest


@pytest.mark.parametrize("file", ["policy.yaml", "calendars/year-end.yaml", "calendars/team.ics"])
def test_a_policy_or_a_calendar_puts_a_gate_in_front(tmp_path: Path, file: str) -> None:
    without = drafted(tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("")
    made = drafted(tmp_path)
    assert [node.path for node in made.walk()] == [LAUNCH, "1"]
    assert isinstance(made.node(LAUNCH), PlannedGate)
    assert made.digest != without.digest
    assert made.sources == without.sources


def test_a_policy_that_is_a_broken_link_counts_as_one(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").symlink_to(tmp_path / "gone")
    assert asks_at_launch(Settings(home=tmp_path))


def test_a_changed_policy_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    read = policy_reader(file)
    assert read() is None
    file.write_text("expires: 10m\n")
    first = read()
    assert first is not None
    assert read() is first
    assert first.expires == 600_000
    file.write_text("expires: 20m\n")
    os.utime(file, ns=(1, 1))
    second = read()
    assert second is not None
    assert second.expires == 1_200_000


def test_a_policy_that_cannot_be_read_refuses_and_never_falls_back(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("expires: 10m\n")
    read = policy_reader(file)
    read()
    file.write_text("expires: soon\n")
    os.utime(file, ns=(1, 1))
    for _ in range(2):
        with pytest.raises(RefusedError, match="nobody can say what the policy asks for"):
            read()


def broken(path: str) -> PlannedAction:
    """Give a step that fails and may be repeated."""
    node = action(path, "hook", word="nobody hooked this up")
    call = node.targets[0].calls[0].model_copy(update={"effect": Effect.IDEMPOTENT})
    return node.model_copy(update={"targets": (node.targets[0].model_copy(update={"calls": (call,)}),)})


def test_a_retry_of_a_run_from_before_the_policy_gets_the_gate(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    run, verdict = bench.run(a_plan(bench.world, broken("1"), action("2")))
    assert verdict.exit_code == 1
    with bench.home() as home:
        before = plan_retry(home, run)
        bench.settings.policy.write_text("signed: false\n")
        after = plan_retry(home, run)
    assert [node.path for node in before.walk()] == ["1", "2"]
    assert [node.path for node in after.walk()] == [LAUNCH, "1", "2"]
    assert after.retry_of == run


def test_a_retry_keeps_the_authors_gate_behind_the_one_in_front(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    run, verdict = bench.run(a_plan(bench.world, broken("1"), gate("2"), action("3")))
    assert verdict.exit_code == 1
    bench.settings.policy.write_text("signed: false\n")
    with bench.home() as home:
        assert [node.path for node in plan_retry(home, run).walk()] == [LAUNCH, "1", "2", "3"]
