"""A second process examines pages as the first one would; without it, or when it dies, nothing is lost."""

from __future__ import annotations

import io
import marshal
import sys
from collections.abc import Sequence

import pytest
from builders.forgers import honest, say

from mimrun.log.chain import StoredRow
from mimrun.log.proof.beside import Beside, answer, read_message, write_message
from mimrun.log.proof.segment import examine
from mimrun.log.proof.verify import verify

DIES = "import sys; sys.stdin.buffer.read(100); sys.exit(1)"
LIES_DOWN = """\
import sys
from mimrun.log.proof.beside import answer, read_message, write_message
from mimrun.log.proof.segment import examine
import io
for _ in range(3):
    page = io.BytesIO()
    write_message(page, read_message(sys.stdin.buffer))
    page.seek(0)
    answer(page, sys.stdout.buffer)
"""


def pages(count: int) -> list[list[StoredRow]]:
    log = honest()
    for number in range(5 * count):
        say(log, f"step {number}", f"INC-{number % 3}")
    rows = log.rows_
    return [rows[at : at + 5] for at in range(0, 5 * count, 5)]


@pytest.mark.parametrize("large", [0, 1, 7, 1000])
@pytest.mark.parametrize(
    "program",
    [
        ("-m", "mimrun.log.proof.beside"),
        ("-c", DIES),
        ("-c", LIES_DOWN),
        ("-c", "pass"),
    ],
    ids=["works", "dies at once", "dies later", "is not there"],
)
def test_each_page_comes_back_in_order_with_what_it_says(large: int, program: Sequence[str]) -> None:
    given = pages(40)
    broken = list(given[5])
    broken[2] = broken[2]._replace(data=b"nonsense")
    given[5] = broken
    with Beside(large, program) as beside:
        found = list(beside.examine(iter(given)))
    assert [page for page, _ in found] == given
    assert [segment for _, segment in found] == [examine(page) for page in given]
    assert found[5][1] is None


def test_a_program_that_cannot_be_started_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    given = pages(10)
    with Beside(0) as beside:
        assert [page for page, _ in beside.examine(given)] == given


def test_leaving_early_leaves_nothing_running() -> None:
    with Beside(0) as beside:
        for number, _ in enumerate(beside.examine(pages(40))):
            if number == 3:
                break
    assert beside._child is not None
    assert beside._child.returncode is not None
    assert not any(thread.is_alive() for thread in beside._threads)


def test_the_other_process_ends_when_nothing_more_comes() -> None:
    page, answers = pages(1)[0], io.BytesIO()
    given = io.BytesIO()
    write_message(given, marshal.dumps([tuple(row) for row in page]))
    given.write(b"\x05")  # the length of a message that was cut off
    given.seek(0)
    answer(given, answers)
    answers.seek(0)
    told = read_message(answers)
    assert told is not None
    assert marshal.loads(told) == tuple(examine(page) or ())
    assert read_message(answers) is None


def test_a_large_log_is_verified_alike_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log = honest()
    for number in range(400):
        say(log, f"step {number}", f"INC-{number % 3}")
    monkeypatch.setattr("mimrun.log.proof.verify.PAGE", 7)
    told: list[int] = []
    report = verify(log.store, progress=told.append)
    assert report.ok, str(report)
    assert told[-1] == report.size == 420
    assert sorted(told) == told
    log.rows_[300] = log.rows_[300]._replace(leaf=bytes(32))
    assert [(flaw.seq, flaw.check) for flaw in verify(log.store).flaws] == [(301, "leaf")]
