"""Time-boxed changes: what a step did, with the moment at which it is taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict

from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.moment import read_moment


class Revert(BaseModel):
    """Something that a run did and that is to be taken back at a moment.

    Arguments:
        outcome: the entry that says that it was done.
        cancelled: why it is left standing for good, and `by` whom; "" where it is not.
    """

    model_config = ConfigDict(frozen=True)

    run: str = ""
    incident: str = ""
    step: str = ""
    target: str = ""
    iteration: int = 0
    due_at: str = ""
    outcome: int = 0
    cancelled: str = ""
    by: str = ""

    @property
    def origin(self) -> str:
        """Names what is taken back, as undo plans do: step, iteration and target."""
        return f"{self.step} {self.iteration} {self.target}"

    def is_due(self, now: datetime) -> bool:
        """Say whether its moment has come."""
        return read_moment(self.due_at) <= now

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Revert:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)


class Reverts:
    """The projector: one state for each thing that is to be taken back, by run, step, iteration and target."""

    name: Final = "reverts/1"

    def empty(self) -> bytes:
        """What stays as it is."""
        return Revert().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about a revert touches it."""
        match entry.body:
            case kinds.StepRevertScheduled() | kinds.StepRevertCancelled() as body:
                return f"{entry.run} {entry.step} {body.iteration} {entry.target}"
            case _:
                return None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the revert after an entry. One that was scheduled again begins anew."""
        was = Revert.decode(state)
        match entry.body:
            case kinds.StepRevertScheduled() as body:
                was = Revert(
                    run=entry.run,
                    incident=entry.inc,
                    step=entry.step,
                    target=entry.target,
                    iteration=body.iteration,
                    due_at=body.due_at,
                    outcome=body.outcome,
                )
            case kinds.StepRevertCancelled() as body if body.outcome == was.outcome:
                was = was.model_copy(update={"cancelled": body.reason or "cancelled", "by": entry.actor.id})
            case _:
                pass
        return was.encode()


class Projections(Protocol):
    """What gives folded states: the store, or its view inside a transaction."""

    def projections(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Keys that start with the prefix, sorted, with their states."""


def reverts_in(view: Projections, run: str = "") -> list[Revert]:
    """Give everything that was ever to be taken back, of one run or of all, the first due first."""
    prefix = f"{run} " if run else ""
    found = [Revert.decode(state) for _, state in view.projections(Reverts.name, prefix)]
    return sorted(found, key=lambda revert: (revert.due_at, revert.outcome))
