"""What the files say: no address of a package index, no path of a machine, no note to come back later."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Written with a class of one letter here and there, so that this file does not hold what it looks for.
INDEX = re.compile(r"https?://[^\s\"')>]*(?:pyp[i]|pythonhoste[d]|npmj[s]|deb\.debia[n]|/simpl[e]/)")
MACHINE = re.compile(r"/(?:root|home/\w+)/\.(?:pyen[v]|cache|venv)|pyen[v]/versions")
LATER = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X])\b")
COMMAND = re.compile(r"`make ([a-z-]+)")


def findings(text: str, places: tuple[str, ...] = ()) -> Iterator[str]:
    """Give what should not stand in a file."""
    for what in (INDEX, MACHINE, LATER):
        yield from what.findall(text)
    yield from (place for place in places if place in text)


def own_places(root: Path) -> tuple[str, ...]:
    """Name the folders of this machine that no file should know, where their names are telling."""
    candidates = {str(root), sys.prefix, sys.base_prefix}
    return tuple(sorted(c for c in candidates if c not in ("/", "/usr", "/usr/local")))


def test_no_file_names_an_index_a_machine_or_later_work(tracked: list[Path], root: Path) -> None:
    places = own_places(root)
    found = {}
    for path in tracked:
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if wrong := list(findings(text, places)):
            found[str(path.relative_to(root))] = wrong
    assert not found


def test_what_should_not_be_said_is_found() -> None:
    said = "see https://{}.org/{}/rich and /root/.{} and {}: more".format(
        "pypi", "simple", "pyenv", "todo".upper()
    )
    assert len(list(findings(said))) == 3
    assert list(findings("made in /srv/clone here", ("/srv/clone",))) == ["/srv/clone"]
    assert not list(findings("https://www.apache.org/licenses/ and /root/.ssh/authorized_keys"))


def test_every_make_command_that_a_page_names_is_there(tracked: list[Path], root: Path) -> None:
    makefile = (root / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert targets - described <= {"setup"}
    named = {
        name for path in tracked if path.suffix == ".md" for name in COMMAND.findall(path.read_text("utf-8"))
    }
    assert named <= targets
    assert {"demo", "test"} <= set(
        re.findall(r"^make ([a-z-]+)", (root / "README.md").read_text("utf-8"), re.MULTILINE)
    )
