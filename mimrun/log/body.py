"""Reading the body of an entry, strictly: what its kind says, in the types that it says, and nothing else.

The bytes of an entry are proven, and so is a lie that whoever holds the key has recorded. What is read as a number is
written as one, therefore; a text that would pass for it is refused, by whoever reads and by whoever verifies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from mimrun.log.kinds import BODIES, Body

_SHOWN = 60
"""Characters of a value that is named in a message."""


def read_body(kind: str, value: Mapping[str, Any]) -> Body:
    """Read the body of an entry.

    Arguments:
        kind: of the entry; one that is known.
        value: what stands under `body`.

    Raises:
        ValueError: it is not one of this kind; names the field.
    """
    known = BODIES[kind]  # type: ignore[index]  # a kind is a str
    try:
        body = known.model_validate(value)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        shown = f", not {first['input']!r:.{_SHOWN}}" if first["type"] != "missing" else ""
        raise ValueError(f"its body is not one of {kind}: {where}: {first['msg'].lower()}{shown}") from exc
    # Pydantic takes "3" for a number, and cuts a reason that is too long. What it made is written again, therefore.
    made = body.model_dump(mode="json", exclude_unset=True)
    for name, given in value.items():
        if given is not made.get(name) and _written(given) != _written(made.get(name)):
            raise ValueError(f"its body is not one of {kind}: {name} cannot be {given!r:.{_SHOWN}}")
    return body


def wrong_body(kind: str, value: Mapping[str, Any]) -> str:
    """Why a body is not one of its kind, with the field that is not; "" where it is one."""
    if kind not in BODIES:
        return f"this version does not know the kind {kind!r}"
    try:
        read_body(kind, value)
    except (ValueError, TypeError) as exc:
        return str(exc)
    return ""


def _written(value: object) -> bytes:
    """A value such that true is not 1, and 3 is not "3"."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
