"""The tutorial from an alert to a review works as it is written: its files are saved, its commands typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from builders.markdown import blocks

from mimrun.lab import loopback

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tutorial-alert-to-review.md").read_text("utf-8")
pytestmark = pytest.mark.timeout(300)
MARK = "=====next====="
ENDS = {
    # The run waits for a person.
    "mimrun proposal take latest --yes --direct --detach": 3,
    # Who launched it does not approve it.
    "mimrun approve latest --yes": 5,
    "mimrun resume latest --direct": 3,
    # With a second approval it would have waited.
    "mimrun replay latest --against changed.yaml": 1,
}
"""What commands end with that do not end with 0; of one that is typed twice, the first time."""


def reader(folder: Path) -> dict[str, str]:
    """The environment of somebody who has just activated the project's environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {name: value for name, value in os.environ.items() if not name.startswith("MIMRUN_")}
    return env | {"PATH": path, "HOME": str(folder), "PWD": str(folder), "COLUMNS": "120"}


def script() -> list[str]:
    """Give what the reader does, in the order of the page: a file is saved by a command of its own."""
    done = []
    for block in blocks(PAGE):
        kind, _, name = block.info.partition(" ")
        if kind == "sh":
            done += block.text.splitlines()
        elif name:
            done.append(f"cat > {name} <<'END-OF-FILE'\n{block.text}END-OF-FILE")
    return done


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, str]]:
    """Everything that was typed, with the status and the output of each."""
    folder = tmp_path_factory.mktemp("reader")
    (port,) = loopback.free_ports(["127.0.0.1"])
    lines = [line.replace("8420", str(port)) for line in script()]
    text = "set -m\ntrap 'kill %1 2>/dev/null' EXIT\n"
    text += "".join(f"{line}\nprintf '\\n%s %s\\n' '{MARK}' $?\n" for line in lines)
    done = subprocess.run(
        ["bash"],
        input=text,
        cwd=folder,
        env=reader(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    answers = re.split(rf"^{MARK} (\d+)$", done.stdout, flags=re.MULTILINE)
    assert len(answers) // 2 == len(lines), done.stdout[-3000:] + done.stderr[-3000:]
    said = zip(lines, map(int, answers[1::2]), answers[0::2], strict=False)
    return [(line.replace(str(port), "8420"), code, out) for line, code, out in said]


def test_the_tutorial_works_as_it_is_written(typed: list[tuple[str, int, str]]) -> None:
    met, wrong = set[str](), []
    for line, code, out in typed:
        wanted = ENDS.get(line, 0) if line not in met else 0
        met.add(line)
        if code != wanted:
            wrong.append(f"{line}\n  ended with {code}, not {wanted}: {out[-600:]}")
    assert not wrong, "\n".join(wrong)
    assert set(ENDS) <= met


def test_it_shows_what_the_page_says(typed: list[tuple[str, int, str]]) -> None:
    said: dict[str, list[str]] = {}
    for line, _, out in typed:
        said.setdefault(line, []).append(out)

    def of(begins: str) -> str:
        return "".join(out for line, outs in said.items() if line.startswith(begins) for out in outs)

    assert of("mimrun alert list").count("41% of the pages") == 1, "sent twice, it is there once"
    assert of("cat pages").count("Sorry. We are back soon.") == 3
    assert "shop=books" in of("mimrun proposal show").replace(" ", "")
    timeline = of("mimrun incident timeline")
    for words in (
        "41% of the pages",
        "pages-fail proposes",
        "alex approved",
        "sam signed",
        "02:50",
        "contained",
    ):
        assert words in timeline, words
    assert "same" in of("mimrun replay latest --redecide")
    assert "The page is approved" in of("mimrun replay latest --against")
    assert "Time to contain (MTTC)" in of("mimrun review show")
    assert "\nintact;" in of("mimrun log verify")
