"""The stylesheet: every text can be read on every ground that it stands on, by day and by night."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

import mimrun.web

CSS: Final = (Path(mimrun.web.__file__).parent / "static" / "mimrun.css").read_text()
PAIR: Final = re.compile(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);")
COLOURS: Final = {name: (light, dark) for name, light, dark in PAIR.findall(CSS)}
TONES: Final = ("good", "busy", "wait", "bad", "doubt", "calm")
GROUNDS: Final = ("ground", "surface", "sunken")
TEXTS: Final = [
    *((text, ground) for text in ("text", "muted", "link") for ground in GROUNDS),
    *((tone, ground) for tone in TONES for ground in ("ground", "surface", f"{tone}-tint")),
    *(("text", f"{tone}-tint") for tone in TONES),
    *(("muted", f"{tone}-tint") for tone in ("busy",)),
    *((f"on-{kind}", ground) for kind in ("accent", "danger") for ground in (kind, f"{kind}-strong")),
]
EDGES: Final = [
    *((edge, ground) for edge in ("edge", "focus") for ground in GROUNDS),
    *(("accent", ground) for ground in ("surface",)),
]


def luminance(colour: str) -> float:
    """Give the relative luminance, by WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_the_measure_is_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXTS)
def test_text_can_be_read_on_its_ground(text: str, ground: str, scheme: int) -> None:
    assert contrast(COLOURS[text][scheme], COLOURS[ground][scheme]) >= 4.5


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("edge", "ground"), EDGES)
def test_what_can_be_filled_in_or_has_the_cursor_is_seen(edge: str, ground: str, scheme: int) -> None:
    assert contrast(COLOURS[edge][scheme], COLOURS[ground][scheme]) >= 3


def test_a_colour_is_named_once_and_used_by_its_name() -> None:
    rules = re.sub(r"/\*.*?\*/", "", CSS, flags=re.DOTALL)
    paper = rules[rules.index("@media print") :]
    rest = PAIR.sub("", rules.replace(paper, ""))
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b", rest)


def test_the_stylesheet_fetches_nothing() -> None:
    assert "@import" not in CSS
    assert not re.findall(r"url\((?!['\"]?data:)", CSS)
