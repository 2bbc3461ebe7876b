"""Every single change of a JSON value: each leaf, each key and item taken away, put in, or put twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue


@dataclass(frozen=True)
class Mutation:
    """A value with one thing changed.

    Arguments:
        where: the place of the change, and what it is: "nodes.0.name: other".
    """

    where: str
    value: JsonValue


def mutations(value: JsonValue, where: str = "") -> Iterator[Mutation]:
    """Give every value that differs from this one in one place."""
    match value:
        case dict():
            yield from _of_dict(value, where)
        case list():
            yield from _of_list(value, where)
        case _:
            yield from (Mutation(f"{where}: {what}", other) for what, other in _of_leaf(value))


def _of_dict(value: dict[str, JsonValue], where: str) -> Iterator[Mutation]:
    yield Mutation(f"{where}: one more key", {**value, "extra": "x"})
    for key, part in value.items():
        place = f"{where}.{key}".lstrip(".")
        yield Mutation(f"{place}: left out", {k: v for k, v in value.items() if k != key})
        for inner in mutations(part, place):
            yield Mutation(inner.where, {**value, key: inner.value})


def _of_list(value: list[JsonValue], where: str) -> Iterator[Mutation]:
    yield Mutation(f"{where}: one more item", [*value, "x"])
    if value != value[::-1]:
        yield Mutation(f"{where}: the other way round", value[::-1])
    for number, part in enumerate(value):
        place = f"{where}.{number}"
        yield Mutation(f"{place}: left out", value[:number] + value[number + 1 :])
        yield Mutation(f"{place}: twice", [*value[: number + 1], part, *value[number + 1 :]])
        for inner in mutations(part, place):
            yield Mutation(inner.where, [*value[:number], inner.value, *value[number + 1 :]])


def _of_leaf(value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    match value:
        case bool():
            yield "the opposite", not value
        case int():
            yield "one more", value + 1
            yield "one less", value - 1
        case str():
            yield "other", f"{value}x"
            if value:
                yield "empty", ""
                yield "without its end", value[:-1]
        case _:
            yield "something", "x"
            yield "a number", 1
