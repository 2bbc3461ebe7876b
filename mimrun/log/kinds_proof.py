"""The kinds that prove the log itself: its keys, its checkpoints' heads, anchors, and what was erased."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import StringConstraints

from mimrun.log.field import Count, Hash, Name, Reason, Seq
from mimrun.log.kind import Body, Kind

__all__ = [
    "LogAccepted",
    "LogAnchored",
    "LogHeads",
    "LogKey",
    "LogKeyRetired",
    "LogMoved",
    "RedactApplied",
    "RedactProposed",
]

KeyId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]
# Never cut: a note that lacks its end proves nothing.
NoteText: TypeAlias = Annotated[str, StringConstraints(max_length=1500)]

Where: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=1500)]


class LogKey(Body):
    """From here on this key signs checkpoints; the certificate is the offline root key's word for it."""

    kind = Kind.LOG_KEY
    keyid: KeyId
    vkey: Name
    from_size: Count
    certified_by: Annotated[str, StringConstraints(pattern=r"^$|^[0-9a-f]{8}$")] = ""
    certificate: NoteText = ""


class LogKeyRetired(Body):
    """This key signs no checkpoint of a larger tree."""

    kind = Kind.LOG_KEY_RETIRED
    blobs = frozenset({"reason"})
    keyid: KeyId
    to_size: Count
    reason: Reason


class LogHeads(Body):
    """The ends of all incidents' chains, as the root of a tree over them; a checkpoint ends with it."""

    kind = Kind.LOG_HEADS
    incidents: Count
    root: Hash


class LogAnchored(Body):
    """A checkpoint was given to a place outside, or could not be; the receipt is what that place answered."""

    kind = Kind.LOG_ANCHORED
    blobs = frozenset({"reason", "receipt"})
    anchor: Name
    size: Seq
    root: Hash
    done: bool
    reason: Reason = ""


class LogAccepted(Body):
    """A person said that this log is right, although it is not the one that was last seen here."""

    kind = Kind.LOG_ACCEPTED
    blobs = frozenset({"reason"})
    seen_size: Seq
    seen_leaf: Hash
    reason: Reason


class LogMoved(Body):
    """From here on the log goes on in another place; nothing but heads may follow where it was."""

    kind = Kind.LOG_MOVED
    to: Where


class RedactProposed(Body):
    """A person asks to erase blobs of an entry; another one must agree."""

    kind = Kind.REDACT_PROPOSED
    blobs = frozenset({"reason"})
    entry: Seq
    names: tuple[Name, ...]
    reason: Reason


class RedactApplied(Body):
    """A second person agreed: the content of this blob is erased, in the transaction that records this."""

    kind = Kind.REDACT_APPLIED
    blobs = frozenset({"reason"})
    entry: Seq
    name: Name
    commit: Hash
    proposal: Seq
    reason: Reason
