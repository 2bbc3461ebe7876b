"""JSON Lines and CSV: the bytes of the log, and cells that no spreadsheet computes."""

from __future__ import annotations

import base64
import csv
import io
import json

import pytest
from builders.every_kind import HOSTILE, entry_of
from hypothesis import given
from hypothesis import strategies as st

from mimrun.log.entry import Actor, decode
from mimrun.log.export.inert import inert
from mimrun.log.export.lines import COLUMNS, Csv, JsonLines
from mimrun.log.kinds import Kind

FORMULAS = [
    "=1+1",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "  =1",
    "\n=cmd|' /C calc'!A0",
    "|calc",
    "\uff1d1",
]


def rows(data: bytes) -> list[list[str]]:
    """Read CSV as another program does."""
    return list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))


@pytest.mark.parametrize("kind", Kind)
def test_a_line_of_json_is_the_canonical_entry(kind: Kind) -> None:
    entry = entry_of(kind, HOSTILE)
    line = JsonLines().record(entry, None)
    assert line == entry.encode() + b"\n"
    assert line.count(b"\n") == 1
    assert decode(line.removesuffix(b"\n")) == entry


def test_blobs_stand_beside_the_very_bytes_of_the_entry() -> None:
    entry = entry_of(Kind.STEP_OUTCOME, HOSTILE)
    raw = b"\xff\xfe\x00binary"
    line = JsonLines().record(entry, {"stdout": "größer\n".encode(), "stderr": raw, "reason": None})
    assert line.endswith(b',"entry":' + entry.encode() + b"}\n")
    assert line.count(b"\n") == 1
    blobs = json.loads(line)["blobs"]
    assert blobs["stdout"] == {"text": "größer\n"}
    assert base64.b64decode(blobs["stderr"]["base64"]) == raw
    assert blobs["reason"] is None


@pytest.mark.parametrize("kind", Kind)
def test_a_row_has_every_column_and_is_one_line(kind: Kind) -> None:
    entry = entry_of(kind, HOSTILE)
    data = Csv().head() + Csv().record(entry, None)
    assert len(data.decode("utf-8").splitlines()) == 2
    assert data.endswith(b"\r\n")
    head, row = rows(data)
    assert tuple(head) == COLUMNS
    found = dict(zip(head, row, strict=True))
    assert json.loads(found["body"]) == entry.as_json()["body"]
    assert json.loads(found["blobs"]) == entry.as_json()["blobs"]
    assert (found["kind"], found["seq"], found["leaf"]) == (kind.value, "7", entry.leaf().hex())
    assert found["target"] == inert(HOSTILE[:255])


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_like_a_formula(text: str) -> None:
    entry = entry_of(Kind.STEP_OUTCOME, text, step="=2")
    for cell in rows(Csv().record(entry, None))[0]:
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r", "\\", "|", "\uff1d"))


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=80))
def test_no_text_breaks_out_of_its_cell(text: str) -> None:
    entry = entry_of(Kind.STEP_OUTCOME, target=text, actor=Actor("person", text[:80], text, text))
    data = Csv().record(entry, None)
    (row,) = rows(data)
    assert len(row) == len(COLUMNS)
    assert len(data.decode("utf-8").splitlines()) == 1
    cell = row[COLUMNS.index("target")]
    assert cell.removeprefix("'") == inert(text).removeprefix("'")
    if cell != inert(text):
        assert cell == "'" + inert(text)
