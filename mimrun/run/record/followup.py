"""Follow-ups: the runs that were made from another one, to take it back or to repeat what failed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from mimrun.errors import RefusedError
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import RunCreated
from mimrun.log.store import View
from mimrun.run.record.summary import summary_in
from mimrun.run.record.transitions import TERMINAL

FollowUp: TypeAlias = Literal["undo", "retry"]


class FollowUps(BaseModel):
    """The runs that were made from one run, the oldest first.

    Arguments:
        undos: they take it back.
        retries: they repeat what failed.
    """

    model_config = ConfigDict(frozen=True)

    undos: tuple[str, ...] = ()
    retries: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> FollowUps:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)


class FollowUpRuns:
    """The projector: by a run's id, the runs that were made from it."""

    name: Final = "followups/1"

    def empty(self) -> bytes:
        """A run that nothing was made from."""
        return FollowUps().encode()

    def key(self, entry: LogEntry) -> str | None:
        """A run that is asked for touches the one that it was made from."""
        body = entry.body
        return (body.undo_of or body.retry_of or None) if isinstance(body, RunCreated) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the runs with the new one behind them."""
        known = FollowUps.decode(state)
        if isinstance(entry.body, RunCreated) and entry.body.undo_of:
            known = FollowUps(undos=(*known.undos, entry.run), retries=known.retries)
        else:
            known = FollowUps(undos=known.undos, retries=(*known.retries, entry.run))
        return known.encode()


def check_followups(view: View, run: str, seen: FollowUps) -> None:
    """Refuse to make a second way back, or a second retry, next to one that is under way or was not seen.

    Arguments:
        run: the run that something is to be made from.
        seen: what had been made from it when the plan was made.

    Raises:
        RefusedError: there is another one.
    """
    known = FollowUps.decode(view.projection(FollowUpRuns.name, run))
    for other in (*known.undos, *known.retries):
        status = summary_in(view, other).status
        if status not in TERMINAL:
            word = "taken back" if other in known.undos else "repeated"
            raise RefusedError(f"{run} is being {word} by {other}, which is {status}; look at that one first")
    if known != seen:
        raise RefusedError(f"{run} has changed since you looked; look at it again")
