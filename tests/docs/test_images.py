"""The pictures on the pages are there, say what they show, and are small."""

from __future__ import annotations

import re
from pathlib import Path

from builders.markdown import prose

PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<to>[^)\s]+)\)")
LARGEST = 90_000
ALL = 400_000
"""Bytes: whoever clones the project gets all of them, each time that they are taken anew."""


def test_every_picture_is_there_and_says_what_it_shows(pages: dict[str, str], root: Path) -> None:
    shown = set[Path]()
    for name, page in pages.items():
        for found in PICTURE.finditer(prose(page)):
            path = ((root / name).parent / found["to"]).resolve()
            assert path.is_file(), f"{name}: {found['to']}"
            assert len(found["alt"].split()) >= 4, f"{name}: {found['to']} says only {found['alt']!r}"
            shown.add(path)
    there = {path.resolve() for path in (root / "docs" / "images").iterdir()}
    assert shown >= there, "a picture that no page shows"


def test_pictures_are_small(root: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in (root / "docs" / "images").iterdir()}
    assert not {name: size for name, size in sizes.items() if size > LARGEST}
    assert sum(sizes.values()) <= ALL
