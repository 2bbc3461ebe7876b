"""What templates call things."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mimrun.incident.alert import Status
from mimrun.run.record.transitions import CellStatus, RunStatus
from mimrun.web import words
from mimrun.web.words import WORDS

NOW = datetime(2026, 11, 22, 3, 10, 42, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (3900, "1 h 5 min"),
        (86400, "1 d"),
        (90061, "1 d 1 h"),
    ],
)
def test_a_duration_is_told_with_its_two_largest_units(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


def test_a_moment_is_told_in_utc_whatever_it_comes_as() -> None:
    assert words.moment("2026-11-22T03:10:42.123456Z") == "2026-11-22 03:10:42"
    assert words.clock(NOW) == "03:10:42"
    assert words.day(NOW) == "2026-11-22"
    assert words.iso("2026-11-22T03:10:42.123456Z") == "2026-11-22T03:10:42.123Z"
    assert words.iso("when it rained") == ""


def test_what_is_late_is_said_to_be() -> None:
    assert words.since(NOW - timedelta(minutes=5), NOW) == "5 min"
    assert words.left(NOW + timedelta(minutes=5), NOW) == "5 min"
    assert words.left(NOW - timedelta(minutes=5), NOW) == "late by 5 min"
    assert words.since("", NOW) == words.left("", NOW) == ""


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (3 * 10**9, "3.0 GB")],
)
def test_a_size_is_told_in_its_unit(size: int, said: str) -> None:
    assert words.size(size) == said


def test_what_is_counted_has_its_noun() -> None:
    assert words.counted(1, "run") == "1 run"
    assert words.counted(12345, "entry", "entries") == "12 345 entries"


@pytest.mark.parametrize("word", sorted({*RunStatus, *CellStatus, *Status.__args__}))
def test_every_status_has_a_sign_beside_its_colour(word: str) -> None:
    assert word in WORDS, f"mimrun.web.words has no sign for {word}"
    assert WORDS[word].sign.strip()


def test_a_sign_means_one_tone_wherever_it_stands() -> None:
    """Whoever sees no colours tells them by their signs."""
    tones: dict[str, set[str]] = {}
    for said in WORDS.values():
        tones.setdefault(said.sign, set()).add(said.tone)
    mixed = {sign: found for sign, found in tones.items() if len(found) > 1 and not found <= {"bad", "wait"}}
    assert not mixed


def test_nothing_in_a_text_forges_what_stands_beside_it() -> None:
    assert words.neutral("a\u202eb\x1b[2J") == "a\\u202eb\\x1b[2J"
    assert words.neutral(None) == ""
    assert words.neutral(7) == 7


def test_an_unknown_status_is_shown_as_it_is() -> None:
    assert words.worded("half_done") == words.Worded("calm", "·", "half done")
