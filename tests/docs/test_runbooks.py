"""Runbooks that people will copy are right: those of the library, and those on the pages."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.markdown import blocks

from mimrun.catalog import installed_catalog
from mimrun.runbook.finding import Level
from mimrun.runbook.lint import lint
from mimrun.runbook.loader import parse_runbook

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = sorted((ROOT / "runbooks").rglob("*.yaml"))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_a_runbook_of_the_library_has_a_page_that_says_how_to_use_it(path: Path) -> None:
    how_to = {p.stem: p.read_text("utf-8") for p in (ROOT / "docs" / "how-to").glob("*.md")}
    assert [name for name, text in how_to.items() if f"mimrun run {path.stem}" in text]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_a_runbook_of_the_library_is_in_its_list(path: Path) -> None:
    listed = (ROOT / "runbooks" / "README.md").read_text("utf-8")
    assert f"`{path.relative_to(ROOT / 'runbooks').with_suffix('')}`" in listed


def test_every_runbook_on_a_page_can_be_loaded_and_has_no_errors(pages: dict[str, str]) -> None:
    shown = [
        (f"{name}:{block.line}", block.text)
        for name, page in pages.items()
        for block in blocks(page)
        if block.text.lstrip().startswith("schema: mimrun/1")
    ]
    assert shown
    for where, text in shown:
        found = lint(parse_runbook(text, where), installed_catalog())
        assert not [str(one.problem) for one in found if one.level is Level.ERROR], where
