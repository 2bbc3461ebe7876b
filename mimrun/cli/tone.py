"""Tones as colours of the terminal."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from mimrun.app.shown.tone import Told, Tone

STYLES: Final[dict[Tone, str]] = {
    "": "",
    "quiet": "dim",
    "strong": "bold",
    "place": "cyan",
    "good": "green",
    "care": "yellow",
    "asks": "bold yellow",
    "danger": "red",
    "alarm": "bold red",
    "calm": "blue",
}


def coloured(told: Told, indent: str = "") -> Text:
    """Give a line for the terminal."""
    text = Text(indent)
    for words, tone in told.words:
        text.append(words, STYLES[tone])
    return text
