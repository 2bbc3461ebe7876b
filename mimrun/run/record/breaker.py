"""The circuit breaker: a runbook that failed several times in a row is looked at before it is launched again.

Counted are the runs of a runbook in the order in which they ended. One that succeeded closes the breaker;
one that a person cancelled says nothing. The way back, and a second try on hosts that failed, are not
counted and never refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict

from mimrun.errors import BreakerError
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.moment import write_moment
from mimrun.runbook.plan import Plan

OPENS_AFTER: Final = 3
"""So many failures in a row open it."""


class Failure(BaseModel):
    """One run that failed."""

    model_config = ConfigDict(frozen=True)

    run: str
    at: str
    reason: str


class Breaker(BaseModel):
    """How a runbook did lately.

    Arguments:
        failures: the runs that failed since the last one that succeeded, at most the last few.
    """

    model_config = ConfigDict(frozen=True)

    failures: tuple[Failure, ...] = ()

    @property
    def open(self) -> bool:
        """Say whether the runbook is refused."""
        return len(self.failures) >= OPENS_AFTER

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()


class Breakers:
    """The projector: runbook → how it did lately."""

    name: Final = "breakers/1"

    def empty(self) -> bytes:
        """A runbook that never failed."""
        return Breaker().encode()

    def key(self, entry: LogEntry) -> str | None:
        """The end of a run, and a person's word, touch the runbook that they name."""
        body = entry.body
        return body.runbook or None if isinstance(body, kinds.RunEnded | kinds.BreakerClosed) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the breaker after an entry."""
        match entry.body:
            case kinds.RunEnded(status="failed") as body:
                was = Breaker.model_validate_json(state)
                failure = Failure(run=entry.run, at=write_moment(entry.ts), reason=body.reason)
                return Breaker(failures=(*was.failures, failure)[-OPENS_AFTER:]).encode()
            case kinds.RunEnded(status="cancelled"):
                return state
            case _:
                return self.empty()


class Projections(Protocol):
    """What reads folded states: the store, or its view inside a transaction."""

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key."""


def breaker_in(view: Projections, runbook: str) -> Breaker:
    """Say how a runbook did lately."""
    return Breaker.model_validate_json(view.projection(Breakers.name, runbook))


def check_breaker(view: Projections, plan: Plan) -> None:
    """Refuse to launch a runbook whose last runs all failed.

    Raises:
        BreakerError: they did; the message names them, and says how to go on.
    """
    if plan.undo_of or plan.retry_of:
        return
    name = plan.runbook.name
    breaker = breaker_in(view, name)
    if breaker.open:
        runs = "; ".join(f"{one.run}: {one.reason}" for one in breaker.failures)
        raise BreakerError(
            f"the last {OPENS_AFTER} runs of {name} failed ({runs}); look at them, then close the breaker with"
            f" `mimrun breaker close {name} --reason ...`"
        )


def failing(states: Iterator[tuple[str, bytes]]) -> dict[str, Breaker]:
    """Give the runbooks that failed lately, from the states of the projection."""
    all_ = {runbook: Breaker.model_validate_json(state) for runbook, state in states}
    return {runbook: breaker for runbook, breaker in all_.items() if breaker.failures}
