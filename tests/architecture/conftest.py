"""What the tests of the project's shape look at: the files that belong to it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """Every file that is part of the project, without what is made by running it."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z"],
        capture_output=True,
        check=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def code(tracked: list[Path]) -> list[Path]:
    """Every Python module that is installed."""
    return [
        p
        for p in tracked
        if p.suffix == ".py" and p.relative_to(ROOT).parts[0] in ("mimrun", "connectors", "flows")
    ]
