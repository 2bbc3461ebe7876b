"""Bounds: what evaluating an expression may cost, counted and never timed.

A clock would make the same runbook work on one machine and fail on another. Steps, items and characters
are the same everywhere, so an expression that is too expensive is refused everywhere, at the same place.
A child process with limits of its own would cost more than the step it is for, on every host. The budget is set so that the worst expression ends within about two seconds and 200 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from pydantic import JsonValue

from mimrun.errors import RunbookError

MAX_STEPS: Final = 500_000
"""How many parts of expressions and items of data one rendering may look at."""

MAX_TEXT: Final = 1024 * 1024
"""Characters in a text, and in everything that one rendering gives."""

MAX_ITEMS: Final = 100_000
MAX_BITS: Final = 256
"""Integers beyond this are not computed."""

MAX_PRODUCED: Final = 64 * 1024 * 1024
"""Characters that one rendering may produce on its way, results thrown away included."""

T = TypeVar("T")


class ExpressionError(RunbookError):
    """An expression or template that cannot be read or has no value.

    Arguments:
        message: what is wrong.
        hint: what would be right, or "".
        line: the line inside the text, 1-based.
    """

    def __init__(self, message: str, hint: str = "", line: int = 1) -> None:
        super().__init__(message + (f"; {hint}" if hint else ""))
        self.message = message
        self.hint = hint
        self.line = line


class UndefinedName(ExpressionError):
    """An expression names something that is not there.

    Arguments:
        name: the top-level name that is missing, or "" where a key of a known value is missing.
    """

    def __init__(self, message: str, hint: str = "", name: str = "") -> None:
        super().__init__(message, hint)
        self.name = name


class Budget:
    """What is left of the bounds of one rendering."""

    __slots__ = ("_produced", "_steps")

    def __init__(self) -> None:
        self._steps = MAX_STEPS
        self._produced = MAX_PRODUCED

    def step(self, count: int = 1) -> None:
        """Pay for looking at so many things.

        Raises:
            ExpressionError: the budget is used up.
        """
        self._steps -= count
        if self._steps < 0:
            raise ExpressionError(
                f"needs more than {MAX_STEPS} steps", "do the work in a script on the target"
            )

    def text(self, length: int) -> None:
        """Pay for a text before it is made.

        Raises:
            ExpressionError: it would be too long, or too much has been produced already.
        """
        self.whole(length)
        self._produced -= length
        if self._produced < 0:
            raise ExpressionError(f"makes more than {MAX_PRODUCED} characters on its way")

    def whole(self, length: int) -> None:
        """Hold a text that grows piece by piece against the limit; its pieces are paid for already.

        Raises:
            ExpressionError: it is too long.
        """
        if length > MAX_TEXT:
            raise ExpressionError(f"makes a text of {length} characters; {MAX_TEXT} are the most")

    def items(self, length: int) -> None:
        """Pay for a list or mapping before it is made.

        Raises:
            ExpressionError: it would be too long, or the budget is used up.
        """
        if length > MAX_ITEMS:
            raise ExpressionError(f"makes a list of {length} items; {MAX_ITEMS} are the most")
        self.step(length)

    def weigh(self, value: JsonValue) -> None:
        """Pay for looking at every part of a value: for a comparison, a sort, a conversion.

        Raises:
            ExpressionError: the budget is used up.
        """
        waiting: list[JsonValue] = [value]
        while waiting:
            part = waiting.pop()
            self.step(1 + (len(part) >> 10 if isinstance(part, str) else 0))
            if isinstance(part, Mapping):
                waiting.extend(part.values())
            elif isinstance(part, list | tuple):
                waiting.extend(part)

    def number(self, value: int | float) -> int | float:
        """Give a number back when it is one that every machine has alike.

        Raises:
            ExpressionError: it is infinite, not a number, or an integer beyond 256 bits.
        """
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise ExpressionError(f"makes an integer of {value.bit_length()} bits; {MAX_BITS} are the most")
        if isinstance(value, float) and value - value != 0:
            raise ExpressionError("makes a number that is not finite")
        return value
