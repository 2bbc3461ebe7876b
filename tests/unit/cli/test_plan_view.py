from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from mimrun.app.plans import draft_plan
from mimrun.app.runbooks import installed_catalog
from mimrun.cli.plan_view import print_plan
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

HEAD = """\
schema: mimrun/1
name: small
version: 1.0.0
title: Small
stage: containment
owner: me
risk: low
steps:
"""
ACT = "  - {name: Act, local.command: {argv: [touch, x]}}\n"
LOOK = (
    "  - {name: Look, local.command: {argv: [id], changed: false}, effect: {class: read, reason: id looks}}\n"
)
GATE = "  - {name: Agree, gate: {approvals: [{role: lead}]}}\n"
MANUAL = "  - {name: Call, manual: {instructions: Call them}}\n"


def planned(folder: Path, steps: str) -> Plan:
    path = folder / "small.yaml"
    path.write_text(HEAD + steps)
    return draft_plan(Settings(home=folder), installed_catalog(), str(path), [], [])


def shown(plan: Plan) -> str:
    out = io.StringIO()
    print_plan(Console(file=out, width=200), plan)
    return out.getvalue()


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (ACT, "1 action, 1 of them changes something; 0 gates, 0 manual steps"),
        (ACT + LOOK + GATE, "2 actions, 1 of them changes something; 1 gate, 0 manual steps"),
        (ACT + GATE + ACT + GATE + MANUAL, "2 actions, 2 of them change something; 2 gates, 1 manual step"),
    ],
)
def test_one_is_singular_and_two_are_plural(tmp_path: Path, steps: str, said: str) -> None:
    assert said in shown(planned(tmp_path, steps))


def test_an_undo_plan_does_not_say_that_its_own_steps_cannot_be_undone(tmp_path: Path) -> None:
    plan = planned(tmp_path, ACT)
    assert "cannot be undone: 1 Act" in shown(plan)
    assert "cannot be undone" not in shown(plan.model_copy(update={"undo_of": "run-1"}))
