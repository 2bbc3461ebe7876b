"""The kinds for what people did by hand: work outside a runbook, attached files, recorded shells."""

from __future__ import annotations

from typing import Literal

from mimrun.log.field import Count, Digest, Moment, Name, Reason, Seq, Title
from mimrun.log.kind import Body, Kind

__all__ = [
    "IncidentAttached",
    "ManualReported",
    "ShellClosed",
    "ShellOpened",
    "ShellRecorded",
]


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
