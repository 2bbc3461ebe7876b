"""Published versions: a runbook version that ever ran keeps its content for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mimrun.log.entry import LogEntry
from mimrun.log.kinds import PlanFrozen


class PublishedVersions:
    """The projector: `name@version` → the digest of the runbook that first ran under it."""

    name: Final = "published/1"

    def empty(self) -> bytes:
        """A version that never ran."""
        return b""

    def key(self, entry: LogEntry) -> str | None:
        """A frozen plan publishes its runbook."""
        body = entry.body
        return f"{body.runbook}@{body.version}" if isinstance(body, PlanFrozen) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """The first content stays."""
        if state or not isinstance(entry.body, PlanFrozen):
            return state
        return entry.body.runbook_digest.encode()
