"""What the client's notes come to as metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimrun.lab.exporter import LATELY, Metrics
from mimrun.lab.writer import Failure, Write, note


def value(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return line.split()[-1]


def add(path: Path, *entries: Write | Failure, rest: str = "") -> None:
    with path.open("a") as file:
        file.write("".join(note(entry) for entry in entries) + rest)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "writes.jsonl"
    path.write_text("")
    return path


def test_nothing_tried_is_no_ratio_at_all(notes: Path) -> None:
    text = Metrics(notes).text(100.0)
    assert value(text, "client_error_ratio") == "NaN"
    assert value(text, "client_seconds_without_acknowledgement") == "NaN"
    assert value(text, 'client_writes_total{result="refused"}') == "0"


def test_the_ratio_is_of_the_last_second_and_the_counts_are_of_all(notes: Path) -> None:
    metrics = Metrics(notes)
    add(notes, *(Write(n, 10.0, 10.1, 1) for n in range(7)), Failure(8, 10.8, "gone"))
    early = metrics.text(10.9)
    assert value(early, "client_error_ratio") == "0.125"
    add(notes, Failure(9, 11.5, "gone"))
    late = metrics.text(11.6)
    assert value(late, "client_error_ratio") == "1"
    assert value(late, 'client_writes_total{result="acknowledged"}') == "7"
    assert value(late, 'client_writes_total{result="refused"}') == "2"
    assert value(late, "client_seconds_without_acknowledgement") == "1.5"
    assert value(metrics.text(11.6 + 2 * LATELY), "client_error_ratio") == "NaN"


def test_a_line_that_is_still_being_written_is_read_once_it_is_whole(notes: Path) -> None:
    metrics = Metrics(notes)
    whole = note(Write(1, 5.0, 5.0, 1))
    add(notes, rest=whole[:9])
    assert value(metrics.text(5.1), 'client_writes_total{result="acknowledged"}') == "0"
    add(notes, rest=whole[9:])
    assert value(metrics.text(5.2), 'client_writes_total{result="acknowledged"}') == "1"
    assert value(metrics.text(5.3), 'client_writes_total{result="acknowledged"}') == "1"
