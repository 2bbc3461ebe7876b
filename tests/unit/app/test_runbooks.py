from __future__ import annotations

from datetime import date
from pathlib import Path

from mimrun.app.runbooks import lint_all

HALF = """\
schema: mimrun/1
name: half
version: 1.0.0
title: Half of it can be read
stage: containment
risk: low
owner: us
steps:
  - name: Nobody can agree
    gate: {change: emergency, approvals: []}
  - name: A slip
    local.command: {argv: [], chdr: /}
"""

TODAY = date(2026, 11, 22)


def places(folder: Path, reference: str) -> list[str]:
    (folder / "half.yaml").write_text(HALF)
    return [f"{f.problem.line}:{f.problem.column}" for f in lint_all([reference], None, TODAY)]


def test_lint_says_what_is_wrong_with_sound_steps_of_a_broken_file(tmp_path: Path) -> None:
    assert places(tmp_path, str(tmp_path / "half.yaml")) == ["10:42", "12:27", "12:31"]


def test_lint_of_a_folder_says_the_same(tmp_path: Path) -> None:
    assert places(tmp_path, str(tmp_path)) == ["10:42", "12:27", "12:31"]
