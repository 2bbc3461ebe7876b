"""The page of coverage cites rows that exist, each once, and says of every row where it stands."""

from __future__ import annotations

import re
from pathlib import Path

from builders.markdown import rows, section

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"\b[A-Z]{2}-\d\d\b")


def known() -> list[str]:
    """Give the ids of all rows, as they are listed."""
    return ROW.findall((ROOT / "docs" / "explanation" / "coverage-rows.txt").read_text("utf-8"))


def cited(heading: str) -> list[str]:
    """Give the ids that a section of the page cites."""
    page = (ROOT / "docs" / "explanation" / "coverage.md").read_text("utf-8")
    return [found for row in rows(section(page, heading)) for found in ROW.findall(row[-1])]


def test_the_list_of_rows_is_sorted_and_says_each_once() -> None:
    listed = known()
    assert listed == sorted(set(listed))


def test_every_row_stands_in_exactly_one_place() -> None:
    found = cited("Served today") + cited("Begun") + cited("Not served yet") + cited("Left to others")
    assert sorted(found) == known()


def test_the_counts_are_those_of_the_tables() -> None:
    page = (ROOT / "docs" / "explanation" / "coverage.md").read_text("utf-8")
    counts = {row[0]: int(row[1]) for row in rows(section(page, "At a glance"))}
    assert counts == {
        heading: len(cited(heading))
        for heading in ("Served today", "Begun", "Not served yet", "Left to others")
    }
    assert sum(counts.values()) == len(known())


def test_what_is_served_names_its_proof() -> None:
    page = (ROOT / "docs" / "explanation" / "coverage.md").read_text("utf-8")
    for row in rows(section(page, "Served today")):
        assert re.search(r"`test_\w+`|\]\(", row[2]), row[0]
