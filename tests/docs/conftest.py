"""What the tests of the documentation look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.markdown import all_pages

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def pages() -> dict[str, str]:
    """Every page by its path from the project's folder."""
    return {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in all_pages(ROOT)}
