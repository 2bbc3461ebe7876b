"""What is printed on a terminal cannot forge what is printed on a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.cli.terminal import exact, safe, safe_line

DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
INVISIBLE = "\u200b\u200c\u200d\u2028\u2029\u2060\u2061\u2062\u2063\u2064\ufeff"


def is_obeyed_or_hidden(character: str) -> bool:
    """Control characters and halves of pairs; what changes direction; what cannot be seen."""
    return unicodedata.category(character) in ("Cc", "Cs") or character in DIRECTIONS + INVISIBLE


@given(st.text(st.characters() | st.sampled_from("\x1b\x07\r\x9b\ud800" + DIRECTIONS + INVISIBLE)))
def test_what_a_terminal_would_obey_or_hide_is_shown_as_an_escape(text: str) -> None:
    kept = {character for character in safe(text) if is_obeyed_or_hidden(character)}
    assert kept <= {"\n", "\t"}
    assert "\n" not in safe_line(text)
    assert "\t" not in safe_line(text)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b[2Japproved by alex", r"\x1b[2Japproved by alex"),
        ("ok\rfailed", r"ok\x0dfailed"),
        ("\u202eevil", r"\u202eevil"),
        ("two\nlines", "two ⏎ lines"),
        ("\\x1b is not \x1b", r"\\x1b is not \x1b"),
        ("\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07"),
    ],
)
def test_a_line_stays_one_line_and_says_what_was_in_it(said: str, shown: str) -> None:
    assert safe_line(said) == shown


@given(st.text(), st.text())
def test_no_two_texts_look_the_same_to_an_approver(one: str, other: str) -> None:
    assert (exact(one) == exact(other)) is (one == other)
    assert exact(one) == safe_line(exact(one), len(exact(one)) + 1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("systemctl", "systemctl"),
        ("--now", "--now"),
        ("/usr/bin/id", "/usr/bin/id"),
        ("a b", '"a b"'),
        ("", '""'),
        ("x ", '"x "'),
        ("a\nb", r'"a\nb"'),
        ("\u202e", r'"\u202e"'),
        ("\\n", r'"\\n"'),
    ],
)
def test_an_argument_is_bare_where_that_is_clear(text: str, shown: str) -> None:
    assert exact(text) == shown


@given(st.text(), st.integers(1, 50))
def test_a_line_is_cut_to_its_length(text: str, length: int) -> None:
    assert len(safe_line(text, length)) <= length


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert safe(text) == text
