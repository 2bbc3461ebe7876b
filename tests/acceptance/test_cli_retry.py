from __future__ import annotations

from pathlib import Path

import pytest
from builders.commands import Desk, mark

BROKEN = "  - {name: Needs mending, local.shell: {cmd: '[ -e mended ] && echo mended >> marks'}}\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_only_what_failed_is_done_again_and_the_plan_is_shown_first(desk: Desk) -> None:
    assert desk.run(desk.runbook(mark("first") + BROKEN + mark("last"))).code == 1
    first = desk.status()["run"]
    shown = desk("retry", "--show")
    assert shown.code == 0
    assert "Needs mending" in shown.out
    assert "Write first" not in shown.out
    assert desk("retry", "--direct").code == 2, "nobody is there to ask"
    desk.write("mended", "")
    said = desk("retry", "--direct", "--yes", "--json")
    assert said.code == 0, said.err
    assert desk.marks() == ["first", "mended", "last"]
    assert desk.status()["run"] != first
    assert desk.status()["incident"] == desk.status(first)["incident"]
    again = desk("retry", first, "--yes")
    assert again.code != 0
    assert "has been repeated by" in again.err
    assert desk("log", "verify").code == 0
