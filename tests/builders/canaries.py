"""Planted secrets, and how to look for them: by other means than those that mimrun masks with."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

AWKWARD = "Zq8/v+K&'\"<%s>$x"
"""What quoting, escaping and encoding all write in another way."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A secret that is planted in one place.

    Arguments:
        name: the input that it is given by.
        value: the secret; it holds `core`, which no quoting touches, in the middle.
    """

    name: str
    value: str
    core: str


def canary(number: int) -> Canary:
    """Give a canary of its own for a number, always the same."""
    core = f"kn{number:02d}" + hashlib.sha256(f"canary {number}".encode()).hexdigest()[:14]
    return Canary(f"s{number:02d}", AWKWARD % core, core)


def needles(one: Canary) -> dict[str, bytes]:
    """Give what must be nowhere, by the name of the encoding.

    Every form in which the core stands as it is, so every quoting for shells, SQL, JSON, URLs and pages, is found
    by the core, also where only a part of the value was left. The rest is packed.
    """
    raw, core, wide = one.value.encode(), one.core.encode(), one.core.encode("utf-16-le")
    found = {"plain": core, "hex": core.hex().encode(), "HEX": core.hex().upper().encode(), "utf-16": wide}
    for shift in range(3):
        for what, data in (("base64", core), ("base64 of utf-16", wide), ("base64 of all", raw)):
            packed = base64.b64encode(b"x" * shift + data)[4:-4]
            found[f"{what} at {shift}"] = packed
            found[f"{what} for urls at {shift}"] = packed.replace(b"+", b"-").replace(b"/", b"_")
    return found


def leaks(
    canaries: Iterable[Canary],
    folders: Iterable[Path],
    said: Iterable[tuple[str, bytes]],
    aside: Iterable[Path],
) -> list[str]:
    """Say where a canary is to be found.

    Arguments:
        folders: every file below is looked at, byte by byte.
        said: other things that were said or sent, each with a name.
        aside: files and folders that rightly hold a secret: where it comes from, and targets.
    """
    wanted = [(one.name, form, needle) for one in canaries for form, needle in needles(one).items()]
    places = [*said, *((str(path), path.read_bytes()) for path in _files(folders, tuple(aside)))]
    return [
        f"{name} ({form}) in {place}"
        for place, data in places
        for name, form, needle in wanted
        if needle in data
    ]


def _files(folders: Iterable[Path], aside: tuple[Path, ...]) -> Iterator[Path]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not any(path == one or one in path.parents for one in aside):
                yield path
