"""A sentence says in one line who did what to what, and how it came out, for every kind of entry."""

from __future__ import annotations

from datetime import timedelta

import pytest
from builders.entries import AT
from builders.every_kind import entry_of

from mimrun.log.export.sentence import LENGTH, late_by, sentence_of
from mimrun.log.kinds import Kind, ManualReported, ShellClosed, StepOutcome, StepVerified
from mimrun.log.moment import write_moment

PLACE = "run-7k2qd9xm step 3.block.1 on db1"


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_sentence_without_the_marks_of_a_program(kind: Kind) -> None:
    said = sentence_of(entry_of(kind, "some text"))
    assert said.startswith(f"{kind.value} by some text: run-7k2qd9xm step 3.block.1 on some text")
    assert len(said) <= LENGTH
    for odd in ("None", "True", "False", "{", "[", "()", "; ;", ": ;", "=", "Kind."):
        assert odd not in said, said


def test_how_it_came_out_comes_before_why() -> None:
    outcome = StepOutcome(
        status="failed", changed=True, clean=False, unreachable=False, reason="exit 3", dur_ms=5, intent=4
    )
    assert sentence_of(entry_of(Kind.STEP_OUTCOME, "db1", body=outcome)).endswith(
        "on db1: failed; changed; exit 3"
    )
    verified = StepVerified(passed=False, reason="2 is not 3")
    assert sentence_of(entry_of(Kind.STEP_VERIFIED, "x", body=verified)).endswith(
        ": did not pass; 2 is not 3"
    )
    closed = ShellClosed(shell=4, ended="exit", status=2, dur_ms=3_721_000)
    assert sentence_of(entry_of(Kind.SHELL_CLOSED, "x", body=closed)).endswith(
        ": shell 4: exit 2 after 1:02:01"
    )


def test_what_a_person_wrote_stands_at_the_end() -> None:
    note = entry_of(Kind.INCIDENT_NOTE, "alex", run="", step="", target="")
    assert sentence_of(note, "the errors began at noon") == "incident.note by alex: the errors began at noon"
    assert sentence_of(note) == "incident.note by alex"
    assert sentence_of(note, "x" * 400).endswith("x…")


@pytest.mark.parametrize(
    ("late", "said"),
    [
        (timedelta(seconds=59), ""),
        (timedelta(minutes=14), "entered 14 min later"),
        (timedelta(hours=3, minutes=5), "entered 3 h 5 min later"),
        (timedelta(days=2, hours=1), "entered 2 d 1 h later"),
    ],
)
def test_what_was_entered_later_says_how_much_later(late: timedelta, said: str) -> None:
    body = ManualReported(title="swapped the cable", at=write_moment(AT - late))
    assert late_by(entry_of(Kind.MANUAL_REPORTED, "x", body=body)) == said


@pytest.mark.parametrize("at", ["", "2026-13-45T99:99:99.000000Z"])
def test_a_moment_that_no_calendar_has_keeps_nobody_from_reading_on(at: str) -> None:
    entry = entry_of(Kind.MANUAL_REPORTED, "x", body=ManualReported(title="swapped the cable", at=at))
    assert sentence_of(entry).endswith(": swapped the cable")
