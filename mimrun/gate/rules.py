"""The rules in force: which content of each rules file decisions follow, as it was recorded last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict

from mimrun.log.entry import LogEntry
from mimrun.log.kinds import RulesRecorded


class InForce(BaseModel):
    """The content of a rules file that was recorded last.

    Arguments:
        digest: of the content; "" where the file was never recorded.
        size: bytes; 0 where the file was taken away.
        seq: the entry that has the content.
    """

    model_config = ConfigDict(frozen=True)

    digest: str = ""
    size: int = 0
    seq: int = 0

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()


class RulesInForce:
    """The projector: name of a rules file → what of it is in force."""

    name: Final = "rules/1"

    def empty(self) -> bytes:
        """A file that nobody has decided by."""
        return InForce().encode()

    def key(self, entry: LogEntry) -> str | None:
        """A record of a rules file touches that file."""
        return entry.body.file if isinstance(entry.body, RulesRecorded) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """The last content holds."""
        body = entry.body
        if not isinstance(body, RulesRecorded):
            return state
        return InForce(digest=body.digest, size=body.size, seq=entry.seq).encode()
