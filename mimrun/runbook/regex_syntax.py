r"""Regular expressions, read: from Python's notation to a program for the matcher in regex.py.

What is there: literals, `.`, classes, `\d \w \s` and their opposites, `\b`, groups with and without names, `|`,
`* + ? {m,n}` greedy and lazy, `^ $ \A \Z`, and the flags `(?ims)` at the beginning. Look-around and back
references are not: they are what makes matching slow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from mimrun.runbook.bounds import ExpressionError

MAX_PROGRAM: Final = 5_000
"""Instructions; repetitions are written out, so `x{1000}` has a thousand."""

_CONTROL: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_HEX: Final = {"x": 2, "u": 4, "U": 8}


@dataclass(frozen=True, slots=True)
class Chars:
    """A set of characters.

    Arguments:
        ranges: first and last character of each range.
        kinds: d, w, s, and D, W, S for their opposites.
        negated: everything else is meant.
        folded: upper and lower case are the same.
    """

    ranges: tuple[tuple[str, str], ...] = ()
    kinds: str = ""
    negated: bool = False
    folded: bool = False

    def has(self, char: str) -> bool:
        """Say whether a character is in the set."""
        forms = {char, char.lower(), char.upper()} if self.folded else (char,)
        return any(self._has(form) for form in forms) is not self.negated

    def _has(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) or any(_is(char, k) for k in self.kinds)


def _is(char: str, kind: str) -> bool:
    match kind.lower():
        case "d":
            found = char.isdecimal()
        case "w":
            found = char.isalnum() or char == "_"
        case _:
            found = char.isspace()
    return found is kind.islower()


@dataclass(frozen=True, slots=True)
class Split:
    """Go on at two places, the first one preferred."""

    first: int
    second: int


@dataclass(frozen=True, slots=True)
class Save:
    """Remember the position in a slot: the beginning or end of a group."""

    slot: int


@dataclass(frozen=True, slots=True)
class Assert:
    """Go on where a condition on the position holds: one of `^ $ A Z b`, and `m`, `M` for lines."""

    kind: str


@dataclass(frozen=True, slots=True)
class Match:
    """The expression has matched."""


Instruction: TypeAlias = Chars | Split | Save | Assert | Match


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression: its instructions, and the number of each named group."""

    code: tuple[Instruction, ...]
    groups: int
    names: dict[str, int]


