"""Segments: how far the logs of sealed packs have been merged into this one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict

from mimrun.log import kinds
from mimrun.log.entry import LogEntry


class Segment(BaseModel):
    """How far a pack's own log was merged last.

    Arguments:
        entries, root: of that log then.
        seq, incident: the entry of ours that has it, and where it belongs.
    """

    model_config = ConfigDict(frozen=True)

    origin: str = ""
    pack: str = ""
    entries: int = 0
    root: str = ""
    seq: int = 0
    incident: str = ""
    by: str = ""

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Segment:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)


class Segments:
    """The projector: one state for each log of a pack, by its origin."""

    name: Final = "segments/1"

    def empty(self) -> bytes:
        """Nothing of it was merged."""
        return Segment().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry that merges touches its log."""
        return entry.body.origin if isinstance(entry.body, kinds.BreakglassMerged) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the state after an entry."""
        body = entry.body
        if not isinstance(body, kinds.BreakglassMerged):
            return state
        return Segment(
            origin=body.origin,
            pack=body.pack,
            entries=body.entries,
            root=body.root,
            seq=entry.seq,
            incident=entry.inc,
            by=entry.actor.id,
        ).encode()
