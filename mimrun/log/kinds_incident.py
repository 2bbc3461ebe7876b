"""The kinds for why something is done: what an incident is and how it stands, and what is to be learnt from it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from mimrun.log.field import Count, Digest, Moment, Name, Reason, Title, Word
from mimrun.log.kind import Body, Kind

__all__ = [
    "Grade",
    "IncidentAssessed",
    "IncidentAssigned",
    "IncidentClosed",
    "IncidentLinked",
    "IncidentReopened",
    "IncidentResolved",
    "IncidentStaged",
    "IncidentTimed",
    "ReviewItemClosed",
    "ReviewItemOpened",
    "ReviewPublished",
    "Stage",
]

Grade: TypeAlias = Literal["high", "medium", "low", "unknown"]
"""How much is affected, or how soon it must be mended."""
Stage: TypeAlias = Literal["identification", "containment", "resolution", "maintenance"]
"""What is being worked on in an incident; resolution begins when it is contained, maintenance when it is resolved."""


class IncidentAssessed(Body):
    """Somebody says how bad the incident is; priority and severity are what the table makes of it.

    The priority counts at gates once `incident.prioritized` says it, which the policy lets only some people say.
    """

    kind = Kind.INCIDENT_ASSESSED
    blobs = frozenset({"text"})
    impact: Grade
    urgency: Grade
    priority: Literal["P1", "P2", "P3", "P4", "P5"]
    severity: Literal["SEV1", "SEV2", "SEV3", "SEV4"]
    services: tuple[Name, ...] = ()
    flags: tuple[Word, ...] = ()
    reason: Reason = ""


class IncidentAssigned(Body):
    """Somebody has a role in the incident from now on; `person` is "" where nobody has it any more."""

    kind = Kind.INCIDENT_ASSIGNED
    role: Name
    person: Word


class IncidentStaged(Body):
    """The incident is in another stage now.

    Where that says that it is contained, `verified` is the entry of the step that showed it, and `contained_at` when
    that was; 0 and "" where `reason` says why nothing had to be contained, and in every other stage.
    """

    kind = Kind.INCIDENT_STAGED
    stage: Stage
    verified: Count = 0
    contained_at: Moment = ""
    reason: Reason = ""


class IncidentResolved(Body):
    """The service is back for those who use it; the text says what was done."""

    kind = Kind.INCIDENT_RESOLVED
    blobs = frozenset({"text"})
    how: Literal["fixed", "workaround", "no_fault", "duplicate", "vendor", "change_backed_out"]
    cause: Word = ""
    restored_at: Moment


class IncidentClosed(Body):
    """Nothing is left to do in the incident."""

    kind = Kind.INCIDENT_CLOSED
    reason: Reason = ""


class IncidentReopened(Body):
    """The incident was not over."""

    kind = Kind.INCIDENT_REOPENED
    reason: Reason


class IncidentTimed(Body):
    """Somebody says when something happened that the log could not see by itself."""

    kind = Kind.INCIDENT_TIMED
    what: Literal["started", "detected", "acknowledged", "restored"]
    at: Moment
    source: Literal["seen", "estimate"]
    reason: Reason = ""


class IncidentLinked(Body):
    """The incident belongs together with another one, or with a record elsewhere."""

    kind = Kind.INCIDENT_LINKED
    relation: Literal["parent", "child", "duplicate", "record"]
    to: Name


class ReviewItemOpened(Body):
    """Something is to be done so that the incident does not come again; the text says what."""

    kind = Kind.REVIEW_ITEM_OPENED
    blobs = frozenset({"text"})
    item: Word
    title: Title
    owner: Word
    due: Word = ""


class ReviewItemClosed(Body):
    """An action item was done, or is not going to be."""

    kind = Kind.REVIEW_ITEM_CLOSED
    item: Word
    outcome: Literal["done", "dropped"]
    reason: Reason = ""


class ReviewPublished(Body):
    """The review of the incident as it was handed out; the blob is its Markdown."""

    kind = Kind.REVIEW_PUBLISHED
    blobs = frozenset({"review"})
    digest: Digest
