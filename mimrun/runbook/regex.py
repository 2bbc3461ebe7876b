r"""Regular expressions whose time grows with the text and never faster, by RE2.

Python's own matcher tries every way through a pattern, one after the other: a short hostile text can keep
it busy for ever, and it cannot be stopped. RE2 follows all ways at once. It has no look-around and no back
references, which are what makes matching slow; `\d`, `\w`, `\s` and `\b` mean ASCII, and `$` means the very
end (https://github.com/google/re2/wiki/Syntax).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import re2

from mimrun.runbook.bounds import Budget, ExpressionError

MAX_PATTERN: Final = 1000
"""Characters of a pattern."""
MAX_MEMORY: Final = 8 * 1024 * 1024
"""Bytes that one compiled pattern may use."""


@dataclass(frozen=True, slots=True)
class Found:
    """A match, with its groups."""

    match: Any  # re2 is an untyped extension; nothing else of it leaves this module

    @property
    def start(self) -> int:
        """Where the match begins."""
        return int(self.match.start())

    @property
    def end(self) -> int:
        """Where the match ends."""
        return int(self.match.end())

    def group(self, name: str) -> str | None:
        """Give what a group holds, by number or name; None where it is no part of the match.

        Raises:
            ExpressionError: there is no such group.
        """
        try:
            held = self.match.group(int(name) if name.isdecimal() else name)
        except (IndexError, re2.error) as exc:
            raise ExpressionError(f"the pattern has no group {name!r}") from exc
        return None if held is None else str(held)


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Any:
    """Read a pattern.

    Raises:
        ExpressionError: it cannot be read, or has look-around or back references.
    """
    if len(pattern) > MAX_PATTERN:
        raise ExpressionError(f"a pattern has at most {MAX_PATTERN} characters")
    if "{," in pattern:
        # Python repeats from zero here, RE2 takes the braces as they are: nobody may guess wrong.
        raise ExpressionError(f"the pattern {pattern!r} cannot be used: write {{0,n}} for {{,n}}")
    options = re2.Options()
    options.log_errors, options.max_mem = False, MAX_MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error as exc:
        why = exc.args[0].decode() if exc.args and isinstance(exc.args[0], bytes) else str(exc)
        raise ExpressionError(f"the pattern {pattern!r} cannot be used: {why}") from exc


def fits(pattern: str, text: str, budget: Budget | None = None) -> bool:
    """Say whether a whole text fits a pattern."""
    _pay(budget, text)
    return compile_pattern(pattern).fullmatch(text) is not None


def search(
    pattern: str, text: str, budget: Budget, *, start: int = 0, anchored: bool = False
) -> Found | None:
    """Give the first match of a pattern in a text.

    Arguments:
        start: where to begin.
        anchored: the match must begin there.
    """
    _pay(budget, text)
    compiled = compile_pattern(pattern)
    match = compiled.match(text, start) if anchored else compiled.search(text, start)
    return None if match is None else Found(match)


def _pay(budget: Budget | None, text: str) -> None:
    """Take from the budget: going through a text once costs as much as its length, in thousands."""
    if budget is not None:
        budget.step(1 + len(text) // 1000)
