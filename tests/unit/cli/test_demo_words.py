"""What the demo tells somebody to type can be typed here, and what it quotes of a verifier is what counts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mimrun.app.demo.evidence import Answer
from mimrun.cli import demo


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        ("mimrun log verify --home /x/mimrun-demo", "/env/bin/mimrun log verify --home /x/mimrun-demo"),
        ("python3 /x/mimrun-demo/verify.py", "python3 /x/mimrun-demo/verify.py"),
    ],
)
def test_only_mimrun_itself_is_called_by_its_path_where_it_is_not_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str, typed: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["/env/bin/mimrun", "demo"])
    assert demo.typed(words) == typed


@pytest.mark.parametrize(
    ("code", "text", "why"),
    [
        (
            1,
            "incident X of Y: 3 entries\nNOT what was recorded: 2 flaws\n  entry 2: a\n  entry 3: b",
            "entry 2: a",
        ),
        (1, "NOT what was recorded: 1 flaw\n  it is not a bundle", "it is not a bundle"),
        (2, "cannot check: no such file", "cannot check: no such file"),
        (0, "everything is as it was recorded", "everything is as it was recorded"),
        (1, "", ""),
    ],
)
def test_the_first_flaw_is_quoted_and_else_the_last_word(code: int, text: str, why: str) -> None:
    assert Answer(code, text).why == why
