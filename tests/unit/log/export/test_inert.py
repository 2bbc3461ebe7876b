"""What came from a target is shown, and obeyed by nobody."""

from __future__ import annotations

import json
import unicodedata

from builders.every_kind import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from mimrun.log.export.inert import ascii_json, inert

ANY = st.text(st.characters(exclude_categories=()), max_size=60)


def undo(text: str) -> str:
    """Read what `inert` wrote, by another way than it was written."""
    out, rest = "", text
    while rest:
        if rest.startswith("\\\\"):
            out, rest = out + "\\", rest[2:]
        elif rest.startswith("\\u"):
            out, rest = out + chr(int(rest[2:6], 16)), rest[6:]
        elif rest.startswith("\\U"):
            out, rest = out + chr(int(rest[2:10], 16)), rest[10:]
        else:
            out, rest = out + rest[0], rest[1:]
    return out


@given(ANY)
def test_inert_text_is_one_shown_line_and_tells_what_it_was(text: str) -> None:
    shown = inert(text)
    assert shown.splitlines() in ([shown], [])
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert undo(shown) == text


def test_what_is_shown_as_it_is_stays_as_it_is() -> None:
    assert inert("Jürgen: 12 % done, größer → ok") == "Jürgen: 12 % done, größer → ok"
    assert inert("\x1b[2J\u202ex") == r"\u001b[2J\u202ex"


@given(ANY)
def test_json_is_printable_ascii_on_one_line(text: str) -> None:
    line = ascii_json({"text": text})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"text": text}


def test_the_hostile_text_of_other_tests_is_hostile() -> None:
    assert len(HOSTILE.splitlines()) > 5
    assert not HOSTILE.isprintable()
