"""What the thread that writes the log is asked for, one request after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

from mimrun.log.batch import Batch, Sealed
from mimrun.log.checkpointing import Point
from mimrun.log.entry import LogEntry
from mimrun.log.store import Guard
from mimrun.log.writing import Interrupted


@dataclass(slots=True)
class Append:
    """One append that waits for its transaction."""

    drafts: Sequence[Sealed]
    guard: Guard | None
    answer: Future[tuple[LogEntry, ...]] = field(default_factory=Future)


@dataclass(slots=True)
class Together:
    """Appends that share a transaction, and what came of each."""

    taken: list[Append] = field(default_factory=list)
    settled: list[tuple[Append, tuple[LogEntry, ...]]] = field(default_factory=list)
    refused: list[tuple[Append, Exception]] = field(default_factory=list)

    def put_into(self, batch: Batch) -> None:
        """Let each be taken or refused."""
        self.settled, self.refused = [], []
        for request in self.taken:
            try:
                self.settled.append((request, batch.take(request.drafts, request.guard)))
            except Interrupted:
                raise
            except Exception as exc:  # noqa: BLE001 - the waiting thread gets it
                self.refused.append((request, exc))


@dataclass(slots=True)
class Rebuild:
    """A request to fold the whole log again."""

    progress: Callable[[int], object] | None
    answer: Future[bool] = field(default_factory=Future)


@dataclass(slots=True)
class Mark:
    """A request to end the log with `log.heads`, so that a checkpoint can be made of it as it is now."""

    answer: Future[Point | None] = field(default_factory=Future)


@dataclass(slots=True)
class Keep:
    """A request to store a signed checkpoint."""

    size: int
    note: str
    answer: Future[None] = field(default_factory=Future)


Request: TypeAlias = Append | Rebuild | Mark | Keep
