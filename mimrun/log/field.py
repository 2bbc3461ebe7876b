"""What the bodies of log entries are made of: bounded texts, digests, counts, moments."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from mimrun.log.moment import write_moment

REASON_LENGTH = 500
"""Characters of a reason that an entry keeps; the whole of a longer one may go into the blob `reason`."""
TITLE_LENGTH = 200


def clean_text(value: str, length: int) -> str:
    r"""Cut a text to a length, and write bytes that are not Unicode (lone surrogates) as `\udcff`.

    An outcome must never fail to be recorded because of what a target said.
    """
    if value.isascii() and len(value) <= length:
        return value
    text = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= length else text[: length - 1] + "…"


def _reason(value: object) -> object:
    return clean_text(value, REASON_LENGTH) if isinstance(value, str) else value


def _title(value: object) -> object:
    return clean_text(value, TITLE_LENGTH) if isinstance(value, str) else value


def _moment(value: object) -> object:
    return write_moment(value) if isinstance(value, datetime) else value


Reason: TypeAlias = Annotated[str, BeforeValidator(_reason)]
Title: TypeAlias = Annotated[str, BeforeValidator(_title)]
Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Word: TypeAlias = Annotated[str, StringConstraints(max_length=64)]
Hash: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Digest: TypeAlias = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Count: TypeAlias = Annotated[int, Field(ge=0, le=2**53 - 1)]
Seq: TypeAlias = Annotated[int, Field(ge=1, le=2**53 - 1)]
Moment: TypeAlias = Annotated[
    str,
    BeforeValidator(_moment),
    StringConstraints(pattern=r"^$|^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"),
]
"""RFC 3339 in UTC with microseconds, or "" for never. A `datetime` is written so."""


class Part(BaseModel):
    """A part of a body."""

    model_config = ConfigDict(frozen=True, extra="forbid")
