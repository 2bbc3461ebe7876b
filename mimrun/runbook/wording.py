"""Wording: what the model found wrong, in the words of the language and at its place in the file."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mimrun.canonical import Json
from mimrun.errors import Problem
from mimrun.runbook.document import Document, ValuePath
from mimrun.runbook.habit import YES_AND_NO, argument_hint, runbook_hint
from mimrun.runbook.sugar import CHILDREN, WAIT_NAMES
from mimrun.runbook.suggestion import suggest

_KINDS: Final = {
    "string": "a text",
    "int": "an integer",
    "bool": "true or false",
    "dict": "a mapping of keys",
    "mapping": "a mapping of keys",
    "model": "a mapping of keys",
    "list": "a list",
    "tuple": "a list",
    "date": "a date such as 2027-03-01",
    "float": "a number",
}
_PATTERNS: Final = {
    "name": "small letters, digits and single dashes, such as 'postgres-failover'",
    "version": "three numbers, such as '1.2.0'",
    "runbook": "a name and a version, such as 'drain-server@1.2.0'",
    "tags": "small letters, digits and single dashes",
    "register": "small letters, digits and underscores, such as 'standby'",
    "role": "small letters, digits and underscores, such as 'change_manager'",
}
_SIGNS: Final = {
    "greater_than": "above",
    "greater_than_equal": "at least",
    "less_than": "below",
    "less_than_equal": "at most",
}


def problems_of(
    error: ValidationError,
    document: Document,
    base: ValuePath,
    model: type[BaseModel],
    without: Collection[str] = (),
    *,
    besides: Collection[str] = (),
) -> list[Problem]:
    """Turn what pydantic found into problems.

    Arguments:
        error: what pydantic says.
        document: the file.
        base: where in the file the value stands that was validated; () for the whole runbook.
        model: the type it was validated against.
        without: keys of the value about which nothing is to be said, because they are not filled in yet,
            unless there are no such keys; with them nothing is said about the value as a whole.
        besides: keys that may stand beside those of the model, to be thought of where a key is misspelt.
    """
    found: dict[tuple[ValuePath, str], Problem] = {}
    for detail in error.errors(include_url=False):
        loc = detail["loc"]
        misnamed = len(loc) == 1 and detail["type"] == "extra_forbidden"
        if without and not misnamed and (not loc or loc[0] in without):
            continue
        if detail["type"] == "too_short" and detail["input"]:
            continue  # its items are wrong, and are complained about one by one
        place = source_path(loc, document) if not base else _in_file((*base, *loc), document)
        problem = _problem(detail, place, document, len(base), _Keys(model, frozenset(besides)))
        found.setdefault((place, problem.message), problem)
    return list(found.values())


def _in_file(path: ValuePath, document: Document) -> ValuePath:
    """Cut off what pydantic adds for its own needs: the names of the members of a union."""
    value = document.value
    for length, part in enumerate(path):
        inner = value_at(value, (part,))
        if inner is None and not (isinstance(value, Mapping) and part in value):
            rest = path[length + 1 :]
            # A key that is missing is kept, so that it can be named.
            return path[: length + 1] if not rest else _in_file((*path[:length], *rest), document)
        value = inner
    return path


def source_path(loc: tuple[int | str, ...], document: Document) -> ValuePath:
    """Find the place in the file that a place in the model comes from.

    The model has steps below their kind (`steps, 2, action, retries`) and calls in a shape of their own
    (`call, args, argv`); the file has neither.
    """
    value = document.value
    path: list[str | int] = []
    for number, part in enumerate(loc):
        if part == "[key]" or _is_tag(loc, number):
            continue
        key: int | str | None = part
        if part in ("call", *WAIT_NAMES) and _is_wait(value):
            path.append("wait")
            value = value_at(value, ("wait",))
            key = WAIT_NAMES.get(str(part), part)
        if part in ("call", "args", "action") and isinstance(value, dict) and part not in value:
            key = next((name for name in value if "." in name), None)
            if key is None:  # inside the arguments already
                continue
        if key is not None:
            path.append(key)
            value = value_at(value, (key,))
    return tuple(path)


def _is_tag(loc: tuple[int | str, ...], number: int) -> bool:
    """Say whether a part of a place is the kind of a step, which pydantic puts behind the step's number."""
    return number >= 2 and isinstance(loc[number - 1], int) and loc[number - 2] in ("steps", *CHILDREN)


def _is_wait(value: Json) -> bool:
    return isinstance(value, dict) and isinstance(value.get("wait"), dict)


