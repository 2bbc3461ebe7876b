"""What was sent, as JSON of bounded size, and reading from it with the place of each thing that is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from mimrun.canonical import Json
from mimrun.errors import AlertTooLargeError, InputError
from mimrun.incident.alert import LABELS, read_time
from mimrun.incident.intake.address import without_credentials

MAX_BYTES: Final = 1024 * 1024
"""Bytes of one delivery."""
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 100_000
MAX_ALERTS: Final = 1_000
"""Alerts in one delivery."""
_SHOWN: Final = 60


def read_payload(raw: bytes) -> Piece:
    """Read JSON.

    Raises:
        AlertTooLargeError: there is more of it than anybody reads.
        InputError: it is not JSON, or nested too deep.
    """
    if len(raw) > MAX_BYTES:
        raise AlertTooLargeError(f"an alert has at most {MAX_BYTES} bytes; let less be sent at once")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise InputError(f"the body is not JSON: {exc.msg} at {exc.lineno}:{exc.colno}") from None
    _check_size(value)
    return Piece(value, "")


def _check_size(value: Json) -> None:
    """See that a value is neither too deep nor too large. Without recursion: it is somebody else's."""
    level, count = [value], 0
    for _ in range(MAX_DEPTH):
        level = [inner for one in level for inner in _inside(one)]
        count += len(level)
        if count > MAX_VALUES:
            raise AlertTooLargeError(f"the body has more than {MAX_VALUES} values; let less be sent at once")
        if not level:
            return
    raise InputError(f"the body is nested deeper than {MAX_DEPTH}")


def _inside(value: Json) -> Iterator[Json]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


@dataclass(frozen=True, slots=True)
class Piece:
    """A value in what was sent, and where it stands there.

    Arguments:
        where: `alerts[3].labels`; "" is the whole.
    """

    value: Json
    where: str

    def at(self, *keys: str) -> Piece:
        """Give what stands under keys, one inside the other; nothing (null) where one is not there."""
        value, where = self.value, self.where
        for key in keys:
            if isinstance(value, list) and key.isascii() and key.isdigit() and len(key) < 6:
                value, where = (value[int(key)] if int(key) < len(value) else None), f"{where}[{key}]"
            else:
                value = value.get(key) if isinstance(value, Mapping) else None
                where = f"{where}.{key}" if where else key
        return Piece(value, where)

    def mapping(self) -> Piece:
        """Give the piece itself, which must be a mapping of keys."""
        if not isinstance(self.value, Mapping):
            raise self.wrong("must be a mapping of keys")
        return self

    def items(self) -> list[Piece]:
        """Give the alerts of a list, of which there must be one and not too many."""
        if not isinstance(self.value, list):
            raise self.wrong("must be a list")
        if not self.value:
            raise self.wrong("is empty")
        if len(self.value) > MAX_ALERTS:
            raise AlertTooLargeError(f"{self.name}: {MAX_ALERTS} alerts at most in one delivery")
        return [Piece(value, f"{self.where}[{number}]") for number, value in enumerate(self.value)]

    def text(self) -> str:
        """Give a text; "" for nothing, and numbers and the like as they are written in JSON."""
        if isinstance(self.value, str):
            return self.value
        return "" if self.value is None else orjson.dumps(self.value).decode()

    def need(self) -> str:
        """Give a text that must be there, and not be empty."""
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("must be a text" if self.value is not None else "is missing")
        return self.value

    def texts(self) -> dict[str, str]:
        """Give labels or annotations; addresses in them lose their credentials."""
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping):
            raise self.wrong("must be a mapping of keys")
        if len(self.value) > LABELS:
            raise self.wrong(f"has more than {LABELS} keys")
        return {key: without_credentials(Piece(value, "").text()) for key, value in self.value.items()}

    def time(self) -> str:
        """Give a moment, or "" for none."""
        try:
            return read_time(self.value)
        except ValueError as exc:
            raise self.wrong(str(exc)) from None

    def is_true(self) -> bool:
        """Say whether it is a number above 0, or true."""
        return isinstance(self.value, int) and self.value > 0

    @property
    def name(self) -> str:
        """The place as a message names it."""
        return self.where[:200] or "the body"

    def wrong(self, why: str) -> InputError:
        """Give the complaint about it."""
        shown = "" if isinstance(self.value, Mapping | list | None) else f", and not {self.value!r:.{_SHOWN}}"
        return InputError(f"{self.name} {why}{shown}")
