from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from mimrun.app.runbooks import lint_all
from mimrun.runbook.finding import Level

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


def write(folder: Path, name: str, steps: str) -> Path:
    head = "schema: mimrun/1\nversion: 1.0.0\ntitle: T\nstage: containment\nrisk: low\nowner: us\n"
    path = folder / f"{name}.yaml"
    path.write_text(f"{head}name: {name}\nsteps:\n{steps}")
    return path


def included(name: str) -> str:
    return f"  - {{name: in, include: {{runbook: {name}@1.0.0}}}}\n"


WRONG = "  - {name: a, local.command: {argv: [id], chdr: /}}\n"


def test_lint_says_what_is_wrong_with_what_is_included_where_it_is_and_by_which_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIMRUN_RUNBOOKS", str(tmp_path))
    inner = write(tmp_path, "inner", WRONG + WRONG)
    write(tmp_path, "middle", included("inner"))
    outer = write(tmp_path, "outer", included("middle") + included("inner"))
    found = lint_all([str(outer)], None, TODAY)
    errors = [one for one in found if one.level is Level.ERROR]
    assert [(one.problem.file, one.problem.line) for one in errors] == [(str(inner), 9), (str(inner), 10)]
    assert {one.way for one in errors} == {"included as outer@1.0.0 → middle@1.0.0 → inner@1.0.0"}
    assert "did you mean 'chdir'?" in str(errors[1])
    whole = [one for one in lint_all([], None, TODAY) if one.level is Level.ERROR]
    assert [one.via for one in whole] == [(), ()], "said once, where it is its own"


def test_lint_says_what_of_an_included_file_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIMRUN_RUNBOOKS", str(tmp_path))
    write(tmp_path, "inner", "  - {name: a, local.command: {argv: []}, surprise: 1}\n")
    outer = write(tmp_path, "outer", included("inner"))
    said = [str(one) for one in lint_all([str(outer)], None, TODAY)]
    assert any(
        "outer.yaml:9:" in one and "inner@1.0.0, or what it includes, cannot be read" in one for one in said
    )
    assert any(
        "inner.yaml:9:" in one and "'surprise'" in one and "outer@1.0.0 → inner@1.0.0" in one for one in said
    )
