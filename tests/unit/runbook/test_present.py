from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mimrun.catalog import Catalog
from mimrun.connector import Effect
from mimrun.runbook.inventory import load_inventory
from mimrun.runbook.loader import load_runbook
from mimrun.runbook.planner import make_plan
from mimrun.runbook.present import Deed, Row, describe

CASES = Path(__file__).parents[2] / "cases"


@pytest.fixture
def rows(catalog: Catalog, versions: Mapping[str, str]) -> Mapping[str, Row]:
    inventory = load_inventory([CASES / "inventory.ini"])
    found: dict[str, Row] = {}
    for name, inputs in (
        ("postgres-failover", {"cluster": "alpha", "password": "env:PW"}),
        ("everything", {}),
    ):
        plan = make_plan(load_runbook(CASES / "sound" / f"{name}.yaml"), inputs, inventory, catalog, versions)
        found |= {f"{name}:{row.path}": row for row in describe(plan, catalog)}
    return found


def test_a_row_says_what_is_done_where_and_how_it_is_taken_back(rows: Mapping[str, Row]) -> None:
    row = rows["postgres-failover:3"]
    assert row.deeds == (Deed("ssh.command: argv=['systemctl', 'stop', 'postgresql@alpha']", ("db1",)),)
    assert row.effect is Effect.ONCE
    assert row.undo[0].late == ("captured",)
    assert not row.lost
    assert row.notes[-1] == "as root"


def test_a_gate_says_who_must_agree(rows: Mapping[str, Row]) -> None:
    (deed,) = rows["postgres-failover:2"].deeds
    assert deed.what == "emergency change; needs 1 change_manager; expires after 30m"


def test_what_is_not_known_yet_is_said(rows: Mapping[str, Row]) -> None:
    (deed,) = rows["postgres-failover:4"].deeds
    assert deed.late == ("password",)
    assert "hunter" not in deed.what


def test_what_changes_and_cannot_be_undone_is_said(rows: Mapping[str, Row]) -> None:
    assert rows["everything:2.block.1"].lost
    assert not rows["everything:1"].lost


def test_the_same_deed_on_many_hosts_is_one_line(rows: Mapping[str, Row]) -> None:
    deeds = rows["everything:2.block.1"].deeds
    assert [deed.targets for deed in deeds] == [("web1", "web2", "web3", "web4")] * 2


def test_blocks_stand_before_their_parts(rows: Mapping[str, Row]) -> None:
    paths = [key.partition(":")[2] for key in rows if key.startswith("everything")]
    assert paths == ["1", "2", "2.block.1", "2.block.2", "2.rescue", "2.rescue.1", "2.always", "2.always.1"]
    assert rows["everything:2.block.1"].depth == 1
