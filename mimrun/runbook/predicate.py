"""Predicates: the words after `is` in an expression, and inside `select` and `reject`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from pydantic import JsonValue

from mimrun.runbook.bounds import Budget, ExpressionError
from mimrun.runbook.operators import compare, contains
from mimrun.runbook.regex import search

Predicate: TypeAlias = Callable[..., bool]
"""Called with the budget, the value and the arguments."""


def _ordering(symbol: str) -> Predicate:
    def test(budget: Budget, value: JsonValue, other: JsonValue) -> bool:
        return compare(symbol, value, other, budget)

    return test


def _type_is(*types: type, but: tuple[type, ...] = ()) -> Predicate:
    def test(_: Budget, value: JsonValue) -> bool:
        return isinstance(value, types) and not isinstance(value, but)

    return test


def _divisible(_: Budget, value: JsonValue, number: JsonValue) -> bool:
    if not isinstance(value, int) or not isinstance(number, int) or number == 0:
        raise ExpressionError("divisibleby needs two integers, the second not 0")
    return value % number == 0


def _whole(value: JsonValue) -> int:
    if not isinstance(value, int):
        raise ExpressionError("odd and even need an integer")
    return value


def _in(budget: Budget, value: JsonValue, container: JsonValue) -> bool:
    return contains(container, value, budget)


def _matching(*, anchored: bool) -> Predicate:
    def test(budget: Budget, value: JsonValue, pattern: JsonValue) -> bool:
        if not isinstance(value, str) or not isinstance(pattern, str):
            raise ExpressionError("match and search need a text and a pattern")
        return search(pattern, value, budget, anchored=anchored) is not None

    return test


PREDICATES: Final[Mapping[str, Predicate]] = {
    "!=": _ordering("ne"),
    "<": _ordering("lt"),
    "<=": _ordering("lteq"),
    "==": _ordering("eq"),
    ">": _ordering("gt"),
    ">=": _ordering("gteq"),
    "boolean": _type_is(bool),
    "divisibleby": _divisible,
    "eq": _ordering("eq"),
    "equalto": _ordering("eq"),
    "even": lambda _, value: _whole(value) % 2 == 0,
    "false": lambda _, value: value is False,
    "float": _type_is(float),
    "ge": _ordering("gteq"),
    "greaterthan": _ordering("gt"),
    "gt": _ordering("gt"),
    "in": _in,
    "integer": _type_is(int, but=(bool,)),
    "iterable": _type_is(str, list, tuple, Mapping),
    "le": _ordering("lteq"),
    "lessthan": _ordering("lt"),
    "lower": lambda _, value: isinstance(value, str) and value.islower(),
    "lt": _ordering("lt"),
    "match": _matching(anchored=True),
    "mapping": _type_is(Mapping),
    "ne": _ordering("ne"),
    "none": lambda _, value: value is None,
    "number": _type_is(int, float),
    "odd": lambda _, value: _whole(value) % 2 == 1,
    "search": _matching(anchored=False),
    "sequence": _type_is(str, list, tuple, Mapping),
    "string": _type_is(str),
    "true": lambda _, value: value is True,
    "upper": lambda _, value: isinstance(value, str) and value.isupper(),
}
"""The tests that need nothing but their value. `defined` and `undefined` are in evaluator.py."""
