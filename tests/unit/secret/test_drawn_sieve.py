"""A secret is found as a person would read it on a terminal, however it was drawn there."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrun.secret import MASK, DrawnSieve, Masker, Secret

SECRET = "correct-horse-battery-staple-0123456789"
OTHER = "geheimnis-äöü-7"
ESCAPES = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")


def sieve(columns: int = 20, *secrets: str) -> DrawnSieve:
    return DrawnSieve(Masker(map(Secret, secrets or (SECRET, OTHER))), columns)


def typed(data: bytes, columns: int = 20) -> bytes:
    """What is on record of what came byte by byte, as the echo of typing does."""
    one = sieve(columns)
    return b"".join(one.feed(data[at : at + 1]) for at in range(len(data))) + one.finish()


def at_once(data: bytes, columns: int = 20) -> bytes:
    one = sieve(columns)
    return one.feed(data) + one.finish()


def both(data: bytes, columns: int = 20) -> bytes:
    shown = typed(data, columns)
    assert shown == at_once(data, columns), "pieces make no difference"
    return shown


@pytest.mark.parametrize("wrap", [b" \r", b"\r\n", b"\r\r\n", b"", b"\x1b[K", b"\r\n\x1b[K", b" \r\x1b[K"])
def test_a_secret_that_a_line_editor_wraps_is_masked(wrap: bytes) -> None:
    data = b"$ echo " + SECRET.encode()
    wrapped = wrap.join(data[at : at + 20] for at in range(0, len(data), 20))
    shown = both(wrapped + b" x\r\n")
    assert ESCAPES.sub(b"", shown).replace(b"\r", b"").replace(b"\n", b"").split() == [
        b"$",
        b"echo",
        b"*****",
        b"x",
    ]


def test_the_letter_that_bash_draws_twice_at_the_edge_is_masked_twice() -> None:
    assert both(b"$ echo correct-horse-\r-battery-staple-0123456789\r\n") == b"$ echo *****\r\r\n"


@pytest.mark.parametrize("cut", range(1, len(SECRET)))
def test_colours_between_the_letters_are_kept_and_the_letters_are_not(cut: int) -> None:
    data = f"\x1b[1m{SECRET[:cut]}\x1b[0;31m\x1b[K{SECRET[cut:]}\x1b[m.\r\n".encode()
    assert both(data, 80) == b"\x1b[1m*****\x1b[0;31m\x1b[K\x1b[m.\r\n"


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from(["", "\x1b[1m", "\x1b[38;5;12m", "\x1b[?25l", "\x0f"]), min_size=39, max_size=39)
)
def test_a_rainbow_is_seen_through(colours: list[str]) -> None:
    data = "".join(map("".join, zip(colours, SECRET, strict=True))).encode()
    assert both(data + b"\r\n", 80) == MASK.encode().join(
        ["".join(colours[:1]).encode(), "".join(colours[1:]).encode() + b"\r\n"]
    )


@pytest.mark.parametrize("back", [b"\b\x1b[K", b"\b \b", b"\x1b[D\x1b[P"])
@pytest.mark.parametrize("right", [5, 14, 25, 38])
def test_a_slip_that_is_taken_back_hides_nothing(back: bytes, right: int) -> None:
    begun, rest = SECRET[:right].encode(), SECRET[right:].encode()
    shown = both(b"$ " + begun + b"xyz" + back * 3 + rest + b"\r\n", 80)
    assert shown == b"$ *****xyz" + back * 3 + b"\r\n"


def test_letters_that_are_taken_back_and_written_again_are_masked_both_times() -> None:
    shown = both(b"$ " + SECRET[:12].encode() + b"\b\x1b[K" * 4 + SECRET[8:].encode() + b"\r\n", 80)
    assert shown == b"$ *****" + b"\b\x1b[K" * 4 + b"\r\n"


def test_of_a_very_early_slip_no_more_than_two_letters_are_on_record() -> None:
    shown = typed(b"$ coX\b\x1b[K" + SECRET[2:].encode() + b"\r\n", 80)
    assert shown == b"$ coX\b\x1b[K*****\r\n"


def test_a_line_with_a_slip_is_held_until_it_ends_or_is_settled() -> None:
    one = sieve(80)
    assert one.feed(b"$ ls corrosion") == b"$ ls "
    assert one.lingers()
    assert one.feed(b".txt\r\n") == b"corrosion.txt\r\n"
    assert not one.lingers()
    assert one.feed(b"$ ls corrosion ") == b"$ ls "
    assert one.settle() == b"corrosion "
    assert not one.lingers()
    assert one.feed(b"ly") == b"ly", "what is let go of already holds nothing back"


def test_what_may_go_on_as_a_secret_is_held_also_when_it_is_settled() -> None:
    one = sieve(80)
    assert one.feed(b"$ echo corr\x1b[31mect-h") == b"$ echo "
    assert one.settle() == b""
    assert one.feed(SECRET[9:].encode() + b"!") == b"*****\x1b[31m!"


def test_only_what_may_become_a_secret_is_held() -> None:
    one = sieve(80)
    assert one.feed(b"user@db1:~$ ") == b"user@db1:~$ "
    assert one.feed(b"\x1b[1mls\x1b[0m") == b"\x1b[1mls\x1b[0m"
    assert one.feed(b"\x1b[3") == b"", "half an escape is none"
    assert one.feed(b"1m") == b"\x1b[31m"


def test_the_line_is_followed_through_a_line_editor_that_goes_up_and_down_in_it() -> None:
    # as bash draws it: a line of two rows is recalled, and its beginning is changed
    recalled = b"echo correct-horse \r-battery-staple-0123 \r456789"
    changed = b"\x1b[A\x1b[A\r\x1b[C\x1b[Ctrue echo " + SECRET.encode()
    data = b"$ " + recalled + changed + b"\r\n"
    for shown in (typed(data), at_once(data)):
        assert shown.startswith(b"$ echo *****")
        assert not any(part in shown for part in (b"correct", b"horse", b"battery", b"staple", b"456"))


def test_letters_that_are_moved_by_the_terminal_are_found() -> None:
    for drawn in (
        b"correct-horse-battery-staple-01256789" + b"\b" * 5 + b"\x1b[2@34",
        b"correct-horse-battery-staple-01256789" + b"\b" * 5 + b"\x1b[4h34\x1b[4l",
        b"correct-horse-battery-xxstaple-0123456789" + b"\x1b[G\x1b[22C\x1b[2P",
    ):
        one = sieve(80)
        shown = one.feed(drawn) + one.finish()
        assert b"*****" in shown
        assert b"correct" not in shown


def test_a_secret_that_is_erased_in_the_same_breath_was_shown_and_is_masked() -> None:
    for gone in (b"\x1b[2K\r", b"\x1b[G\x1b[K", b"\x1b[2J\x1b[H", b"\x1b[G\x1b[J", b"\r" + b"y" * 39):
        shown = both(b"\x1b[1mcorrect-\x1b[0mhorse-battery-staple-0123456789" + gone + b"\r\n", 80)
        assert shown == b"\x1b[1m*****\x1b[0m" + gone + b"\r\n"


def test_wide_letters_and_marks_are_counted_as_the_terminal_does() -> None:
    one = sieve(10, "漢字漢字漢字漢", "e\u0301e\u0301e\u0301e\u0301")
    shown = one.feed("$ 漢字\x1b[1m漢字\r\n漢字漢\r\n".encode()) + one.feed(
        "e\u0301e\x1b[1m\u0301e\u0301e\u0301\n".encode()
    )
    assert (shown + one.finish()).decode() == "$ *****\x1b[1m\r\n*****\x1b[1m\n"


def test_a_title_is_no_part_of_the_line_and_its_own_words_are_masked() -> None:
    shown = both(b"correct-horse\x1b]0;at " + SECRET.encode() + b"\x07-battery-staple-0123456789\r\n", 80)
    assert shown == b"*****\x1b]0;at *****\x07\r\n"
    assert both(b"\x1bPq" + SECRET.encode() + b"\x1b\\ok\r\n") == b"\x1bPq*****\x1b\\ok\r\n"


def test_another_width_moves_the_wraps() -> None:
    one = sieve(20)
    one.resize(10)
    assert one.feed(b"correct-ho \rrse-batter \ry-staple-0 \r123456789\r\n") == b"*****\r\n"


def test_lines_that_have_nothing_to_do_with_each_other_are_not_joined() -> None:
    text = b"correct-horse\r\n-battery-staple-0123456789\r\n"
    assert both(text) == text


@given(
    words=st.lists(
        st.sampled_from(["corr", "ect-horse", SECRET, OTHER, "geheim", "\n", "\r\n", " ", "ab", "漢", "ü"]),
        max_size=14,
    ),
    cuts=st.lists(st.integers(0, 400), max_size=10),
)
def test_text_is_masked_as_any_text_is_whatever_pieces_it_comes_in(words: list[str], cuts: list[int]) -> None:
    data, one, at, shown = "".join(words).encode(), sieve(500), 0, b""
    for cut in sorted({min(cut, len(data)) for cut in cuts}):
        shown += one.feed(data[at:cut])
        at = cut
    shown += one.feed(data[at:]) + one.finish()
    assert shown == Masker([Secret(SECRET), Secret(OTHER)]).mask(data)


SCRAPS = st.sampled_from(
    [
        b"\x1b[",
        b"\x1b]0;x",
        b"\x07",
        b"\x1b\\",
        b"\r",
        b"\n",
        b"\b",
        b"\t",
        b" \r",
        b"abc",
        b"abcd",
        b"\x1b[A",
    ]
    + [b"\x1b[%d%c" % (n, c) for n in (0, 1, 2, 3, 4, 70000) for c in b"ABCDGHJKPX@hlmd"]
    + ["漢".encode(), "é".encode(), b"e\xcc\x81", b"\xff", b"\xe6\xbc", b"\x1b7", b"\x1bM", b"\x9b1m"]
)


@given(pieces=st.lists(st.one_of(SCRAPS, st.binary(max_size=6)), max_size=60), columns=st.integers(1, 12))
def test_whatever_a_terminal_is_told_nothing_but_letters_of_secrets_is_lost(
    pieces: list[bytes], columns: int
) -> None:
    one = DrawnSieve(Masker([Secret("none-of-this")]), columns)
    assert b"".join(map(one.feed, pieces)) + one.finish() == b"".join(pieces)
    other = DrawnSieve(Masker([Secret("abcd"), Secret("cdab")]), columns)
    shown = b"".join(map(other.feed, pieces)) + other.finish()
    kept = iter(b"".join(pieces))
    assert all(byte in kept for byte in shown.replace(MASK.encode(), b"")), "what is kept is kept in order"


def test_what_is_held_for_a_slip_is_bounded() -> None:
    one = sieve(80)
    shown = b"".join(one.feed(b"\rcorx %05d" % n) for n in range(8000))
    assert len(shown) > 20_000
    drawn = sieve(80)
    shown = b"".join(drawn.feed(b"corr" + b"\x1b[1m" * 1000) for _ in range(100))
    assert len(shown) > 100_000


def test_a_line_without_an_end_costs_no_more_than_its_length() -> None:
    one = sieve(80)
    for _ in range(300):
        one.feed(b"abcdefgh" * 512)
    assert one.feed(b"\x1b[1mcorrect-\x1b[0mhorse-battery-staple-0123456789 ").endswith(
        b"\x1b[1m*****\x1b[0m "
    )
