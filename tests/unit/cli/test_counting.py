"""How far something is, is shown where somebody looks and nowhere else, and is gone at the end."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

import pytest

from mimrun.cli.counting import Counting


class Stream(io.StringIO):
    """A stream that is a terminal, or is none."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> tuple[Stream, Stream]:
    """Standard output and standard error; only the second is a terminal. Nothing has to take long to be shown."""
    out, err = Stream(), Stream()
    err.terminal = True
    monkeypatch.setattr("mimrun.cli.counting._PATIENCE_S", 0)
    monkeypatch.setattr("mimrun.cli.counting._SHOWN_S", 0)
    return out, err


def count(streams: tuple[Stream, Stream], *, aside: bool) -> None:
    # Not in the fixture: pytest puts its own streams in place when the test itself begins.
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]), Counting(aside=aside) as counting:
        counting.show(1000, "entries shown")
        counting.folded(2000)


def test_it_is_written_over_on_a_terminal_and_gone_at_the_end(streams: tuple[Stream, Stream]) -> None:
    count(streams, aside=True)
    assert streams[0].getvalue() == ""
    assert streams[1].getvalue() == "\r\x1b[K1,000 entries shown\r\x1b[K2,000 entries folded anew\r\x1b[K"


def test_nothing_is_shown_where_nobody_looks(streams: tuple[Stream, Stream]) -> None:
    streams[1].terminal = False
    count(streams, aside=False)
    assert streams[1].getvalue() == ""


def test_what_is_shown_on_the_same_terminal_itself_says_how_far_it_is(streams: tuple[Stream, Stream]) -> None:
    streams[0].terminal = True
    count(streams, aside=True)
    assert streams[1].getvalue() == ""
    count(streams, aside=False)
    assert "2,000 entries folded anew" in streams[1].getvalue()


def test_what_is_over_soon_is_not_counted_at_all(
    streams: tuple[Stream, Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimrun.cli.counting._PATIENCE_S", 60)
    count(streams, aside=False)
    assert streams[1].getvalue() == ""
