"""What holds for every runbook of the library, by reading it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from mimrun.catalog import installed_catalog
from mimrun.connector import Effect
from mimrun.runbook.inventory import load_inventory
from mimrun.runbook.library import find_runbook
from mimrun.runbook.lint import Level, lint
from mimrun.runbook.loader import LoadedRunbook, load_runbook
from mimrun.runbook.model import ActionStep, BlockStep, GateStep, Stage, Step

LIBRARY = Path(__file__).parents[2] / "runbooks"
FILES = sorted(LIBRARY.rglob("*.yaml"))
TODAY = date(2026, 11, 22)

NO_WAY_BACK = {
    "postgres-failover": {
        "Promote the standby",
        "Send clients to the new primary",
        "A write goes through, the way that clients take",
    },
    "postgres-rejoin": {"Rewind the old primary and let it follow"},
    "access-lockdown": {"End their sessions"},
    "service-restart": set[str](),
}
"""The steps that change something and have no undo, as runbooks/README.md says."""


def steps_of(loaded: LoadedRunbook) -> Iterator[Step]:
    todo: list[Step] = list(loaded.runbook.steps)
    while todo:
        step = todo.pop(0)
        yield step
        if isinstance(step, BlockStep):
            todo = [*step.block, *step.rescue, *step.always, *todo]


@pytest.fixture(params=FILES, ids=[file.stem for file in FILES])
def loaded(request: pytest.FixtureRequest) -> LoadedRunbook:
    return load_runbook(request.param)


def inventory_of(tmp_path: Path) -> Path:
    """An inventory with the variables that runbooks/README.md asks for."""
    path = tmp_path / "inventory.yaml"
    path.write_text(
        """\
all:
  vars: {ansible_host: 127.0.0.1, service_url: "http://127.0.0.1:9/", postgres_host: 127.0.0.1,
    postgres_port: 5432, postgres_fence: [fence], postgres_unfence: [unfence], postgres_rewind: [rewind]}
  children:
    web: {hosts: {web1: {}, web2: {}, web3: {}, web4: {}}}
    primary: {hosts: {db1: {}}}
    standby: {hosts: {db2: {}}}
    cluster_shop: {children: {primary: {}, standby: {}}}
    loadbalancer: {hosts: {lb: {haproxy_address: "127.0.0.1:9", haproxy_backend: postgres}}}
"""
    )
    return path


def test_the_library_has_the_runbooks_it_promises() -> None:
    assert {file.stem for file in FILES} == NO_WAY_BACK.keys()
    described = (LIBRARY / "README.md").read_text()
    for file in FILES:
        assert f"`{file.relative_to(LIBRARY).with_suffix('')}`" in described
        assert find_runbook(file.stem, [LIBRARY]).runbook.name == file.stem
    assert {p.suffix for p in LIBRARY.rglob("*") if p.is_file()} == {".yaml", ".md"}


def test_lint_finds_no_error_and_warns_only_of_what_has_no_way_back(
    loaded: LoadedRunbook, tmp_path: Path
) -> None:
    inventory = load_inventory([inventory_of(tmp_path)])
    findings = lint(loaded, installed_catalog(), inventory, TODAY)
    assert [f.problem for f in findings if f.level is Level.ERROR] == []
    warned = [f.problem.message for f in findings]
    pivots = [s for s in steps_of(loaded) if isinstance(s, ActionStep) and s.irreversible]
    expected = len(NO_WAY_BACK[loaded.runbook.name]) - len(pivots) if loaded.runbook.risk == "high" else 0
    assert len([w for w in warned if w.endswith("changes something and has no undo")]) == expected
    assert len(warned) == expected, warned


def test_it_stands_where_its_stage_says_and_somebody_keeps_it(loaded: LoadedRunbook) -> None:
    folder = Path(loaded.file).parent.name
    assert loaded.runbook.stage is {"containment": Stage.CONTAINMENT, "recovery": Stage.RESOLUTION}[folder]
    assert loaded.runbook.name == Path(loaded.file).stem
    assert loaded.runbook.owner
    assert loaded.runbook.review_by
    assert loaded.runbook.locks
    assert loaded.runbook.limits.hosts


def test_nothing_is_changed_before_the_gate(loaded: LoadedRunbook) -> None:
    for step in steps_of(loaded):
        if isinstance(step, GateStep):
            return
        assert isinstance(step, ActionStep)
        kind = installed_catalog().action(step.call.action)
        claimed = step.effect.class_ if step.effect else kind.effect
        assert claimed is Effect.READ, f"{step.name} may change something"
    pytest.fail("there is no gate")


def test_what_changes_something_is_verified_and_can_be_undone_or_is_known_not_to_be(
    loaded: LoadedRunbook,
) -> None:
    final = set()
    for number, step in enumerate(loaded.runbook.steps):
        if not isinstance(step, ActionStep):
            continue
        kind = installed_catalog().action(step.call.action)
        claimed = step.effect.class_ if step.effect else kind.effect
        if claimed is Effect.READ:
            continue
        looks_after = [
            s
            for s in loaded.runbook.steps[number + 1 :]
            if isinstance(s, ActionStep) and (s.expect or s.until)
        ]
        proves_itself = step.verify or step.expect or looks_after or kind.verb in ("execute", "disable")
        assert proves_itself, f"nothing proves that {step.name!r} did what it was for"
        if step.undo is None:
            final.add(step.name)
    assert final == NO_WAY_BACK[loaded.runbook.name]


def test_every_claim_about_an_effect_has_a_reason(loaded: LoadedRunbook) -> None:
    for step in steps_of(loaded):
        if isinstance(step, ActionStep) and step.effect:
            assert step.effect.reason.endswith("."), step.name
