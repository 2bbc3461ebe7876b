"""The page that specifies the format says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mimrun.log.entry import FIELDS, FORMAT, MAX_ENTRY
from mimrun.log.kinds import BODIES, Kind

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "log-format.md").read_text("utf-8")


def rows() -> dict[str, list[str]]:
    """The rows of all tables by the name in their first cell."""
    cells = [line.strip()[1:-1].split("|") for line in PAGE.splitlines() if line.startswith("| `")]
    return {row[0].strip("` "): row[1:] for row in cells}


def words(cell: str) -> set[str]:
    """What is quoted in a cell, outside of round brackets."""
    return set(re.findall(r"`([a-z_]+)`", re.sub(r"\([^)]*\)", "", cell)))


def test_every_key_of_an_entry_is_explained() -> None:
    assert rows().keys() >= FIELDS
    assert f"`{FORMAT}`" in PAGE
    assert f"{MAX_ENTRY // 1024} KiB" in PAGE


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_is_listed_with_its_body_and_blobs(kind: Kind) -> None:
    row = rows()[kind.value]
    body = BODIES[kind]
    nested = {
        name
        for field in body.model_fields.values()
        for name in getattr(field.annotation, "model_fields", {})
        or [
            n for part in getattr(field.annotation, "__args__", ()) for n in getattr(part, "model_fields", {})
        ]
    }
    assert words(row[0]) == set(body.model_fields) | nested
    assert words(row[1]) == body.blobs
