"""Filters and tests: the words after `|` and after `is`. What is not in the two tables does not exist.

Each takes JSON and gives JSON, pays for its size from the budget, and changes nothing. Names and meanings
are Jinja2's and Ansible's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from pydantic import JsonValue

from mimrun.runbook.bounds import Budget, ExpressionError
from mimrun.runbook.operators import kind_of, text_of
from mimrun.runbook.text_filters import (
    as_text,
    b64decode,
    b64encode,
    from_json,
    quote,
    regex_replace,
    regex_search,
    to_json,
    urlencode,
)

Filter: TypeAlias = Callable[..., JsonValue]
"""Called with the budget, the value, and the arguments as the author wrote them."""

_DIGITS: Final = 20


def as_items(budget: Budget, value: JsonValue, what: str) -> list[JsonValue]:
    """Give a list; the keys of a mapping and the characters of a text count as one, as in Jinja2."""
    if not isinstance(value, Mapping | str | list | tuple):
        raise ExpressionError(f"{what} needs a list, not {kind_of(value)}")
    budget.items(len(value))
    return list(value)


def attribute(value: JsonValue, path: str, default: JsonValue = None, *, strict: bool = True) -> JsonValue:
    """Give the part of a value that a dotted path names: `lag`, `rows.0.ok`."""
    for key in path.split("."):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        elif strict:
            raise ExpressionError(f"an item has no {path!r}")
        else:
            return default
    return value


def _string(budget: Budget, value: JsonValue) -> JsonValue:
    if isinstance(value, list | Mapping):
        return to_json(budget, value)
    return "None" if value is None else text_of(value, budget)


def _int(budget: Budget, value: JsonValue, default: int = 0, base: int = 10) -> JsonValue:
    try:
        number = int(value, base) if isinstance(value, str) else int(value)  # type: ignore[arg-type]
        return budget.number(number)
    except (TypeError, ValueError, OverflowError):
        return default


def _float(budget: Budget, value: JsonValue, default: float = 0.0) -> JsonValue:
    try:
        return budget.number(float(value))  # type: ignore[arg-type]  # what has no number raises
    except (TypeError, ValueError, OverflowError):
        return default


_BOOLEANS: Final[dict[str, bool]] = {
    **dict.fromkeys(("true", "yes", "on", "1", "y", "t"), True),
    **dict.fromkeys(("false", "no", "off", "0", "n", "f"), False),
}


def _bool(_: Budget, value: JsonValue) -> JsonValue:
    if isinstance(value, bool):
        return value
    known = _BOOLEANS.get(str(value).lower()) if isinstance(value, str | int) else None
    if known is None:
        raise ExpressionError(f"{value!r} is neither true nor false")
    return known


def _list(budget: Budget, value: JsonValue) -> JsonValue:
    return as_items(budget, value, "list")


def _length(_: Budget, value: JsonValue) -> JsonValue:
    if not isinstance(value, Mapping | str | list | tuple):
        raise ExpressionError(f"length needs a list, mapping or text, not {kind_of(value)}")
    return len(value)


def _join(budget: Budget, value: JsonValue, d: str = "", attribute: str | None = None) -> JsonValue:
    found = _attributes(budget, value, attribute, "join")
    texts = [text_of(item, budget) for item in found]
    budget.text(sum(map(len, texts)) + len(d) * len(texts))
    return d.join(texts)


def _attributes(budget: Budget, value: JsonValue, path: str | None, what: str) -> list[JsonValue]:
    found = as_items(budget, value, what)
    return found if path is None else [attribute(item, path) for item in found]


def _first(budget: Budget, value: JsonValue) -> JsonValue:
    found = as_items(budget, value, "first")
    if not found:
        raise ExpressionError("first of an empty list", "test its length before")
    return found[0]


def _last(budget: Budget, value: JsonValue) -> JsonValue:
    found = as_items(budget, value, "last")
    if not found:
        raise ExpressionError("last of an empty list", "test its length before")
    return found[-1]


def _key(item: JsonValue, path: str | None, *, case_sensitive: bool) -> JsonValue:
    value = item if path is None else attribute(item, path)
    return value.lower() if isinstance(value, str) and not case_sensitive else value


def _sort(
    budget: Budget,
    value: JsonValue,
    reverse: bool = False,  # noqa: FBT001,FBT002 - Jinja2's own signature
    case_sensitive: bool = False,  # noqa: FBT001,FBT002 - Jinja2's own signature
    attribute: str | None = None,
) -> JsonValue:
    budget.weigh(value)
    found = as_items(budget, value, "sort")
    keys = [_key(item, attribute, case_sensitive=case_sensitive) for item in found]
    budget.step(len(found) * max(len(found).bit_length(), 1))
    try:
        order = sorted(range(len(found)), key=lambda n: keys[n], reverse=reverse)  # type: ignore[arg-type,return-value]
    except TypeError as exc:
        raise ExpressionError("sort needs items of one kind") from exc
    return [found[n] for n in order]


def _unique(
    budget: Budget,
    value: JsonValue,
    case_sensitive: bool = False,  # noqa: FBT001,FBT002 - Jinja2's own signature
    attribute: str | None = None,
) -> JsonValue:
    budget.weigh(value)
    seen: set[str] = set()
    kept: list[JsonValue] = []
    for item in as_items(budget, value, "unique"):
        key = json.dumps(_key(item, attribute, case_sensitive=case_sensitive), sort_keys=True)
        if key not in seen:
            seen.add(key)
            kept.append(item)
    return kept


def _extreme(pick: Callable[..., int], name: str) -> Filter:
    def find(
        budget: Budget,
        value: JsonValue,
        case_sensitive: bool = False,  # noqa: FBT001,FBT002 - Jinja2's own signature
        attribute: str | None = None,
    ) -> JsonValue:
        budget.weigh(value)
        found = as_items(budget, value, name)
        if not found:
            raise ExpressionError(f"{name} of an empty list", "test its length before")
        keys = [_key(item, attribute, case_sensitive=case_sensitive) for item in found]
        try:
            return found[pick(range(len(found)), key=lambda n: keys[n])]
        except TypeError as exc:
            raise ExpressionError(f"{name} needs items of one kind") from exc

    return find


def _sum(budget: Budget, value: JsonValue, attribute: str | None = None, start: float = 0) -> JsonValue:
    total: int | float = start
    for item in _attributes(budget, value, attribute, "sum"):
        if not isinstance(item, int | float):
            raise ExpressionError(f"sum adds numbers, not {kind_of(item)}", "write `| map('int') | sum`")
        total = budget.number(total + item)
    return total


def _abs(_: Budget, value: JsonValue) -> JsonValue:
    if not isinstance(value, int | float):
        raise ExpressionError(f"abs needs a number, not {kind_of(value)}")
    return abs(value)


def _round(_: Budget, value: JsonValue, precision: int = 0) -> JsonValue:
    if not isinstance(value, int | float):
        raise ExpressionError(f"round needs a number, not {kind_of(value)}")
    if not -_DIGITS <= precision <= _DIGITS:
        raise ExpressionError(f"round keeps at most {_DIGITS} digits")
    return round(value, precision)


def _items(budget: Budget, value: JsonValue) -> JsonValue:
    if not isinstance(value, Mapping):
        raise ExpressionError(f"items needs a mapping, not {kind_of(value)}")
    budget.items(len(value))
    return [[key, part] for key, part in value.items()]


def _reverse(budget: Budget, value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        budget.text(len(value))
        return value[::-1]
    return _attributes(budget, value, None, "reverse")[::-1]


def _replace(budget: Budget, value: JsonValue, old: JsonValue, new: JsonValue) -> JsonValue:
    text, before, after = as_text(value, "replace"), as_text(old, "replace"), as_text(new, "replace")
    times = text.count(before) if before else len(text) + 1
    budget.text(len(text) + times * max(len(after) - len(before), 0))
    return text.replace(before, after)


def _changed_text(change: Callable[[str], str], name: str) -> Filter:
    def apply(budget: Budget, value: JsonValue) -> JsonValue:
        text = as_text(value, name)
        budget.text(len(text) * 2)
        return change(text)

    return apply


def _trim(budget: Budget, value: JsonValue, chars: str | None = None) -> JsonValue:
    text = as_text(value, "trim")
    budget.text(len(text))
    return text.strip(chars)


def _combine(budget: Budget, value: JsonValue, *others: JsonValue) -> JsonValue:
    merged: dict[str, JsonValue] = {}
    for part in (value, *others):
        if not isinstance(part, Mapping):
            raise ExpressionError(f"combine needs mappings, not {kind_of(part)}")
        budget.items(len(part))
        merged |= part
    return merged


def _set_filter(name: str, keep: Callable[[bool], bool]) -> Filter:
    def apply(budget: Budget, value: JsonValue, other: JsonValue) -> JsonValue:
        budget.weigh(value)
        budget.weigh(other)
        there = {json.dumps(item, sort_keys=True) for item in as_items(budget, other, name)}
        mine = as_items(budget, value, name)
        return _unique(
            budget, [i for i in mine if keep(json.dumps(i, sort_keys=True) in there)], case_sensitive=True
        )

    return apply


def _union(budget: Budget, value: JsonValue, other: JsonValue) -> JsonValue:
    both = [*as_items(budget, value, "union"), *as_items(budget, other, "union")]
    budget.items(len(both))
    return _unique(budget, both, case_sensitive=True)


def _dict2items(budget: Budget, value: JsonValue) -> JsonValue:
    if not isinstance(value, Mapping):
        raise ExpressionError(f"dict2items needs a mapping, not {kind_of(value)}")
    budget.items(len(value) * 3)
    return [{"key": key, "value": part} for key, part in value.items()]


FILTERS: Final[Mapping[str, Filter]] = {
    "abs": _abs,
    "b64decode": b64decode,
    "b64encode": b64encode,
    "bool": _bool,
    "capitalize": _changed_text(str.capitalize, "capitalize"),
    "combine": _combine,
    "count": _length,
    "dict2items": _dict2items,
    "difference": _set_filter("difference", lambda there: not there),
    "first": _first,
    "float": _float,
    "from_json": from_json,
    "int": _int,
    "intersect": _set_filter("intersect", lambda there: there),
    "items": _items,
    "join": _join,
    "last": _last,
    "length": _length,
    "list": _list,
    "lower": _changed_text(str.lower, "lower"),
    "max": _extreme(max, "max"),
    "min": _extreme(min, "min"),
    "quote": quote,
    "regex_replace": regex_replace,
    "regex_search": regex_search,
    "replace": _replace,
    "reverse": _reverse,
    "round": _round,
    "sort": _sort,
    "string": _string,
    "sum": _sum,
    "title": _changed_text(str.title, "title"),
    "to_json": to_json,
    "tojson": to_json,
    "trim": _trim,
    "union": _union,
    "unique": _unique,
    "upper": _changed_text(str.upper, "upper"),
    "urlencode": urlencode,
}
"""The filters that need nothing but their value. `default`, `map` and the `select` family are in evaluator.py."""
