"""A run that was planned before there were rules changes nothing once there are some that ask for a word."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.commands import MANUAL, Desk, mark

LOW = """\
matrix: {low: {P1: none, other: {approvals: [{role: change_manager}]}, freeze: {freeze_override: true}}}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_run_from_before_is_planned_again_with_a_gate(desk: Desk) -> None:
    assert desk.run(desk.runbook(MANUAL + mark("one"))).code == 3
    (desk.home / "policy.yaml").write_text(LOW)
    assert desk("attest", "latest", "--evidence", "link=https://x.example", "--as", "alex").code == 0
    refused = desk("resume", "latest", "--direct")
    assert refused.code == 5
    assert "planned before there were rules" in refused.err
    assert desk.marks() == []
    assert desk("cancel", "latest", "--reason", "it is planned again").code in (0, 7)
    assert desk("retry", "latest", "--direct", "--yes").code == 3
    assert desk("approve", "latest", "--yes", "--as", "alex").code == 0
    assert desk("resume", "latest", "--direct").code == 0
    assert desk.marks() == ["one"]


def test_rules_that_ask_nothing_let_it_go_on(desk: Desk) -> None:
    assert desk.run(desk.runbook(MANUAL + mark("one"))).code == 3
    (desk.home / "policy.yaml").write_text("matrix: {low: {other: none, freeze: none}}\n")
    desk("attest", "latest", "--evidence", "link=https://x.example", "--as", "alex")
    assert desk("resume", "latest", "--direct").code == 0
    assert desk.marks() == ["one"]
