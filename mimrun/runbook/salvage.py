"""Salvage: what is sound of a runbook that is not, so that its mistakes can be named with the others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pydantic import ValidationError

from mimrun.canonical import Json
from mimrun.runbook.document import Document, ValuePath
from mimrun.runbook.model import Runbook
from mimrun.runbook.sugar import CHILDREN, STAND_IN
from mimrun.runbook.wording import value_at

_HEAD: Final[Mapping[str, Json]] = {
    "schema": "mimrun/1",
    "name": "unnamed",
    "version": "0.0.0",
    "title": "?",
    "stage": "containment",
    "risk": "low",
    "owner": "?",
}
"""Takes the place of required keys that are missing or wrong; no error depends on them."""

_MAPPINGS: Final = ("inputs", "vars")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def salvage(
    document: Document, shaped: Mapping[str, Json], faults: Iterable[ValuePath]
) -> tuple[Runbook, frozenset[str]] | None:
    """Give what is left of a runbook when everything that is wrong is taken out.

    Arguments:
        document: what was read.
        shaped: the same in the shape of the model.
        faults: the places of everything that is wrong.

    Returns:
        the rest, in which other steps have kept their numbers, and every name that the parts that were taken
        out may have defined; or None where no step can be told, or the language is another one.
    """
    places = {_part(path) for path in faults}
    steps = shaped.get("steps")
    if not isinstance(steps, list) or ("steps",) in places or ("schema" in shaped and ("schema",) in places):
        return None
    rest: dict[str, Json] = {**_HEAD, **{key: v for key, v in shaped.items() if (key,) not in places}}
    for key in _MAPPINGS:
        value = rest.get(key)
        if isinstance(value, dict):
            rest[key] = {name: v for name, v in value.items() if (key, name) not in places}
    rest["steps"] = _steps(steps, ("steps",), places)
    try:
        runbook = Runbook.model_validate_json(json.dumps(rest), strict=True)
    except ValidationError:
        return None  # something is wrong with the whole that has no place of its own
    lost = {name for place in places for name in _names(value_at(document.value, place))}
    return runbook, frozenset(lost | {str(place[-1]) for place in places if place[:1] != ("steps",)})


def _part(path: ValuePath) -> ValuePath:
    """Give the smallest part that is taken out whole: the innermost step, an input, a var, or a key."""
    if path[:1] == ("steps",):
        end = 2
        while path[end : end + 1] and path[end] in CHILDREN and len(path) > end + 1:
            end += 2
        return path[:end]
    return path[:2] if path and path[0] in _MAPPINGS else path[:1]


def _steps(steps: list[Json], path: ValuePath, places: set[ValuePath]) -> list[Json]:
    return [_step(step, (*path, number), places) for number, step in enumerate(steps)]


def _step(step: Json, path: ValuePath, places: set[ValuePath]) -> Json:
    """Give a step, or what stands in for it; a block or branch that is wrong keeps those that are not."""
    if not isinstance(step, dict) or (step.get("kind") not in ("block", "parallel") and path in places):
        return STAND_IN
    parts: dict[str, Json] = {}
    for key in CHILDREN:
        children = step.get(key)
        if isinstance(children, list):
            parts[key] = _steps(children, (*path, key), places)
    if path not in places:
        return {**step, **parts}
    if step["kind"] == "parallel":
        return {"kind": "parallel", "name": "?", "parallel": parts.get("parallel") or [STAND_IN]}
    return {"kind": "block", "name": "?", **parts, "block": parts.get("block") or [STAND_IN]}


def _names(value: Json) -> Iterator[str]:
    """Give every word inside a value that could be the name of something."""
    match value:
        case str():
            if _NAME.fullmatch(value):
                yield value
        case dict():
            for key, part in value.items():
                yield from _names(key)
                yield from _names(part)
        case list():
            for part in value:
                yield from _names(part)
