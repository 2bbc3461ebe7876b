"""The README's first runbook works as it is written: its files are saved, its commands typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders.markdown import blocks, rows, section

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
FIRST = section(README, "A first runbook in five minutes")
WAITS = 3


def parts() -> dict[str, list[tuple[str, str]]]:
    """Give the files and the commands that the reader is shown: as (name, text), as (line, line)."""
    shown = blocks(FIRST)
    return {
        "files": [(b.info.split()[1], b.text) for b in shown if " " in b.info],
        "commands": [(line, line) for b in shown if b.info == "sh" for line in b.text.splitlines()],
    }


def reader(folder: Path) -> dict[str, str]:
    """Give the environment of somebody who has just activated the project's environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {name: value for name, value in os.environ.items() if not name.startswith("MIMRUN_")}
    return env | {"PATH": path, "HOME": str(folder), "PWD": str(folder)}


def type_in(lines: list[str], folder: Path) -> list[tuple[int, str]]:
    """Type commands into one shell; give the status and the output of each."""
    mark = "=====next====="
    script = "".join(f"{line}\nprintf '\\n%s %s\\n' '{mark}' $?\n" for line in lines)
    done = subprocess.run(
        ["bash"],
        input=script,
        cwd=folder,
        env=reader(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    answers, output = [], ""
    for line in done.stdout.splitlines():
        if line.startswith(mark):
            answers.append((int(line.split()[1]), output))
            output = ""
        else:
            output += line + "\n"
    assert len(answers) == len(lines), done.stderr
    return answers


def test_the_first_runbook_works_as_it_is_written(tmp_path: Path) -> None:
    for name, text in parts()["files"]:
        (tmp_path / name).write_text(text)
    lines = [line for line, _ in parts()["commands"]]
    answers = dict(zip(lines, type_in(lines, tmp_path), strict=True))
    said = {
        line.removeprefix("mimrun ").split()[0] + " " + line.split()[2]: line
        for line in lines
        if "mimrun " in line
    }
    assert {line: code for line, (code, _) in answers.items() if code} == {said["run first.yaml"]: WAITS}
    assert "0 errors, 0 warnings" in answers[said["runbook lint"]][1]
    assert "GATE" in answers[said["plan first.yaml"]][1]
    assert "approved by alex as change_manager" in answers[said["approve latest"]][1]
    assert answers["cat pages/*.html"][1].count("Back at 04:30.") == 2
    assert "gate.decided" in answers[said["log show"]][1]
    assert "told the support desk" in answers[said["log show"]][1]
    assert "\nintact;" in answers[said["log verify"]][1]
    assert not list((tmp_path / "pages").iterdir()), "undo takes the pages away"


def test_nobody_else_can_approve_it_and_an_approval_is_needed(tmp_path: Path) -> None:
    for name, text in parts()["files"]:
        (tmp_path / name).write_text(text)
    lines = [line for line, _ in parts()["commands"]]
    upto = lines[: next(n for n, line in enumerate(lines) if line.startswith("mimrun approve"))]
    wrong = ["mimrun approve latest --yes", "mimrun resume latest --direct", "ls pages"]
    *_, own, resumed, pages = type_in([*upto, *wrong], tmp_path)
    assert own[0] == 5
    assert resumed[0] == WAITS
    assert pages == (0, "\n")


@pytest.mark.parametrize("room", [row[0] for row in rows(section(README, "The house"))])
def test_every_room_of_the_house_is_there(room: str) -> None:
    assert all((ROOT / name.strip("` ")).is_dir() for name in room.split(","))


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 180
    assert max(len(line) for line in README.splitlines() if not line.startswith("|")) <= 125
