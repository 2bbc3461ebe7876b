"""What comparing states with the entries came to, for a person and for a machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from mimrun.canonical import Json

_SHOWN: Final = 160
"""Characters of a value that a person is shown."""


@dataclass(frozen=True, slots=True)
class OtherState:
    """A state that is not what the entries say.

    Arguments:
        projection: the projector's name.
        key: which of its states.
        wrong: it differs, is missing, or no entry has touched it.
        stored: what is stored; None where nothing is.
        said: what the entries say; None where they say nothing.
        entry: the last entry that touched it; 0 where none did.
    """

    projection: str
    key: str
    wrong: Literal["differs", "missing", "surplus"]
    stored: str | None
    said: str | None
    entry: int

    def as_json(self) -> dict[str, Json]:
        """The state for a machine."""
        return {
            "projection": self.projection,
            "key": self.key,
            "wrong": self.wrong,
            "stored": self.stored,
            "said": self.said,
            "entry": self.entry,
        }

    def __str__(self) -> str:
        state = f"state {self.key!r} of {self.projection}"
        last = f"; the last entry about it is {self.entry}"
        match self.wrong:
            case "missing":
                return f"{state} is missing; the log says {_cut(self.said)}{last}"
            case "surplus":
                return f"{state} is there and no entry says so; it is {_cut(self.stored)}"
            case "differs":
                return f"{state} is not what the log says: {_difference(self.stored, self.said)}{last}"


@dataclass(frozen=True, slots=True)
class States:
    """What comparing came to.

    Arguments:
        size: entries of the log as of the moment for which all was compared.
        compared: how many states the entries lead to.
        others: the states that are not what the entries say.
        more: such states that are not listed.
        faults: what is wrong besides, in sentences.
        unknown: projections that this version does not know; they were not compared, and are read by nothing in it.
    """

    size: int
    compared: int
    others: tuple[OtherState, ...] = ()
    more: int = 0
    faults: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def flaws(self) -> tuple[str, ...]:
        """What is wrong, a sentence each."""
        return (*self.faults, *map(str, self.others))

    def as_json(self) -> dict[str, Json]:
        """The outcome for a machine."""
        return {
            "size": self.size,
            "compared": self.compared,
            "others": [other.as_json() for other in self.others],
            "more": self.more,
            "faults": list(self.faults),
            "unknown": list(self.unknown),
        }


def _difference(stored: str | None, said: str | None) -> str:
    """Say what differs: of two objects, only the values that do."""
    here, there = _object(stored), _object(said)
    if here is None or there is None or here == there:
        return f"it is {_cut(stored)} and would be {_cut(said)}"
    names = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    return "; ".join(f"{name} is {_value(here, name)} and would be {_value(there, name)}" for name in names)


def _object(text: str | None) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _value(value: Mapping[str, Any], name: str) -> str:
    return _cut(json.dumps(value[name], ensure_ascii=False)) if name in value else "not there"


def _cut(text: str | None) -> str:
    shown = text or ""
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