def value_at(value: Json, path: ValuePath) -> Json:
    """Give the value at a place inside another one; None where there is no such place."""
    for part in path:
        if isinstance(value, Mapping) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys that may stand in a value: those of a model, and some besides at the top of it."""

    model: type[BaseModel]
    besides: frozenset[str]

    def allowed(self, loc: tuple[int | str, ...]) -> frozenset[str]:
        return allowed_keys(self.model, loc) | (frozenset() if loc else self.besides)


def _problem(detail: ErrorDetails, loc: ValuePath, document: Document, skip: int, keys: _Keys) -> Problem:
    kind = detail["type"]
    name = str(loc[-1]) if loc else ""
    if kind == "missing":
        *above, key = loc
        place = f" in {above[-1]}" if above and isinstance(above[-1], str) else ""
        return document.problem(tuple(above), f"the key {key!r} is missing{place}")
    if kind == "extra_forbidden":
        allowed = keys.allowed(detail["loc"][:-1])
        known = runbook_hint(name) if len(loc) == 1 else argument_hint(name, allowed)
        hint = known or suggest(name, allowed)
        where = f" in {loc[-2]}" if len(loc) > skip + 1 and isinstance(loc[-2], str) else ""
        return document.problem(loc, f"unknown key {name!r}{where}", hint, at_key=True)
    if detail["loc"] and detail["loc"][-1] == "[key]":
        return document.problem(
            loc, f"the key {name!r} is not written as it must be", _PATTERNS["register"], at_key=True
        )
    message, hint = _value_words(detail, name)
    return document.problem(
        loc, f"{name}: {message}" if isinstance(loc[-1] if loc else 0, str) else message, hint
    )


def _value_words(detail: ErrorDetails, name: str) -> tuple[str, str]:
    """Give message and hint for a value that does not fit."""
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind in ("enum", "literal_error"):
        return f"{_shown(given)} is not one of {context['expected']}", _close(given, str(context["expected"]))
    if kind == "string_pattern_mismatch":
        return (
            f"{_shown(given)} does not fit",
            f"write {_PATTERNS[name]}" if name in _PATTERNS else f"the pattern is {context['pattern']}",
        )
    if kind in _SIGNS:
        limit = next(iter(context.values()))
        return f"{_shown(given)} must be {_SIGNS[kind]} {limit}", ""
    if kind in ("too_short", "string_too_short"):
        return "must not be empty", ""
    if kind in ("too_long", "string_too_long"):
        return f"is longer than {context['max_length']}", ""
    if kind == "value_error":
        return str(context["error"]), ""
    wanted = _KINDS.get(kind.split("_", maxsplit=1)[0])
    if wanted is None:
        return str(detail["msg"])[:1].lower() + str(detail["msg"])[1:], ""
    return f"{_shown(given)} must be {wanted}" if isinstance(
        given, str | int | None
    ) else f"must be {wanted}", _other_form(given, wanted, name)


def _other_form(given: object, wanted: str, name: str) -> str:
    """Give the hint for a value that is of another kind than is wanted."""
    if wanted == "a list" and isinstance(given, str):
        return f"write [{given}]"
    if wanted == "a text" and isinstance(given, int) and not isinstance(given, bool):
        return f'write "{given}"'
    if name in ("when", "until", "expect") and isinstance(given, list):
        return "join the conditions with `and`"
    return f"{given} is a text here: write true or false" if str(given).lower() in YES_AND_NO else ""


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = (
        str(value).lower()
        if isinstance(value, bool)
        else repr(value)
        if isinstance(value, str)
        else str(value)
    )
    return text if len(text) <= 60 else text[:57] + "..."


def _close(given: object, expected: str) -> str:
    words = [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]
    hint = suggest(str(given), words)
    return hint if hint.startswith("did") else ""


def allowed_keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> frozenset[str]:
    """Give the keys that a mapping inside a model may have.

    Arguments:
        model: the outermost model.
        loc: where the mapping stands in it, in pydantic's terms.
    """
    found: Any = model
    for number, part in enumerate(loc):
        found = _tagged(found, str(part)) if _is_tag(loc, number) else _inside(found, part)
    kind = _model_in(found)
    if kind is None:
        return frozenset()
    return frozenset(info.alias or name for name, info in kind.model_fields.items())


def _inside(annotation: Any, part: int | str) -> Any:
    kind = _model_in(annotation)
    for name, info in kind.model_fields.items() if kind is not None else ():
        if part in (name, info.alias):
            return info.annotation
    return annotation


def _tagged(annotation: Any, tag: str) -> Any:
    """Give the member of a union of steps that has a kind."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if annotation.model_fields["kind"].default == tag else None
    found = (_tagged(inner, tag) for inner in get_args(annotation) if inner is not Ellipsis)
    return next((member for member in found if member is not None), None)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Give the one model inside an annotation such as `dict[str, Input]` or `Gate | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple, list, dict) or hasattr(
        annotation, "__metadata__"
    ):
        for inner in get_args(annotation):
            kind = _model_in(inner)
            if kind is not None:
                return kind
    return None