@dataclass(slots=True)
class Reader:
    """Reads one expression by recursive descent, writing instructions as relative pieces.

    A piece is a list of instructions whose jumps count from its own beginning.
    """

    text: str
    at: int = 0
    groups: int = 0
    names: dict[str, int] = field(default_factory=dict)
    flags: str = ""
    depth: int = 0

    def read(self) -> Program:
        """Read the whole expression.

        Raises:
            ExpressionError: it cannot be read, or has something that the language does not have.
        """
        if self.text.startswith("(?") and self.text[2:3] and self.text[2] in "aimsxLu":
            end = self.text.find(")")
            self.flags, self.at = self.text[2:end], end + 1
            if end < 0 or set(self.flags) - set("ims"):
                raise self._wrong("of the flags only i, m and s are known, and only at the beginning")
        body = self._alternatives()
        if self.at < len(self.text):
            raise self._wrong("has a ) too many")
        return Program((Save(0), *_shift(body, 1), Save(1), Match()), self.groups, self.names)

    def _alternatives(self) -> list[Instruction]:
        self.depth += 1
        if self.depth > 50:
            raise self._wrong("is nested too deeply")
        found = self._sequence()
        while self._take("|"):
            other = self._sequence()
            jump = len(found) + 2 + len(other)
            found = [
                Split(1, len(found) + 2),
                *_shift(found, 1),
                Split(jump, jump),
                *_shift(other, len(found) + 2),
            ]
        self.depth -= 1
        return found

    def _sequence(self) -> list[Instruction]:
        found: list[Instruction] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            found += _shift(self._repeated(), len(found))
            if len(found) > MAX_PROGRAM:
                raise self._wrong("is too long when its repetitions are written out")
        return found

    def _repeated(self) -> list[Instruction]:
        start = self.at
        piece = self._atom()
        bounds = self._bounds()
        if bounds is None:
            return piece
        if self.text[start] != "(" and isinstance(piece[0], Assert):
            raise self._wrong(f"repeats {self.text[start]!r}, which has no width")
        low, high, lazy = bounds
        if len(piece) * max(low, high or 1) > MAX_PROGRAM:
            raise self._wrong("is too long when its repetitions are written out")
        found: list[Instruction] = []
        for _ in range(low):
            found += _shift(piece, len(found))
        if high is None:
            size = len(piece) + 2
            star = [_fork(1, size, lazy=lazy), *_shift(piece, 1), Split(0, 0)]
            return found + _shift(star, len(found))
        end = low * len(piece) + (high - low) * (len(piece) + 1)
        for _ in range(high - low):
            here = len(found)
            found += [_fork(here + 1, end, lazy=lazy), *_shift(piece, here + 1)]
        return found

    def _bounds(self) -> tuple[int, int | None, bool] | None:
        """Read `*`, `+`, `?` or `{m,n}`; None where nothing is repeated."""
        char = self.text[self.at : self.at + 1]
        found: tuple[int, int | None] | None = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(char)
        if found is not None:
            self.at += 1
        elif char == "{":
            found = self._braces()
        if found is None:
            return None
        lazy = self._take("?")
        if self.text[self.at : self.at + 1] in ("*", "+", "?"):
            raise self._wrong("repeats a repetition")
        return *found, lazy

    def _braces(self) -> tuple[int, int | None] | None:
        end = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : max(end, self.at)].partition(",")
        plain = (low + high).isdecimal() and (low + high).isascii() and len(low + high) < 9
        if end < 0 or not plain or not (low or comma):
            return None  # as in Python, a brace that bounds nothing is a brace
        self.at = end + 1
        first = int(low or 0)
        last = (int(high) if high else None) if comma else first
        if last is not None and last < first:
            raise self._wrong(f"has {{{first},{last}}} with the greater number first")
        return first, last

    def _atom(self) -> list[Instruction]:
        char = self.text[self.at]
        self.at += 1
        match char:
            case "(":
                return self._group()
            case "[":
                return [self._class()]
            case ".":
                return [Chars(() if "s" in self.flags else (("\n", "\n"),), negated=True)]
            case "^":
                return [Assert("m" if "m" in self.flags else "^")]
            case "$":
                return [Assert("M" if "m" in self.flags else "$")]
            case "\\":
                return [self._escape()]
            case "*" | "+" | "?":
                raise self._wrong(f"has {char!r} with nothing before it")
            case _:
                return [self._literal(char)]

    def _group(self) -> list[Instruction]:
        number = None
        if self._take("?"):
            if self._take("P<"):
                end = self.text.find(">", self.at)
                name = self.text[self.at : max(end, self.at)]
                if not name.isidentifier() or name in self.names:
                    raise self._wrong("has a group with a name that cannot be used")
                self.at = end + 1
                number = self.names[name] = self.groups = self.groups + 1
            elif not self._take(":"):
                raise self._wrong("looks around or refers back; there are (…), (?:…) and (?P<name>…)")
        else:
            number = self.groups = self.groups + 1
        body = self._alternatives()
        if not self._take(")"):
            raise self._wrong("has a ( that is not closed")
        return body if number is None else [Save(2 * number), *_shift(body, 1), Save(2 * number + 1)]

    def _class(self) -> Chars:
        negated = self._take("^")
        ranges: list[tuple[str, str]] = []
        kinds = ""
        first = True
        while first or not self._take("]"):
            if self.at >= len(self.text):
                raise self._wrong("has a [ that is not closed")
            first = False
            low = self._member()
            if low.kinds:
                kinds += low.kinds
                continue
            char = low.ranges[0][0]
            if self.text[self.at : self.at + 1] == "-" and self.text[self.at + 1 : self.at + 2] not in (
                "]",
                "",
            ):
                self.at += 1
                high = self._member()
                if high.kinds or high.ranges[0][0] < char:
                    raise self._wrong("has a range that ends before it begins")
                ranges.append((char, high.ranges[0][0]))
            else:
                ranges.append((char, char))
        return Chars(tuple(ranges), kinds, negated, folded="i" in self.flags)

    def _member(self) -> Chars:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        if char != "\\":
            return Chars(((char, char),)) if char else Chars((("", ""),))
        if self._take("b"):
            return Chars((("\b", "\b"),))
        found = self._escape()
        if isinstance(found, Chars):
            return found
        raise self._wrong("has something in a class that is no character")

    def _escape(self) -> Chars | Assert:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        if char and char in "dwsDWS":
            return Chars(kinds=char)
        if char and char in "AZb":
            return Assert(char)
        if char in _CONTROL:
            return self._literal(_CONTROL[char])
        if char in _HEX:
            digits = self.text[self.at : self.at + _HEX[char]]
            self.at += _HEX[char]
            try:
                return self._literal(chr(int(digits, 16)))
            except (ValueError, OverflowError) as exc:
                raise self._wrong(f"has \\{char} without {_HEX[char]} hexadecimal digits") from exc
        if not char or (char.isalnum() and char.isascii()):
            raise self._wrong(f"has \\{char}, which is not known here")
        return self._literal(char)

    def _literal(self, char: str) -> Chars:
        return Chars(((char, char),), folded="i" in self.flags)

    def _take(self, word: str) -> bool:
        if not self.text.startswith(word, self.at):
            return False
        self.at += len(word)
        return True

    def _wrong(self, what: str) -> ExpressionError:
        return ExpressionError(f"the pattern {self.text[:60]!r} {what}")


def _fork(inside: int, outside: int, *, lazy: bool) -> Split:
    return Split(outside, inside) if lazy else Split(inside, outside)


def _shift(piece: list[Instruction], by: int) -> list[Instruction]:
    """Give a piece that stands so much further back."""
    return [Split(i.first + by, i.second + by) if isinstance(i, Split) else i for i in piece]
