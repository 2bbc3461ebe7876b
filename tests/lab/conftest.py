"""Fixtures for tests that start real parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mimrun.lab import folder as lab
from mimrun.lab import leftover


@pytest.fixture(scope="module")
def lab_folder() -> Iterator[Path]:
    """A folder that every user of the machine can enter; pytest's own are closed to others.

    Whatever a test leaves running in it is ended, and is an error.
    """
    with lab.temporary() as folder:
        yield folder
        left = leftover.find_all(folder)
    assert left == [], f"the test left processes running: {left}"
