"""Operators: what `+`, `<`, `in`, `.` and a method call mean in an expression.

Only JSON values come in and go out. There is no way from here to an attribute of a Python object: a name
after a dot is a key of a mapping, or a method out of the short lists below.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from pydantic import JsonValue

from mimrun.runbook.bounds import Budget, ExpressionError
from mimrun.runbook.suggestion import suggest

Number: TypeAlias = int | float

TEXT_METHODS: Final = frozenset(
    {"capitalize", "count", "endswith", "find", "isalnum", "isalpha", "isdigit", "join", "lower", "lstrip"}
    | {"partition", "removeprefix", "removesuffix", "replace", "rfind", "rpartition", "rsplit", "rstrip"}
    | {"split", "splitlines", "startswith", "strip", "title", "upper"}
)
MAPPING_METHODS: Final = frozenset({"get", "items", "keys", "values"})
LIST_METHODS: Final = frozenset({"count", "index"})


class Missing:
    """A value that is not there; `default` and `is defined` may ask for it, everything else is an error.

    Arguments:
        message: what is missing.
        name: the top-level name, or "" where a part of a value is missing.
        known: what is there instead.
    """

    __slots__ = ("known", "message", "name")

    def __init__(self, message: str, name: str, known: frozenset[str]) -> None:
        self.message = message
        self.name = name
        self.known = known


Maybe: TypeAlias = "JsonValue | Missing"


def kind_of(value: JsonValue) -> str:
    """Give the word for the type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case Mapping():
            return "a mapping"
        case _:
            return "a list"


def text_of(value: JsonValue, budget: Budget) -> str:
    """Give the text that a value has inside a longer text; Python's words for booleans, as in Ansible.

    Raises:
        ExpressionError: null, lists and mappings have no text that everybody would expect.
    """
    match value:
        case str():
            budget.text(len(value))
            return value
        case bool() | int() | float():
            return str(value)
        case None:
            raise ExpressionError("null cannot be put into a text", "write `| default('…', true)`")
        case _:
            raise ExpressionError(
                f"{kind_of(value)} cannot be put into a text", "write `| join(', ')` or `| to_json`"
            )


def part_of(value: JsonValue, key: JsonValue, budget: Budget, shown: str) -> Maybe:
    """Give a key of a mapping, or an item of a list or text."""
    budget.step()
    if isinstance(value, Mapping):
        if isinstance(key, str) and key in value:
            return value[key]
        return Missing(f"{shown} has no key {key!r}", "", frozenset(value))
    if isinstance(value, str | list | tuple) and isinstance(key, int) and not isinstance(key, bool):
        if -len(value) <= key < len(value):
            return value[key]
        return Missing(f"{shown} has {len(value)} items, and none at {key}", "", frozenset())
    return Missing(f"{shown} is {kind_of(value)} and has no {key!r}", "", frozenset())


def binary(symbol: str, left: JsonValue, right: JsonValue, budget: Budget) -> JsonValue:
    """Compute `left <symbol> right`.

    Raises:
        ExpressionError: the types do not fit, or the result would be too large.
    """
    budget.step()
    if symbol == "+" and isinstance(left, str) and isinstance(right, str):
        budget.text(len(left) + len(right))
        return left + right
    if symbol == "+" and isinstance(left, list) and isinstance(right, list):
        budget.items(len(left) + len(right))
        return [*left, *right]
    if symbol == "*" and isinstance(left, str) and isinstance(right, int):
        budget.text(len(left) * max(right, 0))
        return left * right
    if symbol == "*" and isinstance(left, list) and isinstance(right, int):
        budget.items(len(left) * max(right, 0))
        return left * right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return _arithmetic(symbol, left, right, budget)
    if symbol == "%" and isinstance(left, str):
        raise ExpressionError("% does not format texts here", "put texts together with ~ or join")
    hint = "convert one with `| int` or `| string`, or put texts together with ~" if symbol == "+" else ""
    raise ExpressionError(f"{kind_of(left)} {symbol} {kind_of(right)} has no meaning", hint)


