"""Erasure: what the log says about content that was taken out of it, by two people.

A blob is deleted in the transaction that records `redact.applied`, so an entry whose blob is gone without
such an entry has lost it in another way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

from mimrun.log.entry import LogEntry
from mimrun.log.kinds import RedactApplied, RedactProposed
from mimrun.log.moment import write_moment


@dataclass(frozen=True, slots=True)
class Redaction:
    """One blob that was erased with authority.

    Arguments:
        seq: the entry that says so.
        by: who agreed, and so erased it.
        at: when.
        entry: the entry that the blob belonged to.
        name: the blob's name there.
        commit: what that entry commits to, hexadecimal.
        proposal: the entry in which another person had asked for it.
        reason: why.
    """

    seq: int
    by: str
    at: str
    entry: int
    name: str
    commit: str
    proposal: int
    reason: str

    def __str__(self) -> str:
        return f"erased by {self.by} (entry {self.seq})"


def redaction_of(entry: LogEntry) -> Redaction | None:
    """What an entry says was erased, if it is about that."""
    body = entry.body
    if not isinstance(body, RedactApplied):
        return None
    return Redaction(
        seq=entry.seq,
        by=entry.actor.id,
        at=write_moment(entry.ts),
        entry=body.entry,
        name=body.name,
        commit=body.commit,
        proposal=body.proposal,
        reason=body.reason,
    )


class Proposal(BaseModel):
    """Somebody's word that blobs of an entry are to be erased.

    Arguments:
        seq: the entry that says so.
        by: who, and `auth` how that is known.
        names: the blobs.
    """

    model_config = ConfigDict(frozen=True)

    seq: int
    by: str
    auth: str
    names: tuple[str, ...]
    reason: str


class Erasure(BaseModel):
    """What is asked for, and what is done, about the blobs of one entry.

    Arguments:
        entry: its number; 0 where nobody has asked for anything.
        inc: its incident.
        proposals: by blob, the word that was given last and not followed yet.
        applied: by blob, the entry that says that it was erased.
    """

    model_config = ConfigDict(frozen=True)

    entry: int = 0
    inc: str = ""
    proposals: Mapping[str, Proposal] = {}
    applied: Mapping[str, int] = {}

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Erasure:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)


class Erasures:
    """The projector: by incident and entry, what is to be erased there and what was."""

    name: Final = "erasures/1"

    def empty(self) -> bytes:
        """An entry that nobody has asked anything about."""
        return Erasure().encode()

    def key(self, entry: LogEntry) -> str | None:
        """Proposals and erasures touch the entry that they are about; they are of its incident."""
        match entry.body:
            case RedactProposed() | RedactApplied() as body:
                return key_of(entry.inc, body.entry)
            case _:
                return None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give what is asked for and done after an entry. Never looks at a blob: it may be gone."""
        was = Erasure.decode(state)
        proposals, applied = dict(was.proposals), dict(was.applied)
        match entry.body:
            case RedactProposed() as body:
                word = Proposal(
                    seq=entry.seq,
                    by=entry.actor.id,
                    auth=entry.actor.auth,
                    names=body.names,
                    reason=body.reason,
                )
                proposals |= dict.fromkeys(body.names, word)
            case RedactApplied() as body:
                proposals.pop(body.name, None)
                applied[body.name] = entry.seq
            case _:
                return state
        return Erasure(entry=body.entry, inc=entry.inc, proposals=proposals, applied=applied).encode()


def key_of(inc: str, entry: int) -> str:
    """Under which key the erasures of an entry are kept; those of an incident are next to each other."""
    return f"{inc} {entry:016d}"
