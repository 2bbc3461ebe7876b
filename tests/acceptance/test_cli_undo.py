from __future__ import annotations

from pathlib import Path

import pytest
from builders.commands import Desk

STEPS = "".join(
    f"  - name: Set {name}\n"
    f"    local.shell: {{cmd: 'echo new > {name}'}}\n"
    f"    capture: {{local.shell: {{cmd: 'cat {name}', changed: false}}}}\n"
    f"    undo: {{local.command: {{argv: [sh, -c, 'echo \"$1\" > {name}', put, '{{{{ captured.stdout }}}}']}}}}\n"
    for name in ("one", "two")
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    for name in ("one", "two"):
        desk.write(name, "old\n")
    assert desk.run(desk.runbook(STEPS)).code == 0
    assert states(desk) == ["new", "new"]
    return desk


def states(desk: Desk) -> list[str]:
    return [(desk.folder / name).read_text().strip() for name in ("one", "two")]


def test_what_is_as_the_run_left_it_is_taken_back(desk: Desk) -> None:
    assert desk("undo", "latest", "--direct", "--yes").code == 0
    assert states(desk) == ["old", "old"]
    assert "has been taken back by" in desk("undo", desk("runs", "--json").json[1]["run"], "--yes").err
    assert "is not taken back" in desk("undo", "latest", "--yes").err


def test_one_step_can_be_taken_back_alone(desk: Desk) -> None:
    forward = desk.status()["run"]
    assert desk("undo", forward, "--step", "2", "--direct", "--yes").code == 0
    assert states(desk) == ["new", "old"]
    assert desk("undo", forward, "--step", "9", "--yes").code == 2
    assert desk("undo", forward, "--direct", "--yes").code == 0
    assert states(desk) == ["old", "old"]


def test_what_somebody_has_changed_since_is_asked_about_and_may_stay(desk: Desk) -> None:
    desk.write("two", "theirs\n")
    said = desk("undo", "latest", "--direct", "--yes")
    assert said.code == 4
    assert states(desk) == ["new", "theirs"]
    way_back = desk.status()
    assert (way_back["status"], way_back["waits_on"]) == ("in_doubt", "doubt")
    assert r'left as "new\n", now "theirs\n"' in way_back["reason"]
    assert desk("resolve", "latest", "1", "--skip", "--reason", "the new value is right").code == 0
    if desk.status()["status"] == "in_doubt":
        said = desk("resume", "latest", "--direct")
        assert said.code == 1
        assert "partly taken back: 2 Set two" in said.err
    assert states(desk) == ["old", "theirs"]
    assert desk.status()["reason"].startswith("partly taken back: 2 Set two")
    assert desk("log", "verify").code == 0
