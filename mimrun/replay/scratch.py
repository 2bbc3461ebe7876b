"""The scratch log: what a replayed worker takes for the incident log. Nothing of it is ever written down."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final, Protocol

from mimrun.errors import LogError
from mimrun.log.chain import Head
from mimrun.log.entry import NOTHING, BlobRef, Draft, LogEntry
from mimrun.log.kinds import Kind, LockReleased, LockTaken
from mimrun.log.merkle import Frontier
from mimrun.log.moment import write_moment
from mimrun.log.store import RunStore, View
from mimrun.run.hold.killswitch import KillSwitch
from mimrun.run.hold.lock import Holding, Locks
from mimrun.run.record.summary import RunSummaries, RunSummary, summarize


class WorkLog(RunStore, View, Protocol):
    """What a replayed worker takes for its log."""


class Scratch:
    """Entries in memory, and those states of them that a worker's guards look at.

    Arguments:
        run: the run that it is about.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.known: list[LogEntry] = []
        self._by_seq: dict[int, LogEntry] = {}
        self._summary, self._encoded = RunSummary(), b""
        self._held: dict[str, Holding] = {}
        self._switch = KillSwitch().empty()

    def take(self, entry: LogEntry) -> None:
        """Let an entry be on record from now on."""
        self.known.append(entry)
        self._by_seq[entry.seq] = entry
        if entry.run == self.run:
            self._summary, self._encoded = summarize(self._summary, entry), b""
        self._follow_lock(entry)
        if KillSwitch().key(entry) is not None:
            self._switch = KillSwitch().apply(self._switch, entry, {})

    def _follow_lock(self, entry: LogEntry) -> None:
        match entry.body:
            case LockTaken(resource=resource, generation=generation):
                # Whoever had it before is not on this tape.
                at = write_moment(entry.ts)
                holding = Holding(
                    holder=entry.run, incident=entry.inc, generation=generation, since=entry.seq, at=at
                )
                self._held[resource] = holding
            case LockReleased(resource=resource) if resource in self._held:
                left = Locks().apply(self._held[resource].encode(), entry, {})
                self._held[resource] = Holding.decode(left)
            case _:
                pass

    @property
    def summary(self) -> RunSummary:
        """How the run stands by what is on record here."""
        return self._summary

    def head(self) -> Head:
        """The end of what is on record here; without hashes."""
        last = self.known[-1] if self.known else None
        return Head(NOTHING, last.ts, Frontier(last.seq, ())) if last else Head()

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key, for those states that guards look at."""
        if name == KillSwitch.name:
            return self._switch
        if name == Locks.name:
            return self._held.get(key, _FREE).encode()
        if name == RunSummaries.name and key == self.run:
            self._encoded = self._encoded or self._summary.model_dump_json().encode()
            return self._encoded
        return RunSummary().encode()

    def projections(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """No guard of a worker lists states."""
        return iter(())

    def entries(
        self,
        *,
        run: str | None = None,
        inc: str | None = None,
        after: int = 0,
        kinds: Collection[Kind] | None = None,
    ) -> Iterator[LogEntry]:
        """Entries behind `after`, in order, as far as they are on record here by now."""
        behind = len(self.known)
        while behind and self.known[behind - 1].seq > after:
            behind -= 1
        return iter(
            [
                entry
                for entry in self.known[behind:]
                if run in (None, entry.run)
                and inc in (None, entry.inc)
                and (not kinds or entry.kind in kinds)
            ]
        )

    def entry(self, seq: int) -> LogEntry:
        """One entry.

        Raises:
            LogError: it is not on record here.
        """
        if seq not in self._by_seq:
            raise LogError(f"entry {seq} is not on the record that is replayed")
        return self._by_seq[seq]


_FREE: Final = Holding()


def entry_of(draft: Draft, seq: int, at: datetime, log: str = "replay") -> LogEntry:
    """Make an entry of a draft; it is linked to nothing, as nobody will ever prove anything of it."""
    return LogEntry(
        log=log,
        seq=seq,
        ts=at,
        inc=draft.inc,
        iseq=0,
        iprev=NOTHING,
        actor=draft.actor,
        run=draft.run,
        step=draft.step,
        target=draft.target,
        attempt=draft.attempt,
        epoch=draft.epoch,
        body=draft.body,
        blobs=tuple(BlobRef(blob.n, NOTHING, len(blob.data), blob.cls) for blob in draft.blobs),
        prev=NOTHING,
    )
