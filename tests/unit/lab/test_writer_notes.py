"""What the writer's notes say about an outage and about lost rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.lab.writer import Failure, Notes, Write, note, parse


def written(number: int, sent: float, acknowledged: float) -> Write:
    return Write(number, sent, acknowledged, 1_700_000_000_000_000_000)


BEFORE_AND_AFTER = Notes(
    (written(1, 10.0, 10.1), written(2, 10.2, 10.3), written(9, 12.4, 12.5), written(10, 12.6, 12.65)),
    (Failure(3, 10.4, "gone"),),
)


def test_the_outage_ends_with_the_first_write_that_was_sent_after_the_death() -> None:
    assert BEFORE_AND_AFTER.outage(10.35) == pytest.approx(2.15)


def test_an_answer_to_what_was_sent_before_the_death_does_not_end_the_outage() -> None:
    notes = Notes((written(1, 10.0, 10.2), written(2, 11.0, 11.5)))
    assert notes.outage(10.1) == pytest.approx(1.4)


def test_an_outage_without_an_end_is_not_a_number() -> None:
    assert BEFORE_AND_AFTER.outage(13.0) is None
    assert Notes().outage(0.0) is None


def test_the_longest_gap_is_between_acknowledgements() -> None:
    assert BEFORE_AND_AFTER.longest_gap() == pytest.approx(2.2)
    assert Notes((written(1, 0.0, 0.1),)).longest_gap() == 0.0


def test_a_row_is_lost_only_if_it_was_acknowledged() -> None:
    assert BEFORE_AND_AFTER.lost([1, 9]) == [2, 10]
    assert BEFORE_AND_AFTER.lost([1, 2, 3, 9, 10]) == []


times = st.floats(0, 1e6, allow_nan=False)
entries = st.one_of(
    st.builds(Write, st.integers(1), times, times, st.integers(0)),
    st.builds(Failure, st.integers(1), times, st.text()),
)


@given(st.lists(entries), st.integers(0, 60))
def test_notes_are_read_as_they_were_written_but_for_a_line_that_is_cut(
    given_entries: list[Write | Failure], cut: int
) -> None:
    lines = [note(entry) for entry in given_entries]
    last = note(written(1, 0.0, 0.0))[:cut]
    read = parse([*lines, *([last] if last else [])])
    assert read.acknowledged == tuple(e for e in given_entries if isinstance(e, Write))
    assert read.failed == tuple(e for e in given_entries if isinstance(e, Failure))
