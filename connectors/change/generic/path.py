"""Paths into JSON: the part of RFC 9535 that says where something stands, and nothing that computes.

A library would bring functions, regular expressions and recursive descent, which are applied to whatever a server
sends; what is needed here is five kinds of steps, each bounded by the answer itself. Everything that is taken means what
it means in the RFC.

    $.status.name   $['Change type']   $.items[0]   $.items[*]   $.fields[?@.name=='Digest'].value
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator

from connectors.change.fields import MISSING, Found, Missing, at
from mimrun.connector import Json

LONGEST: Final = 500
MOST: Final = 10_000
"""Values that one path gives; more are in no record."""

_TEXT: Final = r"'((?:[^'\\]|\\['\\])*)'"
_STEP: Final = re.compile(
    rf"\.(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\[{_TEXT}\]|\[(?P<index>-?(?:0|[1-9][0-9]{{0,5}}))\]|(?P<all>\[\*\])"
    rf"|\[\?@(?P<inner>(?:\.[A-Za-z_][A-Za-z0-9_]*)+) ?== ?{_TEXT}\]",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class All:
    """Every element of a list, or every value of an object."""


@dataclass(frozen=True, slots=True)
class Where:
    """The elements in which something stands that equals a text."""

    names: tuple[str, ...]
    text: str


Step: TypeAlias = str | int | All | Where


def parse(text: str) -> tuple[Step, ...]:
    """Read a path.

    Raises:
        ValueError: it is none, or has a step that is not taken here.
    """
    if not text.startswith("$") or len(text) > LONGEST:
        raise ValueError(f"a path begins with $ and has at most {LONGEST} characters: {text[:60]!r}")
    steps: list[Step] = []
    place = 1
    while place < len(text):
        found = _STEP.match(text, place)
        if found is None:
            raise ValueError(
                f"{text!r}: {text[place : place + 20]!r} is no step; there are .name, ['name'], [0], [*] and "
                "[?@.name=='text']"
            )
        steps.append(_step(found))
        place = found.end()
    return tuple(steps)


def every(value: Found, text: str) -> list[Json]:
    """Give all values that a path leads to, in the order of the answer."""
    reached: list[Json] = [] if isinstance(value, Missing) else [value]
    for step in parse(text):
        reached = [after for before in reached for after in _after(before, step)][:MOST]
    return reached


def one(value: Found, text: str) -> Found:
    """Give the value that a path leads to: MISSING where there is none, and all of them as a list where many are."""
    reached = every(value, text)
    return reached[0] if len(reached) == 1 else list(reached) if reached else MISSING


def _step(found: re.Match[str]) -> Step:
    quoted, compared = found.group(2), found.group(6)
    if found["name"] is not None:
        return found["name"]
    if found["index"] is not None:
        return int(found["index"])
    if found["all"] is not None:
        return All()
    if found["inner"] is not None:
        return Where(tuple(found["inner"][1:].split(".")), _plain(compared))
    return _plain(quoted)


def _after(value: Json, step: Step) -> list[Json]:
    if isinstance(step, All | Where):
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        return [v for v in inner if isinstance(step, All) or at(v, *step.names) == step.text]
    found = at(value, step)
    return [] if isinstance(found, Missing) else [found]


def _plain(text: str) -> str:
    return re.sub(r"\\(['\\])", r"\1", text)


def _checked(text: str) -> str:
    parse(text)
    return text


JsonPath: TypeAlias = Annotated[str, AfterValidator(_checked)]
"""A path that was looked at when it was given."""
