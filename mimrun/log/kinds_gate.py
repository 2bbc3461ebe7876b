"""The kinds for who allowed what: gates, break-glass, the rules in force, tokens, messages to people."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mimrun.log.field import Count, Digest, Hash, Moment, Name, Part, Reason, Seq, Title, Word
from mimrun.log.kind import Body, Kind

__all__ = [
    "BreakglassAgreed",
    "BreakglassAsked",
    "BreakglassMerged",
    "BreakglassOpened",
    "BreakglassPacked",
    "BreakglassUnpacked",
    "GateClosed",
    "GateDecided",
    "GateEscalated",
    "GateOpened",
    "GateRequested",
    "IncidentPrioritized",
    "NoticeSending",
    "NoticeSent",
    "RoleCount",
    "RulesRecorded",
    "TokenCreated",
    "TokenRevoked",
]


class IncidentPrioritized(Body):
    """Somebody said how urgent the incident is; the policy asks for more or less accordingly."""

    kind = Kind.INCIDENT_PRIORITIZED
    blobs = frozenset({"reason"})
    priority: Literal["P1", "P2", "P3", "P4", "P5"]
    reason: Reason


class RoleCount(Part):
    """How many people of a role must agree."""

    role: Name
    count: Annotated[int, Field(ge=1, le=100)]


class GateRequested(Body):
    """The run waits for people to agree to the segment with this digest.

    `change`, `approvals`, `freeze_override` and `signed` are what policy and runbook ask for together, and
    `because` says so in words; an approval counts for these terms only.
    """

    kind = Kind.GATE_REQUESTED
    blobs = frozenset({"segment", "reason"})
    digest: Digest
    title: Title
    change: Word
    risk: Word
    approvals: tuple[RoleCount, ...]
    expires_at: Moment
    on_timeout: Word
    freeze_override: bool = False
    signed: bool = False
    escalation: Count = 0
    because: Reason = ""


class GateDecided(Body):
    """One person approved or rejected, or took their approval back before it was used.

    `at` is what the clock said; the entry's own time never goes back. An approval with a signature has the signed
    statement in the blob `statement`; `brought_by` is who brought it, where that was not the person who signed.
    """

    kind = Kind.GATE_DECIDED
    blobs = frozenset({"reason", "signature", "statement"})
    decision: Literal["approved", "rejected", "withdrawn"]
    digest: Digest
    role: Name
    reason: Reason
    at: Moment = ""
    purpose: Literal["approval", "freeze_override"] = "approval"
    brought_by: Word = ""


class GateOpened(Body):
    """The run may go on with this digest: people agreed, policy asks for nobody, or somebody broke the glass."""

    kind = Kind.GATE_OPENED
    blobs = frozenset({"reason"})
    digest: Digest
    by: Literal["approvals", "policy", "standard_change", "break_glass"] = "approvals"
    because: Reason = ""


class GateClosed(Body):
    """The gate will not open for this digest any more."""

    kind = Kind.GATE_CLOSED
    blobs = frozenset({"reason"})
    digest: Digest
    reason: Literal["rejected", "expired", "void"]
    detail: Reason


class GateEscalated(Body):
    """Nobody decided in time, so others are asked besides; `round` counts from 1."""

    kind = Kind.GATE_ESCALATED
    digest: Digest
    to: Name
    round: Seq


class BreakglassAsked(Body):
    """Somebody wants a plan executed past its gates; `needs` is how many persons must want it."""

    kind = Kind.BREAKGLASS_ASKED
    blobs = frozenset({"reason"})
    plan: Digest
    needs: Seq
    reason: Reason


class BreakglassAgreed(Body):
    """Another person wants it too."""

    kind = Kind.BREAKGLASS_AGREED
    blobs = frozenset({"reason"})
    plan: Digest
    reason: Reason = ""


class BreakglassOpened(Body):
    """The run goes past its gates; the change that tells why must be settled until `due_at`."""

    kind = Kind.BREAKGLASS_OPENED
    plan: Digest
    change: Name
    due_at: Moment
    how: Literal["two_people", "one_and_page"]


class BreakglassPacked(Body):
    """Runbooks, inventory and rules were sealed into a file that runs without anything else.

    The blob `files` is that pack; `size` and `root` say how long this log was before, so that the log which the pack
    keeps can say where it goes on from.
    """

    kind = Kind.BREAKGLASS_PACKED
    blobs = frozenset({"files", "reason"})
    pack: Digest
    size: Count
    root: Hash
    expires_at: Moment
    files: Count
    reason: Reason = ""


class BreakglassUnpacked(Body):
    """This log is that of a pack: it goes on from the log `origin`, which had so many entries and this root."""

    kind = Kind.BREAKGLASS_UNPACKED
    pack: Digest
    origin: Name
    size: Count
    root: Hash


class BreakglassMerged(Body):
    """What a pack's own log recorded, as the blob has it: a bundle of its first `entries` entries, with this root."""

    kind = Kind.BREAKGLASS_MERGED
    blobs = frozenset({"segment", "reason"})
    pack: Digest
    origin: Name
    entries: Count
    root: Hash
    bundle: Digest
    reason: Reason = ""


class RulesRecorded(Body):
    """From here on decisions follow this content of a rules file; the account is that which met it first."""

    kind = Kind.RULES_RECORDED
    blobs = frozenset({"content"})
    file: Name
    digest: Digest
    size: Count


class TokenCreated(Body):
    """A person can sign in with a token; the log keeps only its SHA-256, which cannot be turned back."""

    kind = Kind.TOKEN_CREATED
    token: Word
    person: Name
    scopes: tuple[Word, ...]
    expires_at: Moment
    verifier: Hash


class TokenRevoked(Body):
    """Nobody can sign in with this token any more."""

    kind = Kind.TOKEN_REVOKED
    blobs = frozenset({"reason"})
    token: Word
    reason: Reason


class NoticeSending(Body):
    """People are told next, over this channel, about what an entry says; durable before it is tried."""

    kind = Kind.NOTICE_SENDING
    blobs = frozenset({"text"})
    about: Seq
    event: Word
    channel: Name
    audience: Name
    people: tuple[Name, ...] = ()


class NoticeSent(Body):
    """What came of telling people."""

    kind = Kind.NOTICE_SENT
    blobs = frozenset({"reason"})
    about: Seq
    event: Word
    channel: Name
    audience: Name
    sending: Seq
    done: bool
    reason: Reason = ""
