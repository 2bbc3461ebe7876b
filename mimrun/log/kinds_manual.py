"""The kinds for what people did by hand: manual steps, work outside a runbook, attached files, recorded shells."""

from __future__ import annotations

from typing import Literal

from mimrun.log.field import Count, Digest, Moment, Name, Part, Reason, Seq, Title, Word
from mimrun.log.kind import Body, Kind

__all__ = [
    "IncidentAttached",
    "ManualAttested",
    "ManualChecked",
    "ManualClaimed",
    "ManualConfirmed",
    "ManualDisputed",
    "ManualField",
    "ManualHandedOver",
    "ManualReleased",
    "ManualReported",
    "ManualRequested",
    "ShellClosed",
    "ShellOpened",
    "ShellRecorded",
]


class ManualField(Part):
    """A piece of evidence that a manual step asks for."""

    name: Name
    type: Word
    required: bool


class ManualRequested(Body):
    """The run waits for a person to do something and to say so.

    `second` is the role of a second person who must confirm it, "anybody" where that may be anybody else, "" where
    none is needed. `remind_ms` is how long after it was asked for, or claimed, people are reminded; 0 for never.
    """

    kind = Kind.MANUAL_REQUESTED
    blobs = frozenset({"instructions"})
    role: Name
    fields: tuple[ManualField, ...]
    checklist: tuple[Title, ...] = ()
    second: Word = ""
    remind_ms: Count = 0


class ManualClaimed(Body):
    """A person does the manual step now; others need not begin it."""

    kind = Kind.MANUAL_CLAIMED


class ManualReleased(Body):
    """The person who had claimed the manual step does not do it any more."""

    kind = Kind.MANUAL_RELEASED
    blobs = frozenset({"reason"})
    reason: Reason


class ManualHandedOver(Body):
    """The manual step is somebody else's from now on."""

    kind = Kind.MANUAL_HANDED_OVER
    blobs = frozenset({"reason"})
    to: Name
    reason: Reason


class ManualChecked(Body):
    """An item of the manual step's checklist is done, or is not done after all; the first item is 1."""

    kind = Kind.MANUAL_CHECKED
    item: Seq
    done: bool


class ManualAttested(Body):
    """A person's word that a manual step is done, or cannot be; `fields` is the digest of the evidence given."""

    kind = Kind.MANUAL_ATTESTED
    blobs = frozenset({"evidence", "reason"})
    fields: Digest
    outcome: Literal["done", "failed"] = "done"
    active_ms: Count = 0
    reason: Reason = ""


class ManualConfirmed(Body):
    """A second person's word that what was attested is so."""

    kind = Kind.MANUAL_CONFIRMED
    attested: Seq


class ManualDisputed(Body):
    """A second person's word that what was attested is not so: the step is to be done again."""

    kind = Kind.MANUAL_DISPUTED
    blobs = frozenset({"reason"})
    attested: Seq
    reason: Reason


class ManualReported(Body):
    """A person did something outside of any runbook at a certain time, and says so later."""

    kind = Kind.MANUAL_REPORTED
    blobs = frozenset({"text"})
    title: Title
    at: Moment


class IncidentAttached(Body):
    """A file belongs to the incident; `kept` says whether its content is in the log, or only its digest."""

    kind = Kind.INCIDENT_ATTACHED
    blobs = frozenset({"content", "text"})
    name: Title
    media_type: Name
    digest: Digest
    size: Count
    kept: bool


class ShellOpened(Body):
    """A person got an interactive session on a target; what they and the target say is recorded."""

    kind = Kind.SHELL_OPENED
    blobs = frozenset({"reason"})
    account: Reason
    address: Reason
    host_key: Reason
    columns: Count
    rows: Count
    reason: Reason


class ShellRecorded(Body):
    """A piece of an interactive session, in the order of `part`, as asciicast v2 lines."""

    kind = Kind.SHELL_RECORDED
    blobs = frozenset({"cast"})
    shell: Seq
    part: Seq
    events: Count
    until_ms: Count


class ShellClosed(Body):
    """An interactive session is over: the remote shell ended, the person left, or the connection was lost."""

    kind = Kind.SHELL_CLOSED
    blobs = frozenset({"reason"})
    shell: Seq
    ended: Literal["exit", "left", "lost"]
    status: Count = 0
    dur_ms: Count
    reason: Reason = ""
