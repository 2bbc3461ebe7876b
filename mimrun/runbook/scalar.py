"""Scalars: which value a plain word in a YAML file stands for.

YAML 1.1 guesses a lot: `no` is false, `12:30:45` is 45045 and `017` is 15. mimrun's own files are read by
the core schema of YAML 1.2, which guesses little, and what two people could still read in two ways is an
error here. Inventories are Ansible's files, so they are read as Ansible reads them.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Final, TypeAlias, assert_never

import yaml

from mimrun.canonical import MAX_INTEGER

Scalar: TypeAlias = "bool | int | float | str | None"

_CONSTANTS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-9]+")
_FLOAT: Final = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_NUMBER_START: Final = frozenset("+-.0123456789")
_MAX_DIGITS: Final = 300
"""Longer integers are refused before they are computed: the conversion is quadratic."""

_RESOLVER: Final = yaml.resolver.Resolver()
_CONSTRUCTOR: Final = yaml.constructor.SafeConstructor()


class Schema(Enum):
    """How plain words are read.

    CORE: the core schema of YAML 1.2 without floats, for mimrun's own files.
    ANSIBLE: YAML 1.1 as ansible-core reads it, but dates stay text; for inventories.
    JSON: the words of JSON; for inventories that are JSON from end to end.
    """

    CORE = "core"
    ANSIBLE = "ansible"
    JSON = "json"


class Ambiguous(ValueError):
    """A plain word that cannot be taken as it stands.

    Arguments:
        message: what is wrong with it.
        hint: how to write what was meant.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def read_scalar(text: str, schema: Schema) -> Scalar:
    """Give the value of a plain (unquoted) word.

    Raises:
        Ambiguous: the word has no value that everybody would agree on.
    """
    match schema:
        case Schema.CORE:
            return _read_core(text)
        case Schema.ANSIBLE:
            return _read_ansible(text)
        case Schema.JSON:
            return _read_json(text)
        case _:
            assert_never(schema)


def _read_core(text: str) -> Scalar:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMBER_START:
        return text
    if _LEADING_ZERO.fullmatch(text):
        raise Ambiguous(
            f"{text} could be decimal or octal", f'write "{text}" as text, or 0o… for an octal number'
        )
    if _INTEGER.fullmatch(text):
        return _bounded(text)
    if _FLOAT.fullmatch(text):
        raise Ambiguous(f"{text} is a number with a fraction or exponent", f'write it as text: "{text}"')
    return text


def _bounded(text: str) -> int:
    number = int(text, 0) if len(text) <= _MAX_DIGITS else MAX_INTEGER + 1
    if abs(number) > MAX_INTEGER:
        raise Ambiguous(
            "an integer beyond 2**53 - 1 is not kept exactly by every reader", "write it as text, in quotes"
        )
    return number


def _read_ansible(text: str) -> Scalar:
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    kind = tag.rpartition(":")[2]
    node = yaml.ScalarNode(tag, text)
    try:
        match kind:
            case "null":
                return None
            case "bool":
                return bool(_CONSTRUCTOR.construct_yaml_bool(node))
            case "int" if len(text) <= _MAX_DIGITS:
                return int(_CONSTRUCTOR.construct_yaml_int(node))
            case "float":
                return _finite(float(_CONSTRUCTOR.construct_yaml_float(node)), text)
            case "int":
                raise Ambiguous(f"an integer of {len(text)} digits", "write it as text, in quotes")
            case _:
                return text
    except (ValueError, OverflowError, IndexError) as exc:
        if isinstance(exc, Ambiguous):
            raise
        raise Ambiguous(f"{text} looks like a number and is none", f'write it as text: "{text}"') from exc


def _read_json(text: str) -> Scalar:
    try:
        value: Scalar = json.loads(text, parse_constant=float) if len(text) <= _MAX_DIGITS else text
    except ValueError as exc:
        raise Ambiguous(f"{text} is no JSON value", "write it as text, in quotes") from exc
    return _finite(value, text) if isinstance(value, float) else value


def _finite(number: float, text: str) -> float:
    if number - number != 0:  # infinities and NaN have no JSON form
        raise Ambiguous(f"{text} is not a finite number", "leave it out, or write it as text, in quotes")
    return number
