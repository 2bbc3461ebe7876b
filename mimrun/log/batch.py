"""One transaction's worth of appends, worked out in memory before a row is written.

Because nothing is written until all is known, a refused or failed append leaves no trace in the others
that share its transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from mimrun.errors import LogError
from mimrun.log.chain import Head, IncidentHead, Linked, Place, SealedBlob, link
from mimrun.log.cipher import EncryptedBlob, WrappedKey
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.redaction import Redaction, redaction_of
from mimrun.log.store import Guard, Projector


class Committed(Protocol):
    """What is on record before the transaction."""

    def incident_head(self, inc: str) -> IncidentHead:
        """The end of an incident's chain."""

    def state(self, name: str, key: str) -> bytes | None:
        """A folded state, or None when no entry has touched it."""

    def states(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Folded states whose key starts with the prefix, sorted by key."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A draft with its blobs sealed.

    Arguments:
        blobs: in plain, for the projectors.
        stored: the same blobs as they are stored.
        keys: data keys of theirs that may not be on record yet.
    """

    draft: Draft
    blobs: tuple[SealedBlob, ...] = ()
    stored: tuple[EncryptedBlob, ...] = ()
    keys: tuple[WrappedKey, ...] = ()


@dataclass(slots=True)
class Change:
    """What differs from what is on record."""

    head: Head
    incidents: dict[str, IncidentHead]
    states: dict[tuple[str, str], bytes]


class Batch:
    """The entries of one transaction. It is also the `View` that guards look at.

    Arguments:
        log: the origin.
        head: the end of the log on record.
        committed: what else is on record.
        projectors: what to fold entries through.
        clock: gives the present moment.
    """

    def __init__(
        self,
        log: str,
        head: Head,
        committed: Committed,
        projectors: Mapping[str, Projector],
        clock: Callable[[], datetime],
    ) -> None:
        self._log = log
        self._committed = committed
        self._projectors = projectors
        self._clock = clock
        self.change = Change(head, {}, {})
        self.linked: list[Linked] = []
        self.blobs: list[EncryptedBlob] = []
        self.keys: dict[bytes, WrappedKey] = {}
        self.redactions: list[Redaction] = []

    def head(self) -> Head:
        """The end of the log, with what this batch has taken so far."""
        return self.change.head

    def projection(self, name: str, key: str) -> bytes:
        """The state of a key, with what this batch has taken so far."""
        return self._state(self.change, self._projector(name), key)

    def projections(self, name: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Keys that start with the prefix, sorted, with their states."""
        self._projector(name)
        states = dict(self._committed.states(name, prefix))
        mine = ((key, state) for (of, key), state in self.change.states.items() if of == name)
        states.update((key, state) for key, state in mine if key.startswith(prefix))
        return iter(sorted(states.items()))

    def take(self, drafts: Sequence[Sealed], guard: Guard | None) -> tuple[LogEntry, ...]:
        """Take an append into the batch, whole; when it raises, the batch is as it was.

        Raises:
            LogError: an entry is too large.
            Exception: whatever the guard or a projector raises.
        """
        if guard is not None:
            guard(self)
        change = replace(self.change, incidents=dict(self.change.incidents), states=dict(self.change.states))
        linked = [self._link(change, sealed) for sealed in drafts]
        self.change = change
        self.linked += linked
        self.blobs += [blob for sealed in drafts for blob in sealed.stored]
        self.keys |= {key.id: key for sealed in drafts for key in sealed.keys}
        self.redactions += [said for one in linked if (said := redaction_of(one.entry)) is not None]
        return tuple(one.entry for one in linked)

    def fold(self, entry: LogEntry, blobs: Mapping[str, bytes], names: Sequence[str]) -> None:
        """Fold an entry that is on record already through the projectors that have not seen it."""
        for name in names:
            self._fold_through(self.change, self._projectors[name], entry, blobs)

    def _link(self, change: Change, sealed: Sealed) -> Linked:
        draft = sealed.draft
        incident = change.incidents.get(draft.inc)
        if incident is None:
            incident = self._committed.incident_head(draft.inc) if draft.inc else IncidentHead()
        place = Place(self._log, change.head, incident)
        linked = link(draft, tuple(blob.ref for blob in sealed.blobs), place, self._clock())
        change.head = linked.head
        if draft.inc:
            change.incidents[draft.inc] = linked.incident
        blobs = {blob.ref.n: blob.data for blob in sealed.blobs}
        for projector in self._projectors.values():
            self._fold_through(change, projector, linked.entry, blobs)
        return linked

    def _fold_through(
        self, change: Change, projector: Projector, entry: LogEntry, blobs: Mapping[str, bytes]
    ) -> None:
        key = projector.key(entry)
        if key is not None:
            state = self._state(change, projector, key)
            change.states[projector.name, key] = projector.apply(state, entry, blobs)

    def _state(self, change: Change, projector: Projector, key: str) -> bytes:
        state = change.states.get((projector.name, key))
        if state is None:
            state = self._committed.state(projector.name, key)
        return projector.empty() if state is None else state

    def _projector(self, name: str) -> Projector:
        if name not in self._projectors:
            raise LogError(f"the log was opened without a projector {name!r}")
        return self._projectors[name]
