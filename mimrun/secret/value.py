"""The secret itself: a value that does not show itself."""

from __future__ import annotations

from typing import Final, NoReturn

MASK: Final = "*****"


class Secret:
    """A value that is used and never shown.

    Arguments:
        value: what must reach a target and nothing else.
        version: which version of it a store gave, or "".
    """

    __slots__ = ("_value", "version")

    def __init__(self, value: str, version: str = "") -> None:
        self._value = value
        self.version = version

    def reveal(self) -> str:
        """Give the value. Every call of this is a place to look at in a review."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        # A pickle is a file or a message to another process: a sink.
        raise TypeError("a secret is not pickled; give the reference, and read it where it is used")