_ARITHMETIC: Final[dict[str, Callable[[Number, Number], Number]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


def _arithmetic(symbol: str, left: Number, right: Number, budget: Budget) -> Number:
    budget.number(left)
    budget.number(right)
    if symbol == "**" and (abs(right) > 1024 or (isinstance(left, int) and left.bit_length() * right > 1024)):
        raise ExpressionError(f"{left} ** {right} is too large")
    try:
        result = _ARITHMETIC[symbol](left, right)
    except ZeroDivisionError as exc:
        raise ExpressionError(f"{left} {symbol} {right} divides by zero") from exc
    except OverflowError as exc:
        raise ExpressionError(f"{left} {symbol} {right} is too large") from exc
    if isinstance(result, complex):
        raise ExpressionError(f"{left} ** {right} is not a real number")
    return budget.number(result)


_ORDER: Final[dict[str, Callable[[Number, Number], bool]]] = {
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}


def compare(symbol: str, left: JsonValue, right: JsonValue, budget: Budget) -> bool:
    """Compute `left <symbol> right`, where the symbol is Jinja2's: eq, ne, lt, lteq, gt, gteq, in, notin.

    Raises:
        ExpressionError: the two cannot be compared.
    """
    match symbol:
        case "eq" | "ne":
            if isinstance(left, list | Mapping):
                budget.weigh(left)
            return (left == right) is (symbol == "eq")
        case "in" | "notin":
            return contains(right, left, budget) is (symbol == "in")
        case _:
            return ordered(symbol, left, right, budget)


def ordered(symbol: str, left: JsonValue, right: JsonValue, budget: Budget) -> bool:
    """Compute an order: numbers with numbers, texts with texts, lists with lists."""
    budget.step()
    if isinstance(left, int | float) and isinstance(right, int | float):
        return _ORDER[symbol](left, right)
    if isinstance(left, str) and isinstance(right, str):
        return bool(_ORDER[symbol](left, right))  # type: ignore[arg-type]  # texts have an order too
    if isinstance(left, list) and isinstance(right, list):
        for one, other in zip(left, right, strict=False):
            if not compare("eq", one, other, budget):
                return ordered(symbol, one, other, budget)
        return _ORDER[symbol](len(left), len(right))
    raise ExpressionError(
        f"{kind_of(left)} and {kind_of(right)} have no order", "convert one with `| int` or `| string`"
    )


def contains(container: JsonValue, item: JsonValue, budget: Budget) -> bool:
    """Compute `item in container`.

    Raises:
        ExpressionError: the container cannot hold anything.
    """
    match container:
        case str():
            if not isinstance(item, str):
                raise ExpressionError(f"{kind_of(item)} cannot be in a text", "convert it with `| string`")
            budget.step(1 + (len(container) >> 10))
            return item in container
        case Mapping():
            return isinstance(item, str) and item in container
        case list() | tuple():
            budget.weigh(container)
            return item in container
        case _:
            raise ExpressionError(f"{kind_of(container)} holds nothing that `in` could find")


def call_method(
    value: JsonValue, name: str, args: list[JsonValue], kwargs: dict[str, JsonValue], budget: Budget
) -> JsonValue:
    """Call one of the few methods that values have.

    Raises:
        ExpressionError: there is no such method, or the arguments do not fit.
    """
    if isinstance(value, str):
        allowed = TEXT_METHODS
    elif isinstance(value, Mapping):
        allowed = MAPPING_METHODS
    else:
        allowed = LIST_METHODS if isinstance(value, list) else frozenset()
    if name not in allowed:
        raise ExpressionError(f"{kind_of(value)} has no method {name!r}", suggest(name, allowed))
    _pay(value, name, args, budget)
    try:
        result = getattr(value, name)(*args, **kwargs)
    except (TypeError, ValueError, OverflowError) as exc:
        raise ExpressionError(f"{name}(): {exc}") from exc
    return _plain(result, budget)


def _pay(value: JsonValue, name: str, args: list[JsonValue], budget: Budget) -> None:
    """Pay for a method call before it is made, by the size of what it can give."""
    if name == "replace" and isinstance(value, str) and len(args) > 1:
        old, new = args[:2]
        if isinstance(old, str) and isinstance(new, str):
            times = value.count(old) if old else len(value) + 1
            budget.text(len(value) + times * max(len(new) - len(old), 0))
    elif name == "join" and isinstance(value, str) and args and isinstance(args[0], list):
        budget.weigh(args[0])
        budget.text(sum(len(i) + len(value) for i in args[0] if isinstance(i, str)))
    elif isinstance(value, str):
        budget.text(len(value))
    else:
        budget.weigh(value)


def _plain(result: object, budget: Budget) -> JsonValue:
    """Make JSON of what a method gave: tuples and views become lists."""
    if isinstance(result, str | int | None):
        return result
    if isinstance(result, Mapping):
        return dict(result)
    if isinstance(result, float):
        return result
    found = list(result)  # type: ignore[call-overload]  # a list, a tuple or a view: nothing else is left
    budget.items(len(found))
    return [_plain(item, budget) if isinstance(item, tuple) else item for item in found]
