"""Runs that were recorded, for tests that replay them."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.runs import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
