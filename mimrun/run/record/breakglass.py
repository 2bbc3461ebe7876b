"""Broken glass: which runs go past their gates, who wanted it and why, and the change that must tell it afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict

from mimrun.gate.people import acted
from mimrun.log import kinds
from mimrun.log.entry import LogEntry


class BrokenGlass(BaseModel):
    """What is known of a run that somebody wants past its gates.

    Arguments:
        plan: the digest of what may run so, and nothing else.
        wanted: names (`mimrun.gate.people.acted`) of those who want it, the first first.
        needs: how many persons must.
        opened: the entry from which on its gates are open, or 0.
        change: of the register, that tells why; it must be closed until `due_at`.
    """

    model_config = ConfigDict(frozen=True)

    run: str = ""
    incident: str = ""
    plan: str = ""
    by: str = ""
    reason: str = ""
    wanted: tuple[tuple[str, ...], ...] = ()
    needs: int = 0
    opened: int = 0
    how: str = ""
    change: str = ""
    due_at: str = ""

    @property
    def missing(self) -> int:
        """How many more persons must want it."""
        return max(0, self.needs - len(self.wanted))

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> BrokenGlass:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)


class BrokenGlasses:
    """The projector: one state for each run that somebody wanted past its gates, by its name."""

    name: Final = "breakglass/1"

    def empty(self) -> bytes:
        """A run that goes through its gates."""
        return BrokenGlass().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about the glass touches its run."""
        match entry.body:
            case kinds.BreakglassAsked() | kinds.BreakglassAgreed() | kinds.BreakglassOpened():
                return entry.run
            case _:
                return None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the state after an entry."""
        was, who = BrokenGlass.decode(state), tuple(sorted(acted(entry.actor.id, entry.actor.auth)))
        match entry.body:
            case kinds.BreakglassAsked() as body:
                was = BrokenGlass(
                    run=entry.run,
                    incident=entry.inc,
                    plan=body.plan,
                    by=entry.actor.id,
                    reason=body.reason,
                    wanted=(who,),
                    needs=body.needs,
                )
            case kinds.BreakglassAgreed() as body if body.plan == was.plan:
                was = was.model_copy(update={"wanted": (*was.wanted, who)})
            case kinds.BreakglassOpened() as body if body.plan == was.plan:
                news = {"opened": entry.seq, "how": body.how, "change": body.change, "due_at": body.due_at}
                was = was.model_copy(update=news)
            case _:
                pass
        return was.encode()


class Projections(Protocol):
    """What gives folded states: the store, or its view inside a transaction."""

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key."""

    def projections(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Keys that start with the prefix, sorted, with their states."""


def glass_of(view: Projections, run: str) -> BrokenGlass:
    """Give what is known of a run's glass; an empty state where nobody touched it."""
    return BrokenGlass.decode(view.projection(BrokenGlasses.name, run))


def all_glasses(view: Projections) -> list[BrokenGlass]:
    """Give every run that somebody wanted past its gates."""
    return [BrokenGlass.decode(state) for _, state in view.projections(BrokenGlasses.name)]
