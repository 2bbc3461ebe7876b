"""Suggestions: what somebody who wrote an unknown word may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LISTED = 15
"""So many known words are listed; more than that is not read by anybody."""


def suggest(word: str, known: Iterable[str]) -> str:
    """Give the hint for an unknown word.

    Arguments:
        word: what was written.
        known: every word that is allowed in its place.

    Returns:
        `did you mean 'x'?` when a known word is close, else `allowed here: a, b, c`, else "".
    """
    words = sorted(set(known))
    folded = {candidate.lower(): candidate for candidate in reversed(words)}
    close = difflib.get_close_matches(word.lower(), folded, n=1)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    if not words:
        return ""
    rest = f" and {len(words) - LISTED} more" if len(words) > LISTED else ""
    return f"allowed here: {', '.join(words[:LISTED])}{rest}"
