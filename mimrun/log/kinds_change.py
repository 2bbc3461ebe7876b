"""The kinds for change records: those of mimrun's own register, and what was read from and written to others."""

from __future__ import annotations

from typing import Literal

from mimrun.log.field import Count, Digest, Moment, Name, Reason, Seq, Title, Word
from mimrun.log.kind import Body, Kind

__all__ = [
    "ChangeDecided",
    "ChangeEdited",
    "ChangeLinked",
    "ChangeMoved",
    "ChangeOpened",
    "ChangeRead",
    "ChangeWriting",
    "ChangeWritten",
]


class ChangeOpened(Body):
    """A record in mimrun's own register begins; the blob `record` has all of it.

    A standard change bears the digest of the runbook that it allows; a retrospective one says until when it must be
    complete. `key` tells whether mimrun has made it already, and `behalf` names those for whom it did.
    """

    kind = Kind.CHANGE_OPENED
    blobs = frozenset({"record"})
    ref: Word
    type: Literal["standard", "normal", "emergency"]
    title: Title
    risk: Word
    record: Digest
    runbook_digest: Word = ""
    retrospective: bool = False
    due_at: Moment = ""
    key: Word = ""
    behalf: tuple[Name, ...] = ()


class ChangeEdited(Body):
    """A record of the register says something else now; what was decided about it before is void."""

    kind = Kind.CHANGE_EDITED
    blobs = frozenset({"record"})
    ref: Word
    record: Digest
    title: Title = ""
    risk: Word = ""


class ChangeMoved(Body):
    """A record of the register is in another state; one that is closed says what came of it."""

    kind = Kind.CHANGE_MOVED
    blobs = frozenset({"reason"})
    ref: Word
    state: Word
    reason: Reason = ""
    result: Literal["", "successful", "with_problems", "failed"] = ""


class ChangeDecided(Body):
    """A person approved or rejected what a record of the register says, or took that back.

    `despite` names the conflicts that the person knew of and answers for.
    """

    kind = Kind.CHANGE_DECIDED
    blobs = frozenset({"reason", "signature", "statement"})
    ref: Word
    decision: Literal["approved", "rejected", "withdrawn"]
    record: Digest
    role: Name
    reason: Reason = ""
    despite: tuple[Name, ...] = ()


class ChangeLinked(Body):
    """A run is part of what this change record is about; a link that takes the place of another names it.

    `key` is that with which mimrun made the record for this run; a person linked it where there is none.
    """

    kind = Kind.CHANGE_LINKED
    system: Name
    ref: Name
    url: Reason = ""
    replaces: Word = ""
    key: Word = ""


class ChangeRead(Body):
    """What a change system said of a record; `problem` says what could not be read, and then nothing is allowed."""

    kind = Kind.CHANGE_READ
    blobs = frozenset({"record", "reason"})
    system: Name
    ref: Name
    state: Word
    approval: Word
    record: Word
    problem: Reason = ""


class ChangeWriting(Body):
    """The next thing that happens is this addition to a record; the key tells whether it is there already."""

    kind = Kind.CHANGE_WRITING
    blobs = frozenset({"text"})
    system: Name
    ref: Name
    what: Literal["create", "link", "note", "started", "ended", "result", "close"]
    key: Name


class ChangeWritten(Body):
    """What came of an addition to a record; where it is `final`, nothing more is tried."""

    kind = Kind.CHANGE_WRITTEN
    blobs = frozenset({"reason"})
    writing: Seq
    status: Literal["done", "already", "failed", "unknown"]
    ref: Word = ""
    reason: Reason = ""
    attempt: Count = 1
    final: bool = False
