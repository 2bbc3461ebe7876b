"""Recording a session: asciicast v2 in pieces, masked, and whole again."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from builders.entries import entry as made
from hypothesis import given
from hypothesis import strategies as st

from mimrun.app.shells import Session
from mimrun.connector import Terminal
from mimrun.errors import TamperError
from mimrun.log.kinds import ShellClosed, ShellOpened, ShellRecorded
from mimrun.run.cast import Piece, Recorder, whole_cast
from mimrun.run.shell import Shell, Shells, key_of
from mimrun.secret import Masker, Secret


def lines_of(data: bytes) -> list[list[Any]]:
    return [json.loads(line) for line in data.splitlines()]


def take(recorder: Recorder) -> Piece:
    piece = recorder.piece()
    assert piece is not None
    recorder.saved(piece)
    return piece


@given(
    pieces=st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 50), st.booleans()), max_size=20),
    secret=st.sampled_from(["", "abcd", "\x1b[31"]),
)
def test_the_pieces_together_are_what_was_shown(pieces: list[tuple[bytes, int, bool]], secret: str) -> None:
    masker = Masker([Secret(secret)] if secret else [])
    recorder, saved, now = Recorder(masker), [], 0
    for data, wait, save in pieces:
        now += wait
        recorder.output(data, now)
        if save and recorder.piece() is not None:
            saved.append(take(recorder))
    recorder.finish(now)
    if recorder.piece() is not None:
        saved.append(take(recorder))
    assert (recorder.piece(), recorder.waiting) == (None, 0)
    events = [event for piece in saved for event in lines_of(piece.lines)]
    shown = b"".join(data for data, _, _ in pieces)
    assert "".join(text for _, _, text in events) == masker.mask(shown).decode("utf-8", "replace")
    assert [at for at, _, _ in events] == sorted(at for at, _, _ in events)
    assert [piece.part for piece in saved] == list(range(1, len(saved) + 1))
    assert all(piece.events == len(lines_of(piece.lines)) for piece in saved)


def test_what_could_not_be_saved_is_kept_and_joined_with_what_follows() -> None:
    recorder = Recorder(Masker())
    recorder.output(b"one", 100)
    first = recorder.piece()
    assert first is not None
    recorder.output(b"two", 250)
    recorder.resize(120, 40, 300)
    again = take(recorder)
    assert again.part == first.part == 1
    assert lines_of(again.lines) == [[0.1, "o", "one"], [0.25, "o", "two"], [0.3, "r", "120x40"]]
    recorder.output(b"three", 200)
    assert lines_of(take(recorder).lines) == [[0.3, "o", "three"]], "time does not go back"


def test_what_came_while_a_piece_was_saved_belongs_to_the_next() -> None:
    recorder = Recorder(Masker())
    recorder.output(b"one", 1)
    piece = recorder.piece()
    assert piece is not None
    recorder.output(b"two", 2)
    recorder.saved(piece)
    assert lines_of(take(recorder).lines) == [[0.002, "o", "two"]]


def text_of(recorder: Recorder) -> str:
    piece = recorder.piece()
    return "".join(event[2] for event in lines_of(piece.lines)) if piece is not None else ""


def test_a_line_that_may_be_a_secret_with_a_slip_waits_for_its_end_or_for_somebody_who_says_so() -> None:
    recorder = Recorder(Masker([Secret("correct-horse")]), 40)
    recorder.output(b"$ corrosion", 100)
    recorder.output(b" is", 900)
    assert (text_of(recorder), recorder.lingers_since) == ("$ ", 100)
    recorder.settle(1000)
    assert (text_of(recorder), recorder.lingers_since) == ("$ corrosion is", None)
    recorder.output(b" corX", 1100)
    held = recorder.lingers_since
    recorder.output(b"\b\x1b[Krect", 1200)
    assert (held, recorder.lingers_since) == (1100, None), (
        "what may still go on is no slip, and waits for more"
    )
    recorder.output(b"-horse\r\n", 1300)
    assert recorder.lingers_since is None
    assert text_of(recorder) == "$ corrosion is *****X\b\x1b[K\r\n"


def test_a_session_puts_a_held_line_on_record_after_ten_seconds() -> None:
    now, done = 0.0, []
    recorder = Recorder(Masker([Secret("correct-horse")]), 40)
    nobody = cast("Terminal", None)
    session = Session(
        1, nobody, (), recorder, lambda work: done.append(work[0][1][0].data), clock=lambda: now
    )
    session.heard(b"$ corrosion")
    assert session.due_in() == 2
    now = 2.0
    session.save()
    assert (session.due_in(), len(done)) == (2, 1)
    now = 9.0
    assert session.due_in() == 1
    now = 10.0
    assert session.due_in() == 0
    session.save()
    assert [lines_of(lines)[0][2] for lines in done] == ["$ ", "corrosion"]
    session.heard(b"\r\n$ corroded")
    session.settle()
    assert "".join(event[2] for event in lines_of(done[-1])) == "\r\n$ corroded"
    assert session.due_in() == 2


OPENED = ShellOpened(account="ops", address="db1", host_key="ssh-ed25519 X", columns=80, rows=24, reason="")


def piece_entry(seq: int, part: int) -> Any:
    return made(ShellRecorded(shell=5, part=part, events=1, until_ms=part * 1000), seq)


def test_a_whole_cast_has_a_header_and_says_what_was_erased() -> None:
    lines = b'[1.0, "o", "x"]\n'
    cast = b"".join(whole_cast(made(OPENED, 5), [(piece_entry(6, 1), lines), (piece_entry(9, 2), None)]))
    head, *events = lines_of(cast)
    assert isinstance(head, dict)
    assert (head["version"], head["width"], head["height"]) == (2, 80, 24)
    assert events == [[1.0, "o", "x"], [2.0, "m", "erased"]]


def test_a_piece_that_is_missing_is_found() -> None:
    with pytest.raises(TamperError, match="piece 2 of shell 5 comes where 1 belongs"):
        list(whole_cast(made(OPENED, 5), [(piece_entry(6, 2), b"")]))


def test_the_projection_follows_a_session_and_refuses_what_cannot_be() -> None:
    shells = Shells()
    state = shells.apply(shells.empty(), made(OPENED, 5), {})
    assert Shell.model_validate_json(state).open
    assert shells.key(made(OPENED, 5)) == shells.key(piece_entry(6, 1)) == key_of(5)
    with pytest.raises(TamperError, match="piece 2"):
        shells.apply(state, piece_entry(6, 2), {})
    state = shells.apply(state, piece_entry(6, 1), {})
    told = Shell.model_validate_json(state)
    assert (told.parts, told.until_ms) == (1, 1000)
    closed = made(ShellClosed(shell=5, ended="exit", status=0, dur_ms=1), 7)
    state = shells.apply(state, closed, {})
    assert not Shell.model_validate_json(state).open
    for late in (piece_entry(8, 2), closed):
        with pytest.raises(TamperError, match="not open"):
            shells.apply(state, late, {})
    with pytest.raises(TamperError, match="no entry began it"):
        shells.apply(shells.empty(), piece_entry(6, 1), {})
