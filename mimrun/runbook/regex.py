"""Regular expressions whose time grows with the text and never faster.

Python's own matcher tries every way through a pattern, one after the other: a short hostile text can keep
it busy for ever, and it cannot be stopped. This one follows all ways at once (Thompson's construction,
with the positions of groups as in Pike's machine), so the work is at most pattern times text, and it is
paid for from the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from mimrun.runbook.bounds import Budget, ExpressionError
from mimrun.runbook.regex_syntax import Assert, Chars, Match, Program, Reader, Save, Split

MAX_PATTERN: Final = 1000

_Thread: TypeAlias = tuple[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Found:
    """A match: where each group begins and ends, the whole being group 0; -1 where a group is not in it."""

    text: str
    slots: tuple[int, ...]
    names: dict[str, int]

    @property
    def start(self) -> int:
        """Where the match begins."""
        return self.slots[0]

    @property
    def end(self) -> int:
        """Where the match ends."""
        return self.slots[1]

    def group(self, name: str) -> str | None:
        """Give what a group holds, by number or name.

        Raises:
            ExpressionError: there is no such group.
        """
        number = int(name) if name.isdecimal() else self.names.get(name, -1)
        if not 0 <= number < len(self.slots) // 2:
            raise ExpressionError(f"the pattern has no group {name!r}")
        start, end = self.slots[2 * number : 2 * number + 2]
        return None if end < 0 or start < 0 else self.text[start:end]


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Program:
    """Read a pattern.

    Raises:
        ExpressionError: it cannot be read, or has look-around or back references.
    """
    if len(pattern) > MAX_PATTERN:
        raise ExpressionError(f"a pattern has at most {MAX_PATTERN} characters")
    return Reader(pattern).read()


def fits(pattern: str, text: str, budget: Budget | None = None) -> bool:
    """Say whether a whole text fits a pattern."""
    return _run(compile_pattern(pattern), text, 0, budget or Budget(), anchored=True, whole=True) is not None


def search(
    pattern: str, text: str, budget: Budget, *, start: int = 0, anchored: bool = False
) -> Found | None:
    """Give the first match of a pattern in a text.

    Arguments:
        start: where to begin.
        anchored: the match must begin there.
    """
    return _run(compile_pattern(pattern), text, start, budget, anchored=anchored, whole=False)


def _run(
    program: Program, text: str, start: int, budget: Budget, *, anchored: bool, whole: bool
) -> Found | None:
    code, empty = program.code, (-1,) * (2 * program.groups + 2)
    threads: list[_Thread] = []
    seen: set[int] = set()
    found: tuple[int, ...] | None = None
    for at in range(start, len(text) + 1):
        if found is None and (at == start or not anchored):
            _follow(program, (0, empty), text, at, (threads, seen, budget))
        if not threads and (found is not None or anchored):
            break
        following: tuple[list[_Thread], set[int], Budget] = ([], set(), budget)
        for place, slots in threads:
            instruction = code[place]
            if isinstance(instruction, Match):
                if not whole or at == len(text):
                    found = slots
                    break  # every thread behind this one is preferred less
            elif at < len(text) and isinstance(instruction, Chars) and instruction.has(text[at]):
                _follow(program, (place + 1, slots), text, at + 1, following)
        threads, seen, _ = following
    return None if found is None else Found(text, found, program.names)


def _follow(
    program: Program, thread: _Thread, text: str, at: int, into: tuple[list[_Thread], set[int], Budget]
) -> None:
    """Add a thread, and every one that it becomes without reading a character."""
    threads, seen, budget = into
    stack = [thread]
    while stack:
        place, slots = stack.pop()
        if place in seen:
            continue
        seen.add(place)
        budget.step()
        match program.code[place]:
            case Split(first, second):
                stack += [(second, slots), (first, slots)]
            case Save(slot):
                stack.append((place + 1, (*slots[:slot], at, *slots[slot + 1 :])))
            case Assert(kind):
                if _holds(kind, text, at):
                    stack.append((place + 1, slots))
            case _:
                threads.append((place, slots))


def _holds(kind: str, text: str, at: int) -> bool:
    match kind:
        case "^" | "A":
            return at == 0
        case "Z":
            return at == len(text)
        case "$":
            return at == len(text) or (at == len(text) - 1 and text[at] == "\n")
        case "m":
            return at == 0 or text[at - 1] == "\n"
        case "M":
            return at == len(text) or text[at] == "\n"
        case _:
            before = at > 0 and _is_word(text[at - 1])
            after = at < len(text) and _is_word(text[at])
            return before != after


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
