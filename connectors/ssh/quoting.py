"""Words for a shell: quoted so that every shell takes them for exactly these words."""

from __future__ import annotations

from collections.abc import Sequence


def quote(word: str) -> str:
    """Quote a word for any POSIX shell. Always, as a bare `=word` means something else to zsh."""
    return "'" + word.replace("'", "'\\''") + "'"


def join(argv: Sequence[str]) -> str:
    """Give the words of a command as shell text that yields exactly these words."""
    return " ".join(quote(word) for word in argv)
