from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders.runs import Bench
from builders.world import HOOKS


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def hooks() -> Iterator[dict[str, Callable[[], object]]]:
    """What `world.hook` calls, by its word."""
    yield HOOKS
    HOOKS.clear()
