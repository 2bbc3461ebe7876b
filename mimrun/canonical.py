"""Canonical JSON: one value, one sequence of bytes, on every machine.

Digests of plans and hashes of log entries are taken over these bytes. The format is the subset of
RFC 8785 (JSON Canonicalization Scheme) without floating point numbers, in which Python's own encoder
gives the same bytes as a full implementation; the tests compare the two. The subset is enforced, so
that a value outside it is an error here and not a digest that differs elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "None | bool | int | float | str | Sequence[Json] | Mapping[str, Json]"
"""Any JSON value. Canonical JSON is the part of it without floats."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 7493, section 2.2)."""

MAX_DEPTH = 64

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode(value: Json) -> bytes:
    """Give the canonical bytes of a value.

    Raises:
        ValueError: the value has a float, an integer beyond 2**53 - 1, a key that is not ASCII, a lone
            surrogate, or is nested deeper than 64.
    """
    plain = value if _is_plain(value, MAX_DEPTH) else _plain(value, "$", MAX_DEPTH)
    return _ENCODER.encode(plain).encode("utf-8")


def digest(value: Json) -> str:
    """Give `sha256:<hex>` over the canonical bytes of a value."""
    return digest_bytes(encode(value))


def digest_bytes(data: bytes) -> str:
    """Give `sha256:<hex>` over bytes as they are."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _is_plain(value: object, depth: int) -> bool:
    """Say whether a value is canonical as it is. Where it is not, or may not be, `_plain` says more, and slowly."""
    if depth == 0:
        return False
    if type(value) is str:
        return value.isascii()
    if type(value) is dict:
        for key, one in value.items():
            if type(key) is not str or not key.isascii() or not _is_plain(one, depth - 1):
                return False
        return True
    if type(value) is list:
        return all(_is_plain(one, depth - 1) for one in value)
    if type(value) is int:
        return -MAX_INTEGER <= value <= MAX_INTEGER
    return value is None or type(value) is bool


def _plain(value: Json, where: str, depth: int) -> object:
    if depth == 0:
        raise ValueError(f"{where}: nested deeper than {MAX_DEPTH}")
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, where)
        case int():
            if abs(value) > MAX_INTEGER:
                raise ValueError(f"{where}: an integer is beyond 2**53 - 1; write it as a string")
            return value
        case float():
            raise ValueError(f"{where}: a float has no canonical form; write {value} as a string or integer")
        case Mapping():
            return {_key(k, where): _plain(v, f"{where}.{k}", depth - 1) for k, v in value.items()}
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return [_plain(v, f"{where}[{i}]", depth - 1) for i, v in enumerate(value)]
        case _:
            raise ValueError(f"{where}: {type(value).__name__} is not JSON")


def _key(key: object, where: str) -> str:
    if not isinstance(key, str) or not key.isascii():
        raise ValueError(f"{where}: key {key!r} is not an ASCII string")
    return key


def _text(text: str, where: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ValueError(f"{where}: a lone surrogate has no UTF-8 form") from exc
    return text
