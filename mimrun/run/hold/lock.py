"""Locks: which run may work on a resource, over all runbooks and incidents of this log.

A run takes all its locks together, with the entry that starts it, and lets go of them in the entry that
ends it. In between it keeps them: while it waits for people, while a step is in doubt, and when its
worker dies. There is no second taking while some are held, so no two runs can wait for each other.

Each taking of a resource has a higher generation. Before every change the log is asked whether this run
still holds the resource with the generation that it took: whoever slept through losing it does nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict

from mimrun.errors import LockError, TamperError
from mimrun.gate.people import acted
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.moment import write_moment
from mimrun.run.record.summary import RunSummaries, RunSummary

HOST: Final = "host/"
"""What the lock of a host begins with; the host's inventory name follows."""

_WHAT_NOW: Final = "see `mimrun locks`, or wait for it with --wait-for-locks 10m"


class Holding(BaseModel):
    """How a resource is held.

    Arguments:
        holder: the run that holds it; "" where it is free.
        generation: how many times it has been taken; it never goes back.
        since: the entry with which it was taken, and `at` its moment.
        proposed_by: ids and accounts of who proposed to take it from its holder, with `proposed` the id.
    """

    model_config = ConfigDict(frozen=True)

    holder: str = ""
    incident: str = ""
    generation: int = 0
    since: int = 0
    at: str = ""
    proposed: str = ""
    proposed_by: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Holding:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)


class Locks:
    """The projector: resource → how it is held. The generation outlives the release."""

    name: Final = "locks/1"

    def empty(self) -> bytes:
        """A resource that nobody ever held."""
        return Holding().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about a lock touches its resource."""
        body = entry.body
        match body:
            case kinds.LockTaken() | kinds.LockReleased() | kinds.LockReleaseProposed():
                return body.resource
            case _:
                return None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the holding after an entry.

        Raises:
            TamperError: a resource that is held is taken, or with a generation that is not the next one.
        """
        return _follow(Holding.decode(state), entry).encode()


def _follow(was: Holding, entry: LogEntry) -> Holding:
    match entry.body:
        case kinds.LockTaken() as body:
            if was.holder or body.generation != was.generation + 1:
                raise TamperError(
                    f"entry {entry.seq}: {entry.run} takes {body.resource} as generation {body.generation}"
                    f" while {was.holder or 'nobody'} holds it as {was.generation}"
                )
            return Holding(
                holder=entry.run,
                incident=entry.inc,
                generation=body.generation,
                since=entry.seq,
                at=write_moment(entry.ts),
            )
        case kinds.LockReleased() as body if (was.holder, was.generation) == (entry.run, body.generation):
            return Holding(generation=was.generation)
        case kinds.LockReleaseProposed() as body if was.generation == body.generation:
            people = tuple(sorted(acted(entry.actor.id, entry.actor.auth)))
            return was.model_copy(update={"proposed": entry.actor.id, "proposed_by": people})
        case _:
            # A release that comes after another one changes nothing.
            return was


class Projections(Protocol):
    """What reads folded states: the store, or its view inside a transaction."""

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key."""


def holding_in(view: Projections, resource: str) -> Holding:
    """Say how a resource is held."""
    return Holding.decode(view.projection(Locks.name, resource))


def missing_locks(view: Projections, run: str, resources: Sequence[str]) -> list[kinds.LockTaken]:
    """Give what a run has to take so that it holds all of its resources, in sorted order.

    Raises:
        LockError: another run holds one of them; the message says which run, and what to do.
    """
    takes = []
    for resource in sorted(set(resources)):
        holding = holding_in(view, resource)
        if holding.holder == run:
            continue
        if holding.holder:
            raise LockError(f"{describe_holding(view, resource, holding)}; {_WHAT_NOW}")
        takes.append(kinds.LockTaken(resource=resource, generation=holding.generation + 1))
    return takes


def check_takes(view: Projections, takes: Sequence[kinds.LockTaken]) -> None:
    """Refuse to take what was taken by somebody else since it was looked at.

    Raises:
        LockError: something was; look again.
    """
    for take in takes:
        holding = holding_in(view, take.resource)
        if holding.holder or holding.generation + 1 != take.generation:
            raise LockError(f"{describe_holding(view, take.resource, holding)}; {_WHAT_NOW}")


def lost_lock(view: Projections, run: str, held: Mapping[str, int], resources: Sequence[str]) -> str:
    """Say why a run may not work on some resources: what it took is not its own any more. "" where it may.

    Arguments:
        held: resource → the generation with which this run took it.
    """
    for resource in resources:
        holding = holding_in(view, resource)
        if resource not in held:
            return f"the run does not hold the lock {resource}"
        if (holding.holder, holding.generation) != (run, held[resource]):
            now = describe_holding(view, resource, holding) if holding.holder else f"{resource} is free"
            return f"the lock {resource} was taken from this run; {now}"
    return ""


def locks_of_change(resources: Sequence[str], target: str) -> list[str]:
    """Give the locks that stand for a change on a target: that of the host, and all that are not of hosts."""
    return [name for name in resources if not name.startswith(HOST) or name == HOST + target]


def describe_holding(view: Projections, resource: str, holding: Holding) -> str:
    """Say who holds a resource, for which incident, since when."""
    if not holding.holder:
        return f"{resource} is free, and was taken and let go of since it was looked at"
    run = RunSummary.decode(view.projection(RunSummaries.name, holding.holder))
    return (
        f"{resource} is held by {holding.holder} ('{run.title}', incident {holding.incident}, launched by"
        f" {run.launched_by}) since {holding.at[:19].replace('T', ' ')} UTC; that run is {run.status.value}"
    )


def held_by(states: Iterator[tuple[str, bytes]]) -> dict[str, Holding]:
    """Give every resource that somebody holds, from the states of the projection."""
    all_ = {resource: Holding.decode(state) for resource, state in states}
    return {resource: holding for resource, holding in all_.items() if holding.holder}
