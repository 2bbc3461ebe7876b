"""What `changes.yaml` says of a tool that has no adapter of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue, field_validator, model_validator

from connectors.change.generic.path import JsonPath
from mimrun.change_system import (
    AdditionKind,
    ChangeApproval,
    ChangeSystemSettings,
    ChangeType,
    Field,
)

DECIDING: Final = (
    "type", "state", "approval", "votes", "window", "on_hold", "conflicts", "conflicts_at", "targets", "requested_by",
    "run", "digest", "runbook", "valid_until", "retrospective",
)  # fmt: skip
"""The fields that are decided from: each stands somewhere, or is said to be absent, or cannot be read."""
NEVER_ABSENT: Final = ("type", "state", "approval", "votes")
PLACE: Final = re.compile(r"\{([a-z_]*)\}")
HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
OF_DRAFT: Final = frozenset(
    {"key", "type", "title", "risk", "justification", "plan", "backout", "test", "targets", "window_start"}
    | {"window_end", "run", "digest", "requested_by", "incident"}
)
OF_ADDITION: Final = frozenset({"ref", "text", "at", "url", "successful", "outcome"})
Each: TypeAlias = Annotated[JsonPath, Field(pattern=r"\[(\*|\?.*)\]$")]
"""A path to many: it ends with [*], or with the condition that they meet."""
Reference: TypeAlias = Annotated[str, Field(pattern=r"^(env|file|keyring|vault):.+$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _short(value: object) -> object:
    """Take a path alone for a place."""
    return {"at": value} if isinstance(value, str) else value


class Place(_Part):
    """Where a value stands."""

    at: JsonPath = Field(description="The path to it.")
    source: Literal["record", "approvals"] = Field(
        "record", alias="from", description="Which answer it is in."
    )


class Moment(Place):
    """Where a time stands."""

    zone: str = Field(
        "", description="What a time without a zone is in, such as Europe/Berlin; else it is unreadable."
    )

    @field_validator("zone")
    @classmethod
    def _there(cls, zone: str) -> str:
        try:
            if zone:
                ZoneInfo(zone)
        except (OSError, ValueError, KeyError) as exc:
            raise ValueError(f"there is no time zone {zone!r}") from exc
        return zone


class TypeOf(Place):
    """Where the type stands, and what its words mean."""

    map: dict[str, ChangeType] = Field(min_length=1, description="By the tool's own word: the type.")


class ApprovalOf(Place):
    """Where it stands whether the change is approved, and what its words mean."""

    map: dict[str, ChangeApproval] = Field(
        min_length=1, description="By the tool's own word: what came of asking."
    )


class Votes(_Part):
    """Where the approvers stand."""

    each: Each = Field(description="The path to all of them.")
    source: Literal["record", "approvals"] = Field(
        "record", alias="from", description="Which answer they are in."
    )
    account: JsonPath = Field(description="In each: the approver's account.")
    decision: JsonPath = Field(description="In each: what they decided.")
    map: dict[str, Literal["approved", "rejected", "none"]] = Field(
        min_length=1, description="By the tool's own word: the decision; none where they have not decided."
    )
    at: JsonPath | None = Field(None, description="In each: when.")
    zone: str = Field("", description="What such a time without a zone is in.")
    reason: JsonPath | None = Field(None, description="In each: their comment.")
    total: JsonPath | None = Field(
        None, description="How many there are, where the tool gives them by pages."
    )

    @field_validator("zone")
    @classmethod
    def _there(cls, zone: str) -> str:
        return Moment(at="$", zone=zone).zone


class WindowOf(_Part):
    """Where the planned time stands."""

    start: JsonPath = Field(description="From when.")
    end: JsonPath = Field(description="Until when.")
    zone: str = Field("", description="What a time without a zone is in.")

    @field_validator("zone")
    @classmethod
    def _there(cls, zone: str) -> str:
        return Moment(at="$", zone=zone).zone


class ConflictsOf(_Part):
    """Where it stands what speaks against the planned time."""

    each: Each = Field(description="The path to all of it.")
    type: JsonPath = Field(description="In each: what it is.")
    record: JsonPath | None = Field(None, description="In each: the other record.")


AtPlace: TypeAlias = Annotated[Place, BeforeValidator(_short)]
AtMoment: TypeAlias = Annotated[Moment, BeforeValidator(_short)]


class Fields(_Part):
    """Where each field of a change stands."""

    ref: AtPlace = Field(description="The reference; the answer must be about the one that was asked for.")
    type: TypeOf | None = Field(None, description="standard, normal or emergency.")
    title: AtPlace | None = Field(None, description="For people.")
    state: AtPlace | None = Field(None, description="The state, whose words state_map explains.")
    approval: ApprovalOf | None = Field(None, description="What came of asking for it to be allowed.")
    votes: Votes | None = Field(None, description="What each approver said.")
    window: WindowOf | None = Field(None, description="When it is planned.")
    on_hold: AtPlace | None = Field(None, description="Whether somebody stopped it for now.")
    conflicts: ConflictsOf | None = Field(None, description="What speaks against its time.")
    conflicts_at: AtMoment | None = Field(None, description="When that was looked for.")
    targets: AtPlace | None = Field(None, description="The hosts, as a list or in one text.")
    requested_by: AtPlace | None = Field(None, description="Account of whoever asked for it.")
    run: AtPlace | None = Field(None, description="The run that mimrun wrote into it.")
    digest: AtPlace | None = Field(None, description="The digest that mimrun wrote into it.")
    runbook: AtPlace | None = Field(None, description="Of a standard change: the runbook.")
    valid_until: AtMoment | None = Field(None, description="Of a standard change: until when it counts.")
    backout: AtPlace | None = Field(None, description="For people.")
    retrospective: AtPlace | None = Field(None, description="Whether it was written after the fact.")
    edited_at: AtMoment | None = Field(
        None, description="When it was changed last: an approval that is older than that is not read as one."
    )
    version: AtPlace | None = Field(
        None, description="The record's own mark of its state; else its ETag is taken."
    )


class Ask(_Part):
    """A request. In its texts, words in braces are replaced: in a path only {ref}, escaped."""

    method: Literal["GET", "POST", "PUT", "PATCH"] = Field("GET", description="The HTTP method.")
    path: str = Field(pattern=r"^/[^?#\s]*$", description="Below url, such as /changes/{ref}.")
    params: dict[str, str] = Field({}, description="Parameters of the address.")
    body: JsonValue = Field(None, description="Sent as JSON.")

    def places(self) -> set[str]:
        """Name the words in braces, except for those in the path."""
        return {name for text in _texts([dict(self.params), self.body]) for name in PLACE.findall(text)}


class Create(Ask):
    """The request that makes a record."""

    method: Literal["GET", "POST", "PUT", "PATCH"] = Field("POST", description="The HTTP method.")
    ref: JsonPath = Field(description="In the answer: the reference of what was made.")


class Find(Ask):
    """The request that finds the record with a key."""

    each: Each = Field(description="In the answer: all that were found.")
    key: JsonPath = Field(description="In each: the key, exactly.")
    ref: JsonPath = Field(description="In each: the reference.")


class Notes(Ask):
    """The request that gives the notes of a record, by which an addition is known that was made already."""

    each: Each = Field(description="In the answer: all notes.")
    text: JsonPath = Field(description="In each: its text.")


class GenericHttpSettings(ChangeSystemSettings):
    """A tool that speaks JSON over HTTP, and where in its answers everything stands."""

    secret_headers: dict[str, Reference] = Field(
        {}, description="Headers that log in, as references to their whole values: `env:NAME`, `file:PATH`…"
    )
    headers: dict[str, str] = Field({}, description="Other headers; none that hold a secret.")
    ref_pattern: str = Field(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        description="What a reference looks like, as a regular expression.",
    )
    page: str = Field("", description="The address of a record's page, with {ref}.")
    time_format: str = Field("%Y-%m-%dT%H:%M:%SZ", description="How times are written, in UTC.")
    record: Ask = Field(description="The request that gives a record.")
    approvals: Ask | None = Field(
        None, description="The request that gives its approvals, where that is another one."
    )
    fields: Fields = Field(description="Where each field stands.")
    absent: tuple[str, ...] = Field(
        (), description="Fields that the tool does not have; nothing is decided from them."
    )
    create: Create | None = Field(None, description="How a record is made; without it none is.")
    find: Find | None = Field(None, description="How a record is found by its key.")
    notes: Notes | None = Field(None, description="How the notes of a record are read.")
    add: dict[AdditionKind, tuple[Ask, ...]] = Field(
        {}, description="How each addition is made; the last request writes {text}, in which its key stands."
    )

    @field_validator("ref_pattern")
    @classmethod
    def _pattern(cls, pattern: str) -> str:
        try:
            compiled = re.compile(pattern, re.ASCII)
        except re.error as exc:
            raise ValueError(f"{pattern!r} is no regular expression: {exc}") from exc
        if any(compiled.fullmatch(bad) for bad in ("..", ".", "", "a/b", "a?b", "a\n")):
            raise ValueError(f"{pattern!r} also takes what is no reference, such as '..' or 'a/b'")
        return pattern

    @field_validator("headers", "secret_headers")
    @classmethod
    def _headers(cls, headers: dict[str, str]) -> dict[str, str]:
        if wrong := [name for name in headers if not HEADER.fullmatch(name)]:
            raise ValueError(f"{wrong[0]!r} is not a header's name")
        return headers

    @field_validator("absent")
    @classmethod
    def _absent(cls, absent: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := sorted(set(absent) - set(DECIDING)):
            raise ValueError(f"{wrong[0]!r} is no field that is decided from")
        if wrong := sorted(set(absent) & set(NEVER_ABSENT)):
            raise ValueError(f"nothing can be decided without {wrong[0]}; say where it stands")
        return absent

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if both := sorted(set(self.absent) & set(self.mapped())):
            raise ValueError(f"{both[0]} is said to be absent, and to stand somewhere")
        parts = [getattr(self.fields, name) for name in Fields.model_fields]
        if self.approvals is None and any(getattr(part, "source", "") == "approvals" for part in parts):
            raise ValueError("a field is taken from approvals, and approvals says no request")
        if self.fields.edited_at is not None and (self.fields.votes is None or self.fields.votes.at is None):
            raise ValueError("fields: edited_at is held against the time of the votes; say where that stands")
        if self.create is not None and self.find is None:
            raise ValueError("create without find: a lost answer would make a record twice")
        if self.add and self.notes is None:
            raise ValueError("add without notes: a lost answer would write a note twice")
        self._placed()
        return self

    def mapped(self) -> frozenset[str]:
        """Name the fields of a record that the file says a place for."""
        return frozenset(name for name in Fields.model_fields if getattr(self.fields, name) is not None)

    def _placed(self) -> None:
        """Look at every word in braces."""
        for name, ask in {"record": self.record, "approvals": self.approvals, "notes": self.notes}.items():
            if ask is not None:
                _reads(name, ask)
        if self.find is not None:
            _finds(self.find)
        if self.create is not None:
            _makes(self.create)
        for what, asks in self.add.items():
            for ask in asks:
                _placed(f"add.{what}", ask, path={"ref"}, known=OF_ADDITION)
            if not asks or "text" not in asks[-1].places():
                raise ValueError(
                    f"add.{what}: the last request has to write {{text}}, in which its key stands"
                )
        if set(PLACE.findall(self.page)) - {"ref"}:
            raise ValueError("page: only {ref} is replaced there")


def _reads(name: str, ask: Ask) -> None:
    if ask.method != "GET" or ask.body is not None:
        raise ValueError(f"{name}: what only reads is a GET without a body")
    _placed(name, ask, path={"ref"}, known={"ref"})
    if "ref" not in PLACE.findall(ask.path) and "ref" not in ask.places():
        raise ValueError(f"{name}: without {{ref}} it asks for no record in particular")


def _finds(find: Find) -> None:
    _placed("find", find, path=set(), known={"key"})
    if find.method != "GET" or "key" not in find.places():
        raise ValueError("find: it is a GET with {key} in its params")


def _makes(create: Create) -> None:
    _placed("create", create, path=set(), known=OF_DRAFT)
    if not {"key", "run", "digest"} <= create.places():
        raise ValueError("create: its body has to hold {key}, {run} and {digest}, or it is not found again")


def _writes(name: str, asks: Sequence[Ask]) -> None:
    for ask in asks:
        _placed(name, ask, path={"ref"}, known=OF_ADDITION)
    if not asks or "text" not in asks[-1].places():
        raise ValueError(f"{name}: the last request has to write {{text}}, in which its key stands")


def _placed(name: str, ask: Ask, *, path: set[str], known: Iterable[str]) -> None:
    found = {"path": (set(PLACE.findall(ask.path)), path), "params and body": (ask.places(), set(known))}
    for where, (used, allowed) in found.items():
        if wrong := sorted(used - allowed):
            raise ValueError(
                f"{name}: {{{wrong[0]}}} is not replaced in its {where}; there are {', '.join(sorted(allowed)) or 'none'}"
            )


def _texts(value: JsonValue | Mapping[str, JsonValue]) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
