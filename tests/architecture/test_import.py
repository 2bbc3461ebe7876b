"""Imports point down, the core speaks to no outside system, and what decides reads no clock."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PURE = [
    "mimrun/canonical.py",
    "mimrun/gate/approval.py",
    "mimrun/gate/calendar.py",
    "mimrun/gate/calendar_time.py",
    "mimrun/gate/policy.py",
    "mimrun/incident/burning.py",
    "mimrun/incident/outcome.py",
    "mimrun/incident/rule.py",
    "mimrun/incident/storm.py",
    "mimrun/incident/track.py",
    "mimrun/incident/watch.py",
    "mimrun/log/entry.py",
    "mimrun/log/merkle.py",
    "mimrun/run/record/state.py",
    "mimrun/run/record/transitions.py",
    "mimrun/runbook/expression.py",
    "mimrun/runbook/plan.py",
]
"""Modules that take values and give values: time, ids and randomness come in as arguments."""

WORLDLY = {
    "asyncio",
    "http",
    "os",
    "random",
    "secrets",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib",
    "uuid",
}
CLOCKS = {"now", "utcnow", "today"}


def impurities(source: str) -> set[str]:
    """Name what a module takes from the world: imports, and calls that read the clock."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found |= {alias.name.split(".")[0] for alias in names}
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module.split(".")[0])
            case ast.Call(func=ast.Attribute(attr=attr)) if attr in CLOCKS:
                found.add(f"{attr}()")
    return {name for name in found if name in WORLDLY or name.endswith("()")}


def test_the_contracts_of_the_import_linter_hold(root: Path) -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", PURE)
def test_what_decides_takes_nothing_from_the_world(name: str, root: Path) -> None:
    path = root / name
    if path.exists():
        assert not impurities(path.read_text("utf-8"))
    else:
        # A room that is not built yet; a module that was moved must be named here again.
        assert not path.parent.exists() or not any(path.parent.glob("*.py")), f"{name} has moved"


def test_impurities_are_found() -> None:
    source = "import os.path\nfrom urllib.parse import quote\nimport json\nfrom datetime import datetime\nx = datetime.now()"
    assert impurities(source) == {"os", "urllib", "now()"}
