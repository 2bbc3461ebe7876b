from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.cli.terminal import console, explain, print_json, safe_json
from mimrun.errors import InputError, LeaseError, Problem

ANY = st.text(st.characters(), max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3),
    max_leaves=8,
)
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def obeyed(text: str) -> list[str]:
    """Characters that a terminal would obey or hide, but for the new line and the tab."""
    return [c for c in text if (unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t") or c in BIDI]


@given(JSON)
def test_json_is_the_same_value_and_safe_to_print(value) -> None:
    shown = safe_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(shown) == value
    assert obeyed(shown) == []


def test_json_is_printed_as_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": ["ü", "\x9b31m"]})
    out = capsys.readouterr().out
    assert json.loads(out) == {"a": ["ü", "\x9b31m"]}
    assert "ü" in out
    assert "\\u009b" in out


@pytest.mark.parametrize("columns", ["", "abc", "-3", "0", "99999999999", "1e3"])
def test_an_odd_width_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert console().width == 120
    monkeypatch.setenv("COLUMNS", "77")
    assert console().width == 77


def test_every_problem_is_explained_with_its_place_and_hint(capsys: pytest.CaptureFixture[str]) -> None:

    problems = [Problem("b.yaml", 2, 3, "wrong \x1b[31m", "mend it"), Problem("a.yaml", 0, 0, "missing")]
    explain(InputError(problems=problems))
    told = capsys.readouterr().err
    assert told.splitlines()[0] == "a.yaml: missing"
    assert "b.yaml:2:3: wrong \\x1b[31m\n    mend it" in told
    assert told.endswith("2 problems; nothing was done\n")
    explain(LeaseError("held by another"), as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "error": "held by another",
        "kind": "LeaseError",
        "exit_code": 5,
        "problems": [],
    }
