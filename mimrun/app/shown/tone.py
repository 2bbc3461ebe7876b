"""Tones: what a word means to whoever reads it; each door has its own colours for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone: TypeAlias = Literal["", "quiet", "strong", "place", "good", "care", "asks", "danger", "alarm", "calm"]
"""How something is said: aside, with weight, naming a place, fine, with care, as a question, as a danger, loudly;
`calm` is under way."""


@dataclass(frozen=True, slots=True)
class Told:
    """A line about something.

    Arguments:
        words: pieces of it, each with its tone.
        deep: it is about the line above.
    """

    words: tuple[tuple[str, Tone], ...]
    deep: bool = False

    @property
    def text(self) -> str:
        """The line."""
        return "".join(text for text, _ in self.words)


def line(text: str, tone: Tone = "", *, deep: bool = False) -> Told:
    """Give a line in one tone."""
    return Told(((text, tone),), deep)
