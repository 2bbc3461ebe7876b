"""A home, and a library with a runbook of the world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from builders.runs import Bench

from mimrun.app.execution import execute_run
from mimrun.app.home import Home

HEAD = """\
schema: mimrun/1
name: {name}
version: 1.0.0
title: A test of the API
stage: containment
owner: testers
risk: low
review_by: 2099-01-01
hosts: all
"""
PLAIN = (
    HEAD.format(name="plain")
    + """\
inputs:
  word: {type: string, pattern: "[a-z]{1,20}", help: What is written}
  many: {type: integer, default: 3}
steps:
  - name: Write it
    world.once: {word: "{{ word }}"}
"""
)
GATED = (
    HEAD.format(name="gated")
    + """\
steps:
  - name: People agree
    gate: {approvals: [{role: change_manager}], expires: 30m}
  - name: Write it
    world.once: {word: behind}
    undo: {world.once: {word: back}}
"""
)
SECRET = (
    HEAD.format(name="secret")
    + """\
inputs:
  password: {type: secret, default: "env:MIMRUN_TEST_DEFAULT", help: A password}
steps:
  - name: Write it
    world.once: {word: plain}
"""
)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    library = tmp_path / "library" / "containment"
    library.mkdir(parents=True)
    for name, text in (("plain", PLAIN), ("gated", GATED), ("secret", SECRET)):
        (library / f"{name}.yaml").write_text(text)
    monkeypatch.setenv("MIMRUN_RUNBOOKS", str(tmp_path / "library"))
    bench = Bench(tmp_path)
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text(f"all: {{hosts: {{a: {{world: {bench.world}}}}}}}\n")
    bench.settings = replace(bench.settings, inventory=inventory)
    return bench


@pytest.fixture
def home(bench: Bench) -> Iterator[Home]:
    with bench.home() as home:
        yield home


class Executing:
    """Executes what the site starts, at once, in the same process."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.started: list[str] = []

    def __call__(self, home: Home, run: str) -> None:
        self.started.append(run)
        execute_run(self._bench.settings, run, catalog=self._bench.catalog)


@pytest.fixture
def executing(bench: Bench) -> Executing:
    return Executing(bench)
