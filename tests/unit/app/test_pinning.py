from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from builders.runs import Bench

from mimrun.app.execution import execute_run
from mimrun.app.plans import draft_plan
from mimrun.catalog import installed_catalog
from mimrun.errors import PlanError
from mimrun.runbook.node import PlannedAction, PlannedCall
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

HEAD = """\
schema: mimrun/1
name: pinned
version: 1.0.0
title: Files beside mimrun
stage: containment
risk: low
owner: testers
inputs:
  folder: {type: string, default: scripts}
  token: {type: secret, required: false}
steps:
"""


def planned(folder: Path, steps: str, *inputs: str, hosts: Sequence[Path] = ()) -> Plan:
    file = folder / "runbook.yaml"
    file.write_text(HEAD + steps)
    return draft_plan(Settings(home=folder / "home"), installed_catalog(), str(file), inputs, hosts)


def call_of(plan: Plan, path: str = "1") -> PlannedCall:
    node = plan.node(path)
    assert isinstance(node, PlannedAction)
    return node.targets[0].calls[0]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "scripts" / "lock.sh"
    path.parent.mkdir()
    path.write_text("echo locked\n")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "action",
    [
        "local.script: {src: S}",
        "local.copy: {src: S, dest: /tmp/x}",
        "ssh.script: {src: S}",
        "ssh.upload: {src: S, dest: /tmp/x}",
    ],
)
def test_the_content_of_a_local_file_is_part_of_the_digest(tmp_path: Path, script: Path, action: str) -> None:
    steps = f"  - name: Lock\n    {action.replace('S', 'scripts/lock.sh')}\n"
    before = planned(tmp_path, steps)
    assert call_of(before).args["sha256"] == sha256(script)
    assert call_of(before).args["src"] == str(script), "another working folder must not mean another file"
    assert planned(tmp_path, steps).digest == before.digest
    script.write_text("echo opened\n")
    assert planned(tmp_path, steps).digest != before.digest


def test_a_file_of_a_call_that_waits_for_a_secret_is_pinned_and_its_template_stays(
    tmp_path: Path, script: Path
) -> None:
    steps = '  - name: Lock\n    local.script: {src: "{{ folder }}/lock.sh", args: ["{{ token }}"]}\n'
    call = call_of(planned(tmp_path, steps, "token=env:TOKEN"))
    assert call.late == ("token",)
    assert call.args["src"] == "{{ folder }}/lock.sh"
    assert call.args["sha256"] == sha256(script)


def test_each_item_of_a_loop_has_its_own_file(tmp_path: Path, script: Path) -> None:
    script.with_name("other.sh").write_text("echo other\n")
    steps = '  - name: Lock\n    local.script: {src: "scripts/{{ item }}"}\n    loop: [lock.sh, other.sh]\n'
    node = planned(tmp_path, steps).node("1")
    assert isinstance(node, PlannedAction)
    found = [call.args["sha256"] for call in node.targets[0].calls]
    assert found == [sha256(script), sha256(script.with_name("other.sh"))]


def test_files_of_undo_verify_and_capture_are_pinned_in_blocks_as_well(tmp_path: Path, script: Path) -> None:
    steps = """\
  - name: All of it
    block:
      - name: Lock
        local.script: {src: scripts/lock.sh}
        verify: {local.script: {src: scripts/lock.sh, changed: false}}
        capture: {local.script: {src: scripts/lock.sh, changed: false}}
        undo: {local.script: {src: scripts/lock.sh}}
"""
    node = planned(tmp_path, steps).node("1.block.1")
    assert isinstance(node, PlannedAction)
    target = node.targets[0]
    calls = [*target.calls, *target.verify, *target.capture, *target.undo]
    assert [call.args["sha256"] for call in calls] == [sha256(script)] * 4


def test_a_digest_that_the_author_gives_is_left_alone(tmp_path: Path, script: Path) -> None:
    steps = f"  - name: Lock\n    local.script: {{src: scripts/none.sh, sha256: {'a' * 64}}}\n"
    assert call_of(planned(tmp_path, steps)).args["sha256"] == "a" * 64


def test_files_that_cannot_be_pinned_make_no_plan_and_are_all_named(tmp_path: Path, script: Path) -> None:
    steps = """\
  - name: Not there
    local.script: {src: scripts/none.sh}
  - name: No file
    ssh.upload: {src: scripts, dest: /tmp/x}
  - name: Asked for later
    local.command: {argv: [hostname]}
    register: seen
  - name: Not known yet
    local.script: {src: "{{ seen.stdout }}"}
"""
    with pytest.raises(PlanError) as caught:
        planned(tmp_path, steps)
    text = str(caught.value)
    assert "step 1: 'Not there': src of local.script" in text
    assert "none.sh is not there" in text
    assert "step 2: 'No file': src of ssh.upload" in text
    assert "step 4: 'Not known yet': src of local.script" in text
    assert "give its sha256" in text


def test_a_file_of_a_step_that_will_not_be_done_is_not_asked_for(tmp_path: Path, script: Path) -> None:
    steps = """\
  - name: Elsewhere
    when: folder == 'elsewhere'
    local.script: {src: "{{ nothing }}", args: ["{{ token }}"]}
"""
    assert "sha256" not in call_of(planned(tmp_path, steps, "token=env:TOKEN")).args


def test_content_that_was_changed_after_planning_is_not_run(tmp_path: Path, script: Path) -> None:
    plan = planned(tmp_path, "  - name: Lock\n    local.script: {src: scripts/lock.sh}\n")
    script.write_text(f"touch {tmp_path}/done\n")
    bench = Bench(tmp_path)
    run = bench.create(plan)
    verdict = execute_run(bench.settings, run, catalog=installed_catalog())
    assert verdict.status == "failed"
    assert f"has sha256 {sha256(script)}, not " in verdict.detail
    assert not (tmp_path / "done").exists()
