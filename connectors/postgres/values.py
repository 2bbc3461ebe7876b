"""Values of a database as JSON that the log can keep: no floats, no integers beyond 2**53 - 1."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from mimrun.connector import Json

if TYPE_CHECKING:
    import psycopg

BIGGEST: Final = 2**53 - 1
DEEPEST: Final = 40
LARGEST: Final = 256 * 1024
"""Characters of all rows together, about."""
WHOLE: Final = re.compile(r"-?\d{1,16}")
AS_TEXT: Final = (
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "float4",
    "float8",
    "numeric",
)
"""Types that are taken as the server writes them, so that no value is rounded or out of Python's range."""


def adapt(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Make a connection give numbers, times and JSON in the forms that `plain` expects."""
    from psycopg.types.json import set_json_loads  # noqa: PLC0415 - psycopg is paid for when it is used
    from psycopg.types.string import TextLoader  # noqa: PLC0415 - as above

    class When(TextLoader):
        """A time in the form of RFC 3339; `infinity` and years before Christ stay as they are."""

        def load(self, data: bytes | bytearray | memoryview) -> str:
            text = bytes(data).decode()
            return re.sub(r"\+00$", "Z", text.replace(" ", "T", 1)) if text[:1].isdigit() else text

    class Number(TextLoader):
        """A whole number as an integer, any other as it is written."""

        def load(self, data: bytes | bytearray | memoryview) -> int | str:  # type: ignore[override]  # wider
            text = bytes(data).decode()
            return int(text) if WHOLE.fullmatch(text) else text

    for name in AS_TEXT:
        loader = Number if name in ("float4", "float8", "numeric") else TextLoader
        connection.adapters.register_loader(name, When if name.startswith("timestamp") else loader)
    set_json_loads(
        lambda text: json.loads(text, parse_float=str, parse_constant=str, parse_int=_integer), connection
    )


def plain(value: object, depth: int = DEEPEST) -> Json:
    """Give a value as JSON; what JSON has no form for, as text."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= BIGGEST else str(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case dict() if depth:
            return {_ascii(str(key)): plain(item, depth - 1) for key, item in value.items()}
        case list() | tuple() if depth:
            return [plain(item, depth - 1) for item in value]
        case _:
            return str(value)


def rows(names: Sequence[str], found: Iterable[Sequence[object]], most: int) -> tuple[list[Json], bool]:
    """Give rows as objects, and whether there were more than may be given.

    Arguments:
        names: the columns' names; a second one of the same name becomes `name_2`.
        found: the rows; no more of them are taken than needed.
        most: how many rows to give at most.
    """
    keys: list[str] = []
    for name in map(_ascii, names):
        same = sum(key == name or key.startswith(f"{name}_") for key in keys)
        keys.append(f"{name}_{same + 1}" if name in keys else name)
    given: list[Json] = []
    size = 0
    for row in found:
        values = [plain(value) for value in row]
        size += sum(len(str(value)) for value in values)
        if len(given) == most or size > LARGEST:
            return given, True
        given.append(dict(zip(keys, values, strict=True)))
    return given, False


def _integer(digits: str) -> int | str:
    return int(digits) if WHOLE.fullmatch(digits) and abs(int(digits)) <= BIGGEST else digits


def _ascii(key: str) -> str:
    return key.encode("ascii", "backslashreplace").decode()
