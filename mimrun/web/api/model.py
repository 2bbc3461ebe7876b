"""What the API is given and gives, in general: strict requests, pages of lists, and problems."""

from __future__ import annotations

from typing import Annotated, Final, Generic, Literal, TypeVar

from fastapi import Header, Query
from pydantic import BaseModel, ConfigDict, Field

PREFIX: Final = "/api/v1"
LARGEST: Final = 2**53 - 1
"""The largest number that every program can read."""
MOST: Final = 500
_Item = TypeVar("_Item")


class Given(BaseModel):
    """What is asked for: exactly what is described, and nothing besides."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Inventory = Annotated[
    str,
    Field(
        max_length=255,
        description="A file of the folder `inventories` of the server's home; without, the server's own inventory.",
    ),
]


class Shown(BaseModel):
    """What is answered."""

    model_config = ConfigDict(frozen=True)


class Page(Shown, Generic[_Item]):
    """A part of a list."""

    items: list[_Item]
    next: int | None = Field(
        default=None,
        description="Ask for the rest with this number as `after`, or `before`; null at the end.",
    )


class WrongPlace(Shown):
    """One thing that is wrong in what was asked for, and where."""

    file: str = Field(description="A runbook, `inputs`, `inventory`, …")
    line: int = Field(description="From 1; 0 where the whole is meant.")
    column: int
    message: str
    hint: str = ""


class Problem(Shown):
    """Why something was not done, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str = Field(description="What the status is called.")
    status: int
    detail: str = Field(default="", description="What is wrong, and what to do about it.")
    problems: list[WrongPlace] = Field(
        default=[], description="Each thing that is wrong, where there are several."
    )


Reason = Annotated[str, Field(max_length=5000, description="Why; a reviewer will read it.")]
NeededReason = Annotated[
    str, Field(min_length=1, max_length=5000, pattern=r"\S", description="Why; a reviewer will read it.")
]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Digest = Annotated[
    str,
    Field(
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="Of what was looked at, whole. Anything else than that voids what is asked for.",
    ),
]
Text = Annotated[str, Field(min_length=1, max_length=100_000, pattern=r"\S")]
Moment = Annotated[str, Field(description="RFC 3339, UTC; empty where it has not come.")]

After = Annotated[int, Query(ge=0, le=LARGEST, description="Only what is behind this entry of the log.")]
Before = Annotated[
    int | None, Query(ge=1, le=LARGEST, description="Only what began before this entry of the log.")
]
Limit = Annotated[int, Query(ge=1, le=MOST, description="So many at most.")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=16,
        max_length=128,
        pattern=r"^[A-Za-z0-9._:-]+$",
        description="Made at random by whoever asks. Asked again with the same key, nothing is done twice.",
    ),
]
Standing = Literal["open", "all"]
