from __future__ import annotations

from pathlib import Path

import pytest

from mimrun.app.home import lay_home
from mimrun.app.records import note_of, read_note, verify_log
from mimrun.errors import InputError
from mimrun.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home")
    lay_home(settings)
    return settings


def test_a_log_is_compared_with_what_was_noted(settings: Settings) -> None:
    report = verify_log(settings)
    noted = note_of(report.size, report.root)
    assert noted in str(report)
    assert verify_log(settings, noted).ok


def test_a_log_that_was_rewritten_as_a_whole_shows_against_the_note(
    tmp_path: Path, settings: Settings
) -> None:
    other = Settings(home=tmp_path / "other", origin="other")
    lay_home(other)
    report = verify_log(other)
    assert not verify_log(settings, note_of(report.size, report.root)).ok


@pytest.mark.parametrize("text", ["", "4", "0:" + "a" * 64, "4:abc", "4:" + "A" * 64, "x:" + "a" * 64])
def test_what_nobody_printed_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="SIZE:ROOT"):
        read_note(text)
