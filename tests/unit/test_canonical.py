"""Canonical JSON against an independent implementation of RFC 8785, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from enum import IntEnum, StrEnum

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from mimrun.canonical import MAX_DEPTH, MAX_INTEGER, Json, digest, digest_bytes, encode

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
KEYS = st.text(st.characters(max_codepoint=127))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=30,
)


@given(VALUES)
def test_bytes_are_those_of_an_independent_implementation(value: Json) -> None:
    assert encode(value) == rfc8785.dumps(value)


@given(VALUES)
def test_reading_the_bytes_gives_the_value(value: Json) -> None:
    assert json.loads(encode(value)) == value


@given(st.dictionaries(KEYS, st.integers(0, 9) | TEXT, min_size=2))
def test_the_order_of_keys_does_not_matter(value: dict[str, Json]) -> None:
    assert encode(dict(reversed(list(value.items())))) == encode(value)


@given(VALUES, VALUES)
def test_two_values_share_a_digest_only_when_they_are_the_same(one: Json, other: Json) -> None:
    # Python holds 1 == True, JSON does not: compare the texts.
    assert (digest(one) == digest(other)) == (
        json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    )


def test_digest_is_sha256_over_the_bytes() -> None:
    assert (
        digest({"b": 1, "a": [True, None]})
        == "sha256:" + hashlib.sha256(b'{"a":[true,null],"b":1}').hexdigest()
    )
    assert digest_bytes(b"") == "sha256:" + hashlib.sha256(b"").hexdigest()


def test_a_tuple_is_a_list_and_an_enum_is_its_value() -> None:
    class Colour(StrEnum):
        RED = "red"

    class Level(IntEnum):
        HIGH = 3

    assert encode((Colour.RED, Level.HIGH)) == b'["red",3]'


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (1.5, r"\$: a float"),
        ({"a": [1, {"b": 0.1}]}, r"\$\.a\[1\]\.b: a float"),
        (float("nan"), "a float"),
        (MAX_INTEGER + 1, "beyond"),
        (-MAX_INTEGER - 1, "beyond"),
        pytest.param(10**5000, "beyond", id="huge"),
        ({"ä": 1}, "not an ASCII string"),
        ({1: 1}, "not an ASCII string"),
        ("\ud800", "lone surrogate"),
        (["\udfff"], "lone surrogate"),
        (b"bytes", "bytes is not JSON"),
        (bytearray(b"b"), "bytearray is not JSON"),
        (memoryview(b"b"), "memoryview is not JSON"),
        ({1, 2}, "set is not JSON"),
        (object(), "object is not JSON"),
    ],
)
def test_what_has_no_canonical_form_is_refused(value: Json, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        encode(value)


def test_nesting_is_bounded() -> None:
    value: Json = 1
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    encode(value)
    with pytest.raises(ValueError, match="nested deeper than 64"):
        encode([value])
