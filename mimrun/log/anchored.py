"""Anchors as the log tells of them: what each place outside was given last, and when it is to be given more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict

from mimrun.log.entry import LogEntry
from mimrun.log.kind import Kind
from mimrun.log.kinds_proof import LogAnchored
from mimrun.log.moment import read_moment, write_moment

NO_NEWS: Final = frozenset({Kind.LOG_ANCHORED, Kind.LOG_HEADS})
"""Kinds that alone are no reason to anchor again: else each anchoring would be the reason for the next."""
LONGEST_PAUSE: Final = timedelta(hours=1)
"""After more failures one after the other, a place is tried so often."""


class Anchored(BaseModel):
    """What the log says of one anchor.

    Arguments:
        anchor: its name; "" where nothing was ever given to it.
        size, root, at, seq: of the last checkpoint that it took: how many entries, their root (hexadecimal), when,
            and which entry says so; 0 and "" where there is none.
        tried_at: when it was last given something, or tried to.
        failures: how many tries have failed since it last took one.
        failing_since: the first of these.
        reason: why the last of these failed.
    """

    model_config = ConfigDict(frozen=True)

    anchor: str = ""
    size: int = 0
    root: str = ""
    at: str = ""
    seq: int = 0
    tried_at: str = ""
    failures: int = 0
    failing_since: str = ""
    reason: str = ""

    def after(self, entry: LogEntry, body: LogAnchored) -> Anchored:
        """Give what the log says after one more try."""
        at = write_moment(entry.ts)
        if not body.done:
            since = self.failing_since or at
            told = {"failures": self.failures + 1, "failing_since": since, "reason": body.reason}
            return self.model_copy(update={"anchor": body.anchor, "tried_at": at, **told})
        # A larger one that it has already counts; a smaller one is only given by hand.
        newest = body.size >= self.size
        return Anchored(
            anchor=body.anchor,
            size=body.size if newest else self.size,
            root=body.root if newest else self.root,
            at=at if newest else self.at,
            seq=entry.seq if newest else self.seq,
            tried_at=at,
        )

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Anchored:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)


class AnchorRecords:
    """The projector: by anchor, what it was given last and what failed since."""

    name: Final = "anchors/1"

    def empty(self) -> bytes:
        """An anchor that was never given anything."""
        return Anchored().encode()

    def key(self, entry: LogEntry) -> str | None:
        """Each try touches its anchor."""
        return entry.body.anchor if isinstance(entry.body, LogAnchored) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give what is known of an anchor after an entry."""
        body = entry.body
        return Anchored.decode(state).after(entry, body).encode() if isinstance(body, LogAnchored) else state


def is_due(known: Anchored, now: datetime, every: timedelta, *, news: bool) -> bool:
    """Whether an anchor is to be given a checkpoint now. Whoever asks, on whichever machine, gets the same answer.

    Arguments:
        known: what the log says of it.
        now: the present moment.
        every: how long is waited between two checkpoints; after failures twice as long each time, an hour at most.
        news: there is an entry behind its last checkpoint that is worth one; see `NO_NEWS`.
    """
    if not known.tried_at:
        return True
    waited = now - read_moment(known.tried_at)
    if known.failures:
        return waited >= min(every * (1 << min(known.failures - 1, 20)), max(every, LONGEST_PAUSE))
    return news and waited >= every


def anchors_in(states: Iterable[tuple[str, bytes]]) -> dict[str, Anchored]:
    """Read the projection: by name, every anchor that was ever given something."""
    return {name: Anchored.decode(state) for name, state in states}
