"""Incidents as the API shows them, and what may be said of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from mimrun.web.api.model import LARGEST, Given, Name, NeededReason, Reason, Shown, Text

Grade = Literal["high", "medium", "low", "unknown"]
Stage = Literal["identification", "containment", "resolution", "maintenance"]
Role = Annotated[str, Field(min_length=1, max_length=63)]
Title = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Words = Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=50)]


class RunOf(Shown):
    """A run of an incident."""

    run: str
    title: str
    status: str
    launched_by: str


class Clock(Shown):
    """When something happened, and how that is known."""

    at: str
    source: str = Field(
        description="event: the log saw it; seen: somebody did and said so; estimate: a guess."
    )
    seq: int = Field(ge=0, le=LARGEST)


class Incident(Shown):
    """An incident: how it stands."""

    incident: str
    title: str
    opened_at: str
    opened_by: str
    stage: Stage
    status: Literal["open", "resolved", "closed"]
    impact: str
    urgency: str
    priority: str | None = Field(description="As it counts at gates; null where nobody declared it.")
    assessed_priority: str | None
    severity: str
    services: list[str]
    flags: list[str]
    roles: dict[str, str]
    clocks: dict[str, Clock]
    parent: str
    children: list[str]
    how: str
    cause: str
    reopened: int
    runs: list[RunOf]


class IncidentDetail(Incident):
    """An incident, and what keeps it from being closed."""

    blocks_closing: list[str]


class TimelineLine(Shown):
    """One thing that happened."""

    seq: int = Field(ge=1, le=LARGEST)
    at: str
    incident: str
    source: str
    kind: str
    actor: str
    via: str
    run: str
    step: str
    target: str
    text: str = Field(
        description="A sentence. It may hold what a target or a stranger said: it is text and nothing else."
    )
    entered_later: str | None


class Declared(Given):
    """An incident that is declared."""

    title: Title
    impact: Grade = "unknown"
    urgency: Grade = "unknown"
    services: Words = []
    flags: Words = []
    text: str = Field(default="", max_length=100_000)
    started: AwareDatetime | None = Field(default=None, description="When it began, where that is known.")
    detected: AwareDatetime | None = None
    parent: Name | None = None


class Assessed(Given):
    """How bad it is, said anew."""

    impact: Grade
    urgency: Grade
    services: Words = []
    flags: Words = []
    text: str = Field(default="", max_length=100_000)
    reason: Reason = ""


class Priority(Given):
    """How urgent it is, so that it counts at gates."""

    priority: Literal["P1", "P2", "P3", "P4", "P5"]
    reason: NeededReason


class Note(Given):
    """Something that somebody saw, thought, or was told."""

    text: Text
    run: Name | None = None


class Noted(Shown):
    """A note that is on record."""

    seq: int = Field(ge=1, le=LARGEST)
    incident: str


class Assigned(Given):
    """Who has a role in it from now on."""

    role: Role
    person: str = Field(max_length=63, description="Empty where nobody is to have it any more.")


class Staged(Given):
    """What is being worked on from now on."""

    stage: Stage
    reason: Reason = ""
    verified: int = Field(
        default=0,
        ge=0,
        le=LARGEST,
        description="The entry of the step that shows that it is contained; else the last.",
    )


class Resolved(Given):
    """Service is back."""

    how: Literal["fixed", "workaround", "no_fault", "duplicate", "vendor", "change_backed_out"]
    cause: str = Field(default="", max_length=200)
    text: str = Field(default="", max_length=100_000)
    restored_at: AwareDatetime | None = None


class Why(Given):
    """Why."""

    reason: Reason = ""


class NeededWhy(Given):
    """Why; a word is needed."""

    reason: NeededReason


class Timed(Given):
    """When something happened that the log could not see."""

    what: Literal["started", "detected", "acknowledged", "restored"]
    at: AwareDatetime
    source: Literal["seen", "estimate"] = "seen"
    reason: Reason = ""


class Linked(Given):
    """What it belongs together with."""

    relation: Literal["parent", "child", "duplicate", "record"]
    to: str = Field(min_length=1, max_length=200)
