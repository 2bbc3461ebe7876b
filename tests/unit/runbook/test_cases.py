"""Every file in tests/cases, against what it says about itself."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from mimrun.catalog import Catalog
from mimrun.errors import Problem, RunbookError
from mimrun.runbook.finding import Level
from mimrun.runbook.lint import lint, lint_rest
from mimrun.runbook.loader import load_runbook

CASES = Path(__file__).parents[2] / "cases"
TODAY = date(2026, 6, 1)


def files(folder: str) -> list[Path]:
    return sorted((CASES / folder).glob("*.yaml"))


def promises(path: Path) -> list[tuple[str, str]]:
    found = re.findall(r"^#! (\d+:\d+) (.+)$", path.read_text(), re.M)
    assert found, f"{path} says nothing about itself"
    return found


def compare(path: Path, problems: list[Problem]) -> None:
    """Hold what was said against what was promised: everything, and nothing else."""
    left = list(problems)
    for place, words in promises(path):
        fits = [p for p in left if f"{p.line}:{p.column}" == place and words in str(p)]
        assert fits, f"{path.name}:{place}: nobody said {words!r}; left over:\n" + "\n".join(map(str, left))
        left.remove(fits[0])
    assert not left, "also said:\n" + "\n".join(map(str, left))


@pytest.mark.parametrize("path", files("wrong"), ids=lambda path: path.stem)
def test_everything_that_is_wrong_is_said_at_its_place(path: Path, catalog: Catalog) -> None:
    try:
        loaded = load_runbook(path, lint_rest(catalog))
    except RunbookError as exc:
        compare(path, list(exc.problems))
        return
    compare(path, [f.problem for f in lint(loaded, catalog, today=TODAY) if f.level is Level.ERROR])


@pytest.mark.parametrize("path", files("risky"), ids=lambda path: path.stem)
def test_everything_that_somebody_may_regret_is_a_warning(path: Path, catalog: Catalog) -> None:
    findings = lint(load_runbook(path), catalog, today=TODAY)
    assert {f.level for f in findings} == {Level.WARNING}
    compare(path, [f.problem for f in findings])


@pytest.mark.parametrize("path", files("sound"), ids=lambda path: path.stem)
def test_a_sound_runbook_has_no_errors(path: Path, catalog: Catalog) -> None:
    assert [f for f in lint(load_runbook(path), catalog, today=TODAY) if f.level is Level.ERROR] == []
