"""How urgent an incident is, as somebody declared it last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from mimrun.log.entry import LogEntry
from mimrun.log.kinds import IncidentPrioritized
from mimrun.log.moment import write_moment

Priority: TypeAlias = Literal["P1", "P2", "P3", "P4", "P5"]
PRIORITIES: Final[tuple[Priority, ...]] = ("P1", "P2", "P3", "P4", "P5")


class Declared(BaseModel):
    """What was declared.

    Arguments:
        priority: None while nobody declared one.
        by, at, reason: who said so last, when, and why.
        seq: the entry that says so; 0 where there is none.
    """

    model_config = ConfigDict(frozen=True)

    priority: Priority | None = None
    by: str = ""
    at: str = ""
    reason: str = ""
    seq: int = 0

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()


class Priorities:
    """The projector: incident → how urgent it is."""

    name: Final = "priorities/1"

    def empty(self) -> bytes:
        """An incident whose priority nobody declared."""
        return Declared().encode()

    def key(self, entry: LogEntry) -> str | None:
        """A declaration touches its incident."""
        return entry.inc or None if isinstance(entry.body, IncidentPrioritized) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """The last word holds."""
        body = entry.body
        if not isinstance(body, IncidentPrioritized):
            return state
        return Declared(
            priority=body.priority,
            by=entry.actor.id,
            at=write_moment(entry.ts),
            reason=body.reason,
            seq=entry.seq,
        ).encode()
